// The server's messages: kind, 1 octet; length, 3 octets, big-endian; payload.  See docs/monitor.md.

export const TEXT = 1, ROWS = 2, COLUMNS = 3, POINT = 4, HISTORY = 5, AUDIO = 6;
export const STATES = ["other", "live", "paused", "reconnecting", "ended", "failed"];

export class Refused extends Error {
  constructor(status, words) { super(words); this.status = status; }
}

/** Follow an address until it ends, the signal says so or it fails; the token travels in a header. */
export async function follow(path, token, signal, onMessage) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, signal, cache: "no-store" });
  if (!response.ok) {
    let words = response.statusText;
    try { words = (await response.json()).error ?? words; } catch { /* no JSON */ }
    throw new Refused(response.status, words);
  }
  const reader = response.body.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    if (rest.length) {
      const joined = new Uint8Array(rest.length + value.length);
      joined.set(rest);
      joined.set(value, rest.length);
      rest = joined;
    } else rest = value;
    let at = 0;
    while (rest.length - at >= 4) {
      const length = (rest[at + 1] << 16) | (rest[at + 2] << 8) | rest[at + 3];
      if (rest.length - at - 4 < length) break;
      const payload = rest.subarray(at + 4, at + 4 + length);
      onMessage(rest[at], rest[at] === TEXT ? JSON.parse(new TextDecoder().decode(payload)) : payload);
      at += 4 + length;
    }
    rest = rest.slice(at);
  }
}

export function view(octets) {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
}

/** G.711 µ-law octets as samples, -1 to 1. */
export const ULAW = new Float32Array(256).map((_, octet) => {
  const code = ~octet & 0xff;
  const magnitude = (((code & 0x0f) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84;
  return (code & 0x80 ? -magnitude : magnitude) / 32768;
});

/** dBov of a level octet; 0 is anything quieter than -95. */
export function dbov(level) { return level ? (level - 255) * 0.3763 : -Infinity; }
