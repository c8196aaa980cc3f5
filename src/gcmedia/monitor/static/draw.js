// What every picture needs: colours of the theme, sharp lines, text for times and sizes.

let cache = null;

/** Colours by role, as the style sheet has them. */
export function colours() {
  if (!cache) {
    const style = getComputedStyle(document.documentElement);
    cache = new Proxy({}, { get: (found, role) => found[role] ??= style.getPropertyValue(`--${role}`).trim() });
  }
  return cache;
}

export function themeChanged() { cache = null; patterns.clear(); }

/** Size a canvas for the screen; width, height and context in CSS pixels. */
export function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const patterns = new Map();
const STROKES = { reconnect: [[0, 8, 8, 0]], paused: [[4, 0, 4, 8]], masked: [[0, 0, 8, 8]], muted: [[0, 4, 8, 4]], other: [[0, 0, 8, 8], [0, 8, 8, 0]] };

/** A hatch for a kind of span, so that colour alone tells nothing. */
export function hatch(context, kind) {
  if (!patterns.has(kind)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    const colour = colours()[kind in STROKES && kind !== "other" ? kind : "reconnect"];
    pen.globalAlpha = 0.16;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 8, 8);
    pen.globalAlpha = 1;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.6;
    for (const [a, b, c, d] of STROKES[kind] ?? STROKES.other) { pen.beginPath(); pen.moveTo(a, b); pen.lineTo(c, d); pen.stroke(); }
    patterns.set(kind, context.createPattern(tile, "repeat"));
  }
  return patterns.get(kind);
}

export function clock(seconds, decimals = 0) {
  const sign = seconds < 0 ? "-" : "";
  const scale = 10 ** decimals;
  const ticks = Math.round(Math.abs(seconds) * scale);
  const whole = Math.floor(ticks / scale), part = ticks % scale;
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  const tail = decimals ? "." + String(part).padStart(decimals, "0") : "";
  return sign + (h ? `${h}:${String(m).padStart(2, "0")}` : m) + ":" + String(s).padStart(2, "0") + tail;
}

export function size(octets) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let n = octets, unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function count(n) { return Math.round(n).toLocaleString("en"); }

/** An element with a class and text; text is never read as markup. */
export function element(tag, className = "", text = null) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
}
