// All calls: tiles over a table, a row each.  Only rows that are in sight are drawn.

import { HISTORY, ROWS, STATES, TEXT, dbov, view } from "./wire.js";
import { clock, colours, count, element, prepare, size } from "./draw.js";

const SECONDS = 60, ROW = 12, UNKNOWN = 255;
const $ = (id) => document.getElementById(id);

class Row {
  constructor(about, open) {
    this.about = about;
    this.loss = new Uint8Array(SECONDS);
    this.jitter = new Uint8Array(SECONDS).fill(UNKNOWN);
    this.levels = [0, 0];
    this.state = "live";
    this.depth = this.target = 0;
    this.inSight = false;
    const tr = this.tr = element("tr");
    tr.dataset.call = about.call;
    const first = tr.appendChild(element("td"));
    const link = this.link = first.appendChild(element("button", "call-link", about.id || "(no id)"));
    link.type = "button";
    link.title = about.id;
    link.addEventListener("click", () => open(about.call));
    first.appendChild(element("span", "sub", [about.source, about.channels.join(" + ")].filter(Boolean).join(" · ")));
    this.badge = tr.appendChild(element("td")).appendChild(element("span", "badge"));
    this.time = tr.appendChild(element("td", "n"));
    const bars = tr.appendChild(element("td")).appendChild(element("div", "bars"));
    this.bars = about.channels.slice(0, 2).map((name, index) => {
      const bar = bars.appendChild(element("div", "bar"));
      bar.title = name;
      const fill = bar.appendChild(element("div", "rail")).appendChild(element("div", index ? "fill second" : "fill"));
      return { fill, words: bar.appendChild(element("span", "n")) };
    });
    this.spark = tr.appendChild(element("td")).appendChild(element("canvas", "spark"));
    this.lossWords = tr.appendChild(element("td", "n"));
    this.jitterWords = tr.appendChild(element("td", "n"));
    this.bufferWords = tr.appendChild(element("td", "n"));
  }

  get worst() { return Math.max(...this.loss) * 1000 + Math.max(...this.jitter.map((j) => (j === UNKNOWN ? 0 : j))); }

  take(loss, jitter) {
    this.loss.copyWithin(0, 1); this.loss[SECONDS - 1] = loss;
    this.jitter.copyWithin(0, 1); this.jitter[SECONDS - 1] = jitter;
  }

  draw() {
    if (this.badge.textContent !== this.state) {
      this.badge.textContent = this.state;
      this.badge.className = `badge s-${this.state}`;
    }
    this.time.textContent = clock(Date.now() / 1000 - this.about.startedAt);
    this.bars.forEach((bar, index) => {
      const level = dbov(this.levels[index]);
      bar.fill.style.transform = `scaleX(${Math.max(0, Math.min(1, 1 + level / 60)).toFixed(3)})`;
      bar.words.textContent = level > -90 ? level.toFixed(0) : "–∞";
    });
    const loss = this.loss[SECONDS - 1] / 5, jitter = this.jitter[SECONDS - 1] / 2;
    this.lossWords.textContent = `${loss.toFixed(1)} %`;
    this.lossWords.className = loss >= 5 ? "n bad" : loss >= 1 ? "n warn" : "n";
    this.jitterWords.textContent = `${jitter.toFixed(1)} ms`;
    this.bufferWords.textContent = `${this.depth} / ${this.target}`;
    const { context, width, height } = prepare(this.spark);
    const step = width / SECONDS, c = colours();
    context.fillStyle = c.loss;
    for (let i = 0; i < SECONDS; i += 1) {
      if (this.loss[i] && this.jitter[i] !== UNKNOWN) {
        const h = Math.max(1.5, Math.min(1, this.loss[i] / 100) * height);
        context.fillRect(i * step, height - h, Math.max(1, step - 0.6), h);
      }
    }
    context.strokeStyle = c.jitter;
    context.lineWidth = 1.2;
    context.beginPath();
    for (let i = 0; i < SECONDS; i += 1) if (this.jitter[i] !== UNKNOWN) context.lineTo((i + 0.5) * step, height - 1 - Math.min(1, this.jitter[i] / 120) * (height - 2));
    context.stroke();
  }
}

export class Fleet {
  constructor(open) {
    this.open = open;
    this.rows = new Map();
    this.ticks = 0;
    this.watcher = new IntersectionObserver((changes) => {
      for (const change of changes) {
        const row = this.rows.get(Number(change.target.dataset.call));
        if (!row) continue;
        row.inSight = change.isIntersecting;
        if (row.inSight) row.draw();
      }
    }, { rootMargin: "120px" });
    $("filter").addEventListener("input", () => this.arrange());
    $("order").addEventListener("change", () => this.arrange());
    $("rows").addEventListener("keydown", (event) => {
      const move = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      let tr = event.target.closest("tr");
      do tr = move > 0 ? tr?.nextElementSibling : tr?.previousElementSibling; while (tr?.hidden);
      tr?.querySelector("button").focus();
    });
  }

  clear() {
    this.watcher.disconnect();
    this.rows.clear();
    $("rows").replaceChildren();
  }

  message(kind, value) {
    if (kind === TEXT) this.news(value);
    else if (kind === HISTORY) this.history(value);
    else if (kind === ROWS) this.update(value);
  }

  news({ totals, calls = [], gone = [] }) {
    for (const about of calls) {
      const row = new Row(about, this.open);
      this.rows.set(about.call, row);
      $("rows").appendChild(row.tr);
      this.watcher.observe(row.tr);
    }
    for (const { call } of gone) {
      const row = this.rows.get(call);
      if (!row) continue;
      this.watcher.unobserve(row.tr);
      row.tr.remove();
      this.rows.delete(call);
    }
    if (calls.length || gone.length) this.arrange();
    this.tiles(totals);
  }

  history(octets) {
    const row = this.rows.get(view(octets).getUint32(0, true));
    for (let i = 0; row && i < SECONDS; i += 1) { row.loss[i] = octets[4 + 2 * i]; row.jitter[i] = octets[5 + 2 * i]; }
  }

  update(octets) {
    const numbers = view(octets);
    for (let at = 0; at + ROW <= octets.length; at += ROW) {
      const row = this.rows.get(numbers.getUint32(at, true));
      if (!row) continue;
      row.state = STATES[octets[at + 4]];
      row.levels = [octets[at + 6], octets[at + 7]];
      row.take(octets[at + 8], octets[at + 9]);
      row.depth = octets[at + 10];
      row.target = octets[at + 11];
      if (row.inSight) row.draw();
    }
    this.ticks += 1;
    if ($("order").value === "worst" && this.ticks % 5 === 0) this.arrange();
  }

  redraw() { for (const row of this.rows.values()) if (row.inSight) row.draw(); }

  arrange() {
    const words = $("filter").value.trim().toLowerCase();
    const order = $("order").value;
    const sorted = [...this.rows.values()].sort({
      oldest: (a, b) => a.about.call - b.about.call,
      newest: (a, b) => b.about.call - a.about.call,
      worst: (a, b) => b.worst - a.worst || a.about.call - b.about.call,
      id: (a, b) => a.about.id.localeCompare(b.about.id),
    }[order]);
    const focused = document.activeElement;
    const body = $("rows");
    sorted.forEach((row, index) => {
      row.tr.hidden = words !== "" && !`${row.about.id} ${row.about.source}`.toLowerCase().includes(words);
      if (body.children[index] !== row.tr) body.insertBefore(row.tr, body.children[index] ?? null);
    });
    if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus();
    $("no-calls").hidden = this.rows.size > 0;
  }

  tiles(t) {
    const left = t.tokenLeftS, free = t.diskFree;
    const tiles = [
      ["live now", count(t.live), `${count(t.opened)} opened`, ""],
      ["failed", count(t.failed), `${count(t.ended)} ended in all`, t.failed ? "caution" : ""],
      ["refused", count(t.refused), "", t.refused ? "caution" : ""],
      ["frames dropped", count(t.drops), t.dropsSpanS < 55 ? `in the last ${t.dropsSpanS} s` : "in the last minute", t.drops ? "alarm" : ""],
      ["lost in all", t.expected ? `${(100 * t.lost / t.expected).toFixed(2)} %` : "–", `${count(t.lost)} of ${count(t.expected)} packets`, ""],
      ["reconnects", count(t.reconnects), "", ""],
      ["token age", t.tokenAgeS === null ? "–" : clock(t.tokenAgeS), left === null ? "no token of ours" : left > 0 ? `good for ${clock(left)}` : "over", left !== null && left <= 0 ? "alarm" : left !== null && left < 60 ? "caution" : ""],
      ["disk left", free === null ? "–" : size(free), free === null ? "nothing is recorded" : `${(100 * free / t.diskTotal).toFixed(0)} % of ${size(t.diskTotal)}`, free !== null && free < 0.02 * t.diskTotal ? "alarm" : free !== null && free < 0.1 * t.diskTotal ? "caution" : ""],
    ];
    const list = $("tiles");
    tiles.forEach(([label, value, note, mood], index) => {
      let tile = list.children[index];
      if (!tile) {
        tile = list.appendChild(element("div", "tile"));
        tile.append(element("dt"), element("dd"), element("dd", "note"));
      }
      tile.className = `tile ${mood}`;
      tile.children[0].textContent = label;
      tile.children[1].textContent = value;
      tile.children[2].textContent = note;
    });
    $("hidden-calls").textContent = t.hidden ? `${count(t.hidden)} more calls are not listed` : "";
  }
}
