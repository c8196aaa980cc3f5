// What the published tutorials 003 and 004 do with a packet, transcribed from their text to be timed.
//
//     node buffering.mjs PACKETS ROUNDS
//
// PACKETS holds u32 length (little-endian) and packet, over and over.  Prints JSON: for each stage the nanoseconds of
// each round over all packets, and what came out.  Their defects are kept, as they are what is timed: 003 hands
// everything it holds on with every push, 004 does not put packets in order.  Time is simulated: 20 ms a packet.

import { readFileSync } from 'node:fs';

const ROUNDS = Number(process.argv[3]);

function readPackets(path) {
  const file = readFileSync(path);
  const packets = [];
  for (let at = 0; at < file.length; ) {
    const size = file.readUInt32LE(at);
    packets.push(new Uint8Array(file.subarray(at + 4, at + 4 + size)).buffer);
    at += 4 + size;
  }
  return packets;
}

function parse(packet) {
  const view = new DataView(packet);
  return {
    type: 'media',
    seq: view.getUint32(0, true),
    timestamp: Number(view.getBigInt64(8, true)),
    audioData: packet.slice(16),
  };
}

// Tutorial 003: sorted by timestamp, and what is younger than the window is both kept and handed on.
class SortedWindow {
  held = [];
  windowMs = 50;

  push(message, now) {
    this.held.push({ ...message, arrivalTime: now });
    this.held.sort((one, other) => one.timestamp - other.timestamp);
    this.held = this.held.filter((item) => now - item.arrivalTime <= this.windowMs);
    return this.held;
  }
}

// Tutorial 004: duplicates of the last packet dropped, gaps above three flagged.
class Validator {
  expected = 0;
  tolerance = 3;

  validate(seq) {
    const isDuplicate = seq === this.expected - 1;
    const gap = seq - this.expected;
    const gapDetected = gap > this.tolerance;
    if (!isDuplicate && gap >= 0) this.expected = seq + 1;
    return { valid: !isDuplicate && !gapDetected, isDuplicate, gapDetected };
  }
}

// Tutorial 004: a queue with a threshold that follows the spacing of the last fifty packets.
class ThresholdQueue {
  queue = [];
  base = 5;
  threshold = 5;
  intervals = [];
  last = 0;

  get metrics() {
    const recent = this.intervals.slice(-50);
    const spacing = recent.length ? recent.reduce((sum, ms) => sum + ms, 0) / recent.length : 0;
    const loss = Math.max(0, 1 - this.queue.length / Math.max(1, this.intervals.length));
    return { spacing, loss, depth: this.queue.length, threshold: this.threshold };
  }

  push(message) {
    if (this.last) this.intervals.push(message.timestamp - this.last);
    this.last = message.timestamp;
    this.queue.push(message);
    const { loss, spacing } = this.metrics;
    if (loss > 0.15 || spacing > 200) this.threshold = Math.min(this.base * 2, 20);
    else if (loss < 0.02 && spacing < 80) this.threshold = Math.max(this.base, 3);
  }

  pull(count) {
    return this.queue.length < this.threshold ? [] : this.queue.splice(0, count);
  }
}

// The browser decodes in the tutorial; here a table does, built as G.711 has it.
const ULAW = Int16Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
  return bits & 0x80 ? -magnitude : magnitude;
});

function decode(audio) {
  const codes = new Uint8Array(audio);
  const pcm = new Int16Array(codes.length);
  for (let i = 0; i < codes.length; i++) pcm[i] = ULAW[codes[i]];
  return pcm;
}

// Tutorial 003: mean magnitude, called rms there.
function isSilent(pcm) {
  let sum = 0;
  for (let i = 0; i < pcm.length; i++) sum += Math.abs(pcm[i]);
  return sum / pcm.length / 32768 < 0.01;
}

// Tutorial 004: each sample under -45 dB is turned down by 20 dB.
function gate(pcm) {
  const out = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i++) {
    const sample = pcm[i] / 32768;
    out[i] = 20 * Math.log10(Math.abs(sample) || 1e-10) < -45 ? sample * 0.1 : sample;
  }
  return out;
}

function path(packets, gated) {
  const validator = new Validator();
  const queue = new ThresholdQueue();
  const result = { pushed: 0, released: 0, samples: 0, checksum: 0, silent: 0 };
  for (const packet of packets) {
    const message = parse(packet);
    result.pushed++;
    if (!validator.validate(message.seq).valid) continue;
    queue.push(message);
    for (const item of queue.pull(3)) {
      const pcm = decode(item.audioData);
      result.released++;
      result.samples += pcm.length;
      if (isSilent(pcm)) result.silent++;
      result.checksum = (result.checksum + pcm[0]) | 0;
      if (gated) result.checksum = (result.checksum + (gate(pcm)[1] > 0)) | 0;
    }
  }
  return result;
}

const packets = readPackets(process.argv[2]);
const messages = packets.map(parse);
const stages = {
  'buffer 003': () => {
    const buffer = new SortedWindow();
    let released = 0;
    messages.forEach((message, place) => (released += buffer.push(message, 20 * place).length));
    return { pushed: messages.length, released };
  },
  'buffer 004': () => {
    const queue = new ThresholdQueue();
    let released = 0;
    for (const message of messages) {
      queue.push(message);
      released += queue.pull(3).length;
    }
    return { pushed: messages.length, released };
  },
  path: () => path(packets, false),
  'path with gate': () => path(packets, true),
};

const report = { node: process.versions.node };
for (const [stage, run] of Object.entries(stages)) {
  for (let i = 0; i < 20; i++) run(); // until the compiler has had its look
  const ns = [];
  let result;
  for (let i = 0; i < ROUNDS; i++) {
    const begin = process.hrtime.bigint();
    result = run();
    ns.push(Number(process.hrtime.bigint() - begin));
  }
  report[stage] = { ...result, ns };
}
process.stdout.write(JSON.stringify(report));
