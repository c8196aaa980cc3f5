// One call: both parties mirrored over one time axis, what is missing shaded, transcript, buffer and network below.

import { COLUMNS, POINT, TEXT, ULAW, dbov, view } from "./wire.js";
import { clock, colours, count, element, hatch, prepare } from "./draw.js";

const $ = (id) => document.getElementById(id);
const SPANS = [5, 10, 20, 30, 60, 120, 300, 600];
const KEPT_COLUMNS = 16384, KEPT_POINTS = 4096, KEPT_ITEMS = 500;
const LEFT = 74, RIGHT = 8;
const SILENT = 1, CONCEALED = 2, PEAKS = 4, CLIPPED = 8;
const OPENS = { paused: "paused", pause: "paused", masked: "masked", mask: "masked", muted: "muted", mute: "muted" };
const CLOSES = { resumed: "paused", resume: "paused", unmasked: "masked", unmask: "masked", unmuted: "muted", unmute: "muted" };
const CAUSES = { lost: "lost", paused: "paused", masked: "masked", muted: "muted", reconnect: "reconnect", restart: "reconnect" };
const LEGEND = [["silent", "silence"], ["concealed", "concealed"], ["lost", "lost"], ["reconnect", "reconnect"], ["paused", "paused"], ["masked", "masked"], ["muted", "muted"]];

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class CallPage {
  constructor(listening) {
    this.listening = listening;
    this.canvas = $("stage");
    this.span = 30;
    this.frame = 0;
    for (const [kind, words] of LEGEND) {
      const key = $("legend").appendChild(element("span", "key"));
      key.append(element("i", `swatch k-${kind}`), words);
    }
    $("follow").addEventListener("click", () => this.follow());
    $("wider").addEventListener("click", () => this.zoom(1));
    $("closer").addEventListener("click", () => this.zoom(-1));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      if (event.ctrlKey) this.zoom(Math.sign(event.deltaY)); else this.pan(Math.sign(event.deltaY || event.deltaX) * this.span / 10);
    }, { passive: false });
    let dragged = null;
    this.canvas.addEventListener("pointerdown", (event) => { dragged = event.clientX; this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => {
      if (dragged === null) return;
      const width = this.canvas.getBoundingClientRect().width - LEFT - RIGHT;
      this.pan((dragged - event.clientX) / width * this.span);
      dragged = event.clientX;
    });
    this.canvas.addEventListener("pointerup", () => { dragged = null; });
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
    this.reset();
  }

  reset() {
    this.about = null;
    this.levels = []; this.flags = []; this.highs = [];
    this.firstColumn = this.nColumns = 0; // columns known: [nColumns - KEPT_COLUMNS, nColumns), from firstColumn on
    this.points = [];
    this.holes = []; this.events = []; this.spans = []; this.transcripts = [];
    this.open = new Map();
    this.scale = 0.1;
    this.end = null; // seconds at the right edge; null follows
    this.heardAt = 0; this.shownAt = 0;
    this.over = false;
    this.meters = [];
    for (const id of ["transcript", "events", "meters", "identity", "figures"]) $(id).replaceChildren();
    for (const id of ["call-title", "call-state", "call-about", "call-note", "verdict"]) $(id).textContent = "";
    this.zoom(0);
    $("follow").setAttribute("aria-pressed", "true");
  }

  start() { cancelAnimationFrame(this.frame); this.loop(); }

  stop() { cancelAnimationFrame(this.frame); this.frame = 0; }

  loop() {
    this.frame = requestAnimationFrame((now) => {
      if (now - this.shownAt > (still.matches ? 190 : 45)) { this.shownAt = now; this.redraw(); }
      this.loop();
    });
  }

  // What comes

  message(kind, value) {
    if (kind === TEXT) this.news(value);
    else if (kind === COLUMNS) this.columns(value);
    else if (kind === POINT) this.point(value);
  }

  news(news) {
    if (news.about) this.begin(news.about);
    for (const [position, n, cause] of news.holes ?? []) this.hole(position, n, cause);
    for (const event of news.events ?? []) this.event(event);
    for (const said of news.transcripts ?? []) this.said(said);
    if (news.state) {
      $("call-state").textContent = news.state;
      $("call-state").className = `badge s-${news.state}`;
    }
    if (news.stats) this.stats(news);
    const missed = (news.skipped ?? 0) + (news.missed ?? 0);
    if (missed) $("call-note").textContent = `This page was too slow: ${count(missed)} pieces of the picture are missing.`;
    if (news.over) { this.over = true; $("call-note").textContent = "The call is over."; }
  }

  begin(about) {
    this.about = about;
    this.levels = about.channels.map(() => new Uint8Array(KEPT_COLUMNS));
    this.flags = about.channels.map(() => new Uint8Array(KEPT_COLUMNS));
    this.highs = about.channels.map(() => new Float32Array(KEPT_COLUMNS));
    this.firstColumn = -1;
    $("call-title").textContent = about.id || "(no id)";
    $("call-about").textContent = [about.source, `${about.rate} Hz`, `since ${new Date(about.startedAt * 1000).toLocaleTimeString()}`].filter(Boolean).join(" · ");
    about.channels.forEach((name, channel) => {
      const box = $("meters").appendChild(element("div", "meter"));
      const who = box.appendChild(element("div", "who"));
      who.append(element("b", channel % 2 ? "second" : "first", name));
      const words = who.appendChild(element("span", "quiet", "–"));
      const bar = box.appendChild(element("canvas"));
      bar.setAttribute("role", "meter");
      bar.setAttribute("aria-label", `Level of ${name} in dBov`);
      bar.setAttribute("aria-valuemin", "-60");
      bar.setAttribute("aria-valuemax", "0");
      const button = box.appendChild(element("button", "plain", about.listen ? "Listen in" : "Listening in is off"));
      button.type = "button";
      button.dataset.listen = channel;
      button.disabled = !about.listen;
      button.addEventListener("click", () => this.listening.toggle(about, channel, button));
      this.meters.push({ words, bar, shown: -90, held: -90, heldAt: 0, clippedAt: -1e9 });
    });
    if (!about.columnSamples) $("call-note").textContent = "Nothing of this call is decoded, so there is no waveform.";
  }

  columns(octets) {
    const { about } = this;
    if (!about) return;
    const first = view(octets).getUint32(0, true), nc = about.channels.length;
    const n = (octets.length - 4) / (4 * nc);
    if (this.firstColumn < 0) { this.firstColumn = this.nColumns = first; }
    for (let gap = this.nColumns; gap < first; gap += 1) for (let c = 0; c < nc; c += 1) this.put(c, gap, 0, 0, 0);
    let at = 4;
    for (let i = 0; i < n; i += 1) {
      for (let c = 0; c < nc; c += 1, at += 4) {
        const flags = octets[at + 1];
        const high = flags & PEAKS ? Math.max(Math.abs(ULAW[octets[at + 2]]), Math.abs(ULAW[octets[at + 3]])) : 0;
        this.put(c, first + i, octets[at], flags, high);
        const meter = this.meters[c];
        if (flags & CLIPPED) meter.clippedAt = performance.now();
      }
    }
    this.nColumns = first + n;
    this.firstColumn = Math.max(this.firstColumn, this.nColumns - KEPT_COLUMNS);
    this.heardAt = performance.now();
  }

  put(channel, column, level, flags, high) {
    const at = column % KEPT_COLUMNS;
    this.levels[channel][at] = level;
    this.flags[channel][at] = flags;
    this.highs[channel][at] = high;
  }

  point(octets) {
    const numbers = view(octets);
    this.points.push({
      s: numbers.getUint32(0, true) / 1000, depth: octets[4], target: octets[5],
      jitter: numbers.getUint16(6, true) / 10, loss: numbers.getUint16(8, true) / 100,
    });
    if (this.points.length > KEPT_POINTS) this.points.splice(0, KEPT_POINTS / 4);
  }

  hole(position, n, cause) {
    const last = this.holes[this.holes.length - 1];
    if (last && last.cause === cause && last.to === position) last.to = position + n;
    else this.holes.push({ from: position, to: position + n, cause, kind: CAUSES[cause] ?? "other" });
    if (this.holes.length > KEPT_ITEMS) this.holes.shift();
  }

  event(event) {
    this.events.push(event);
    if (this.events.length > KEPT_ITEMS) this.events.shift();
    const opens = OPENS[event.kind], closes = CLOSES[event.kind];
    const channel = this.about ? this.about.channels.indexOf(event.channel) : -1;
    if (opens && !this.open.has(opens)) {
      const span = { from: event.position, to: Infinity, kind: opens, channel };
      this.open.set(opens, span);
      this.spans.push(span);
    } else if (closes && this.open.has(closes)) {
      this.open.get(closes).to = event.until ?? event.position;
      this.open.delete(closes);
    }
    const details = Object.entries(event).filter(([key]) => key !== "kind" && key !== "position").map(([key, value]) => `${key} ${value}`).join(", ");
    this.line("events", event.position, event.kind, details, "kind");
  }

  said(said) {
    this.transcripts.push(said);
    this.transcripts.sort((a, b) => a.position - b.position);
    if (this.transcripts.length > KEPT_ITEMS) this.transcripts.shift();
    const channel = this.about.channels.indexOf(said.channel);
    this.line("transcript", said.position, said.channel || "–", said.text, channel < 0 ? "quiet" : channel % 2 ? "second" : "first");
  }

  line(id, position, word, text, className) {
    const list = $(id);
    const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 30;
    const item = list.appendChild(element("li", "new"));
    item.append(element("time", "", clock(position / this.about.rate, 1)), element("span", className, word), element("span", "", text));
    item.lastChild.dir = "auto";
    if (list.children.length > KEPT_ITEMS) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  stats({ stats: s, drops, reconnects }) {
    const verdict = $("verdict");
    verdict.textContent = s.balanced ? "✓ It adds up, to the packet." : "✗ It does not add up.";
    verdict.className = s.balanced ? "good" : "bad";
    const sum = (head, whole, parts) => {
      const box = element("div", "sum");
      box.append(element("span", "head", head), element("span", "v head", count(whole)));
      parts.forEach(([name, n], index) => box.append(element("span", "quiet", index ? "+" : "="), element("span", "", name), element("span", "v", count(n))));
      return box;
    };
    $("identity").replaceChildren(
      sum("received", s.received, [["played", s.played], ["late", s.late], ["duplicate", s.duplicate], ["discarded", s.discarded], ["refused", s.refused], ["buffered", s.buffered]]),
      sum("expected", s.expected, [["unique received", s.unique], ["lost", s.lost]]),
    );
    const rate = this.about.rate;
    const rows = [
      ["loss in all", s.expected ? `${(100 * s.lost / s.expected).toFixed(2)} %` : "–"], ["concealed", `${(s.concealed / rate).toFixed(2)} s`],
      ["jitter", `${s.jitterMs.toFixed(1)} ms`], ["playout delay", `${s.playoutDelayMs.toFixed(0)} ms`],
      ["underruns", count(s.underruns)], ["frames dropped", count(drops)], ["reconnects", count(reconnects)],
    ];
    $("figures").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
    this.about.channels.forEach((_, channel) => {
      const level = this.meters[channel].shown;
      const { bar } = this.meters[channel];
      bar.setAttribute("aria-valuenow", String(Math.round(Math.max(-60, level))));
    });
  }

  // Moving about

  get now() {
    const { about } = this;
    if (!about || !about.columnSamples) return this.points.length ? this.points[this.points.length - 1].s : 0;
    const known = (about.start + this.nColumns * about.columnSamples) / about.rate;
    if (still.matches || this.over || !this.heardAt) return known;
    return known - 0.25 + Math.min(0.3, (performance.now() - this.heardAt) / 1000); // glides between messages
  }

  get right() { return this.end ?? Math.max(this.now, this.span); }

  follow() { this.end = null; $("follow").setAttribute("aria-pressed", "true"); this.redraw(); }

  zoom(step) {
    const at = SPANS.indexOf(this.span) + step;
    this.span = SPANS[Math.max(0, Math.min(SPANS.length - 1, at))];
    $("span").textContent = this.span >= 60 ? `${this.span / 60} min` : `${this.span} s`;
    this.redraw();
  }

  pan(seconds) {
    const { about } = this;
    if (!about) return;
    const oldest = (about.start + Math.max(0, this.firstColumn) * about.columnSamples) / about.rate;
    const wanted = this.right + seconds;
    if (wanted >= this.now) { this.follow(); return; }
    this.end = Math.max(wanted, Math.min(this.now, oldest + this.span));
    $("follow").setAttribute("aria-pressed", "false");
    this.redraw();
  }

  key(event) {
    const step = event.shiftKey ? this.span : this.span / 10;
    const act = {
      ArrowLeft: () => this.pan(-step), ArrowRight: () => this.pan(step), Home: () => this.pan(-1e9), End: () => this.follow(),
      "+": () => this.zoom(-1), "=": () => this.zoom(-1), "-": () => this.zoom(1),
      " ": () => (this.end === null ? this.pan(-0.001) : this.follow()),
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  }

  // The picture

  redraw() {
    if (!this.about || !this.canvas.isConnected || this.canvas.offsetParent === null) return;
    const { context: pen, width, height } = prepare(this.canvas);
    const c = colours(), { about } = this;
    const plot = width - LEFT - RIGHT, to = this.right, from = to - this.span;
    const x = (seconds) => LEFT + (seconds - from) / this.span * plot;
    const lane = 34, strip = 58, axis = 20, gap = 10;
    const waves = Math.max(120, height - 2 * lane - 2 * strip - axis - 3 * gap);
    const n = Math.max(1, about.channels.length);
    const mirrored = n === 2;
    const band = waves / n;
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    pen.textBaseline = "middle";
    this.grid(pen, c, x, from, to, height - axis);

    pen.save();
    pen.beginPath(); pen.rect(LEFT, 0, plot, height); pen.clip();
    for (let ch = 0; ch < n; ch += 1) this.shade(pen, c, ch, lane + ch * band, band, x, from, to, plot);
    this.missing(pen, c, x, lane, waves, band, from, to);
    for (let ch = 0; ch < n; ch += 1) this.wave(pen, c, ch, lane + ch * band, band, from, plot, mirrored);
    pen.restore();
    pen.strokeStyle = c.quiet; pen.lineWidth = 1;
    for (let ch = 1; ch < n; ch += 1) { pen.beginPath(); pen.moveTo(LEFT, lane + ch * band); pen.lineTo(width - RIGHT, lane + ch * band); pen.stroke(); }
    about.channels.forEach((name, ch) => this.label(pen, ch % 2 ? c.second : c.first, name, lane + (ch + 0.5) * band, "600 "));

    this.words(pen, c, x, from, to, lane, lane + waves, width);
    this.marks(pen, c, x, from, to, lane, waves);
    const depthTop = lane * 2 + waves + gap, networkTop = depthTop + strip + gap;
    this.depth(pen, c, x, from, to, depthTop, strip, plot);
    this.network(pen, c, x, from, to, networkTop, strip, plot);
    this.drawMeters(c);
  }

  label(pen, colour, text, y, weight = "") {
    pen.fillStyle = colour;
    pen.textAlign = "right";
    pen.font = `${weight}12px system-ui, 'DejaVu Sans', sans-serif`;
    pen.fillText(text.length > 10 ? `${text.slice(0, 9)}…` : text, LEFT - 8, y, LEFT - 10);
  }

  grid(pen, c, x, from, to, bottom) {
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120].find((s) => this.span / s <= 12) ?? 120;
    pen.textAlign = "center";
    for (let s = Math.ceil(from / step) * step; s <= to; s += step) {
      if (s < 0) continue;
      pen.strokeStyle = c.rule; pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(Math.round(x(s)) + 0.5, 0); pen.lineTo(Math.round(x(s)) + 0.5, bottom); pen.stroke();
      pen.fillStyle = c.quiet;
      if (x(s) > LEFT + 8 && x(s) < this.canvas.clientWidth - RIGHT - 14) pen.fillText(clock(s, step < 1 ? 1 : 0), x(s), bottom + 10);
    }
  }

  seconds(column) { return (this.about.start + column * this.about.columnSamples) / this.about.rate; }

  range(from, to) {
    const { about } = this;
    const first = Math.floor((from * about.rate - about.start) / about.columnSamples);
    const last = Math.ceil((to * about.rate - about.start) / about.columnSamples);
    return [Math.max(first, this.firstColumn, 0), Math.min(last, this.nColumns)];
  }

  shade(pen, c, ch, top, band, x, from, to, plot) {
    if (!this.about.columnSamples) return;
    const [first, last] = this.range(from, to);
    const least = plot / this.span * this.about.columnSamples / this.about.rate;
    const runs = (flag, colour) => {
      pen.fillStyle = colour;
      let begin = -1;
      for (let i = first; i <= last; i += 1) {
        const on = i < last && this.flags[ch][i % KEPT_COLUMNS] & flag;
        if (on && begin < 0) begin = i;
        else if (!on && begin >= 0) { pen.fillRect(x(this.seconds(begin)), top, Math.max(2, (i - begin) * least), band); begin = -1; }
      }
    };
    runs(SILENT, c.silence);
    runs(CONCEALED, c.concealed);
  }

  missing(pen, c, x, top, waves, band, from, to) {
    const rate = this.about.rate;
    const cover = (kind, from0, to0, channel = -1) => {
      const a = from0 / rate, b = Math.min(to0 / rate, to);
      if (b < from || a > to) return;
      const left = x(a), w = Math.max(3, x(b) - left);
      if (kind === "lost") { // mostly concealed as well: ribbons along the edges leave that to be seen
        pen.fillStyle = c.lost;
        pen.fillRect(left, top, w, 9); pen.fillRect(left, top + waves - 9, w, 9);
        return;
      }
      pen.fillStyle = hatch(pen, kind);
      const y = channel < 0 ? top : top + channel * band, h = channel < 0 ? waves : band;
      pen.fillRect(left, y, w, h);
      pen.strokeStyle = c[kind] || c.quiet; pen.lineWidth = 1; pen.strokeRect(left + 0.5, y + 0.5, w - 1, h - 1);
    };
    for (const hole of this.holes) cover(hole.kind, hole.from, hole.to);
    for (const span of this.spans) if (span.kind !== "paused") cover(span.kind, span.from, span.to, span.channel);
  }

  wave(pen, c, ch, top, band, from, plot, mirrored) {
    const { about } = this;
    if (!about.columnSamples || this.firstColumn < 0) return;
    const perPixel = this.span / plot * about.rate / about.columnSamples;
    const peaks = new Float32Array(Math.ceil(plot)), bodies = new Float32Array(Math.ceil(plot));
    let loudest = 0;
    for (let px = 0; px < peaks.length; px += 1) {
      const begin = (from * about.rate - about.start) / about.columnSamples + px * perPixel;
      const first = Math.max(Math.floor(begin), this.firstColumn, 0);
      const last = Math.min(Math.max(Math.ceil(begin + perPixel), first + 1), this.nColumns);
      for (let i = first; i < last; i += 1) {
        const at = i % KEPT_COLUMNS;
        peaks[px] = Math.max(peaks[px], this.highs[ch][at]);
        bodies[px] = Math.max(bodies[px], this.levels[ch][at] ? 10 ** (dbov(this.levels[ch][at]) / 20) : 0);
      }
      loudest = Math.max(loudest, peaks[px], 1.6 * bodies[px]);
    }
    const wanted = Math.min(1, Math.max(0.04, 1.05 * loudest));
    this.scales ??= [];
    this.scales[ch] = this.scales[ch] === undefined ? wanted : this.scales[ch] + (wanted - this.scales[ch]) * 0.25;
    const scale = Math.max(...this.scales.slice(0, about.channels.length));
    const middle = mirrored ? (ch ? top : top + band) : top + band / 2;
    const room = (mirrored ? band : band / 2) - 3;
    const outline = (values) => {
      pen.beginPath();
      for (let px = 0; px < values.length; px += 1) {
        const h = Math.min(1, values[px] / scale) * room;
        if (h < 0.3) continue;
        if (mirrored) pen.rect(LEFT + px, ch ? middle : middle - h, 1, h);
        else pen.rect(LEFT + px, middle - h, 1, 2 * h);
      }
      pen.fill();
    };
    pen.fillStyle = ch % 2 ? c["second-soft"] : c["first-soft"];
    outline(peaks);
    pen.fillStyle = ch % 2 ? c.second : c.first;
    outline(bodies);
  }

  words(pen, c, x, from, to, lane, bottom, width) {
    const { about } = this;
    pen.textAlign = "left";
    const free = [LEFT, LEFT];
    this.transcripts.forEach((said, index) => {
      const start = said.position / about.rate;
      const length = said.nSamples ? said.nSamples / about.rate : 1;
      if (start + Math.max(length, 8) < from || start > to) return;
      const channel = about.channels.indexOf(said.channel);
      const row = channel === 1 ? 1 : 0;
      const y = row ? bottom + 4 : lane - 6;
      const colour = channel < 0 ? c.quiet : channel % 2 ? c.second : c.first;
      const left = Math.max(LEFT, x(start)), right = Math.min(width - RIGHT, x(start + length));
      pen.fillStyle = colour;
      if (right > left) pen.fillRect(left, y, Math.max(2, right - left), 3);
      const next = this.transcripts.slice(index + 1).find((other) => about.channels.indexOf(other.channel) === channel);
      const end = Math.min(width - RIGHT, next ? x(next.position / about.rate) : width);
      const at = Math.max(left, free[row]);
      if (end - at < 26) return;
      pen.save();
      pen.beginPath(); pen.rect(at, y - 26, end - at - 6, 58); pen.clip();
      pen.fillStyle = c.ink;
      pen.font = "12.5px system-ui, 'DejaVu Sans', sans-serif";
      pen.fillText(said.text, at + 1, row ? y + 15 : y - 11);
      pen.restore();
      free[row] = Math.min(end, at + pen.measureText(said.text).width + 14);
    });
  }

  marks(pen, c, x, from, to, top, waves) {
    pen.textAlign = "left";
    let free = -1;
    for (const event of this.events) {
      const s = event.position / this.about.rate;
      if (s < from || s > to) continue;
      const at = x(s);
      pen.strokeStyle = c.ink; pen.globalAlpha = 0.55; pen.setLineDash([3, 3]); pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(at, top); pen.lineTo(at, top + waves); pen.stroke();
      pen.setLineDash([]); pen.globalAlpha = 1;
      if (at > free) {
        pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
        const w = pen.measureText(event.kind).width;
        pen.fillStyle = c.card; pen.globalAlpha = 0.85; pen.fillRect(at + 3, top + 12, w + 6, 15); pen.globalAlpha = 1;
        pen.fillStyle = c.ink; pen.fillText(event.kind, at + 6, top + 20);
        free = at + w + 14;
      }
    }
  }

  visible(from, to) {
    let first = this.points.findIndex((point) => point.s >= from);
    if (first < 0) return [];
    first = Math.max(0, first - 1);
    return this.points.slice(first).filter((point) => point.s <= to + 1);
  }

  strip(pen, c, name, unit, top, height, most) {
    pen.strokeStyle = c.rule; pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(LEFT, top + height + 0.5); pen.lineTo(this.canvas.clientWidth - RIGHT, top + height + 0.5); pen.stroke();
    this.label(pen, c.quiet, name, top + height / 2 - 8);
    this.label(pen, c.quiet, unit, top + height / 2 + 8);
    pen.font = "10.5px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillStyle = c.quiet; pen.textAlign = "right";
    pen.fillText(most, LEFT + 26, top + 5);
  }

  depth(pen, c, x, from, to, top, height, plot) {
    const points = this.visible(from, to);
    const most = Math.max(4, ...points.map((p) => Math.max(p.depth, p.target))) + 1;
    const y = (v) => top + height - v / most * (height - 4);
    pen.save(); pen.beginPath(); pen.rect(LEFT, top - 4, plot, height + 5); pen.clip();
    pen.fillStyle = c.depth;
    points.forEach((p, i) => { const next = points[i + 1]?.s ?? p.s + 0.2; pen.fillRect(x(p.s), y(p.depth), Math.max(1, x(next) - x(p.s) + 0.5), top + height - y(p.depth)); });
    pen.strokeStyle = c.target; pen.lineWidth = 1.4;
    pen.beginPath();
    points.forEach((p, i) => { const next = points[i + 1]?.s ?? p.s + 0.2; pen.lineTo(x(p.s), y(p.target)); pen.lineTo(x(next), y(p.target)); });
    pen.stroke();
    pen.restore();
    this.strip(pen, c, "buffer,", "packets", top, height, String(most));
  }

  network(pen, c, x, from, to, top, height, plot) {
    const points = this.visible(from, to);
    const worst = Math.max(20, ...points.map((p) => p.jitter)) * 1.1, lost = Math.max(10, ...points.map((p) => p.loss)) * 1.1;
    pen.save(); pen.beginPath(); pen.rect(LEFT, top - 4, plot, height + 5); pen.clip();
    pen.fillStyle = c.loss; pen.globalAlpha = 0.75;
    points.forEach((p, i) => { const next = points[i + 1]?.s ?? p.s + 0.2, h = p.loss / lost * (height - 4); if (p.loss) pen.fillRect(x(p.s), top + height - h, Math.max(1, x(next) - x(p.s) + 0.5), h); });
    pen.globalAlpha = 1;
    pen.strokeStyle = c.jitter; pen.lineWidth = 1.4;
    pen.beginPath();
    for (const p of points) pen.lineTo(x(p.s), top + height - p.jitter / worst * (height - 4));
    pen.stroke();
    const last = points[points.length - 1];
    pen.restore();
    this.strip(pen, c, "jitter", "and loss", top, height, `${worst.toFixed(0)} ms`);
    if (last) {
      pen.textAlign = "right"; pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
      pen.fillStyle = c.loss; pen.fillText(`loss ${last.loss.toFixed(1)} %`, LEFT + plot - 2, top + 6);
      pen.fillStyle = c.jitter; pen.fillText(`jitter ${last.jitter.toFixed(1)} ms`, LEFT + plot - 76, top + 6);
    }
  }

  drawMeters(c) {
    const now = performance.now(), { about } = this;
    about.channels.forEach((_, ch) => {
      const meter = this.meters[ch];
      let level = -90, peak = -90;
      const newest = this.nColumns - 1;
      for (let i = Math.max(this.firstColumn, 0, newest - 4); i <= newest; i += 1) {
        const at = i % KEPT_COLUMNS;
        level = Math.max(level, dbov(this.levels[ch][at]));
        if (this.highs[ch][at]) peak = Math.max(peak, 20 * Math.log10(this.highs[ch][at]));
      }
      meter.shown = level > meter.shown ? level : Math.max(level, meter.shown - 1.6); // falls slowly, as meters do
      if (peak >= meter.held || now - meter.heldAt > 1500) { meter.held = peak; meter.heldAt = now; }
      const { context: pen, width, height } = prepare(meter.bar);
      const bar = 14, x = (db) => Math.max(0, Math.min(1, 1 + db / 60)) * width;
      pen.fillStyle = c.silence; pen.fillRect(0, 0, width, bar);
      pen.fillStyle = ch % 2 ? c.second : c.first; pen.fillRect(0, 0, x(meter.shown), bar);
      if (meter.held > -60) { pen.fillStyle = c.ink; pen.fillRect(Math.min(width - 2, x(meter.held)), 0, 2, bar); }
      if (now - meter.clippedAt < 2000) { pen.fillStyle = c.bad; pen.fillRect(width - 8, 0, 8, bar); }
      pen.fillStyle = c.quiet; pen.font = "10px system-ui, 'DejaVu Sans', sans-serif"; pen.textBaseline = "top";
      for (let db = -60; db <= 0; db += 12) { pen.textAlign = db === -60 ? "left" : db === 0 ? "right" : "center"; pen.fillText(String(db).replace("-", "−"), x(db), bar + 4); }
      meter.words.textContent = meter.shown > -85 ? `${meter.shown.toFixed(0).replace("-", "−")} dBov` : "silence";
    });
  }
}
