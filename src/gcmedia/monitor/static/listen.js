// Listening in: asked for with a token of its own, decoded and played here, and shown for as long as it lasts.

import { AUDIO, Refused, TEXT, ULAW, follow } from "./wire.js";

const $ = (id) => document.getElementById(id);
const AHEAD_S = 0.3, MOST_AHEAD_S = 2;

export class Listening {
  constructor() {
    this.token = ""; // kept in memory alone
    this.current = null;
    this.asked = null;
    this.playedSamples = 0;
    $("listen-cancel").addEventListener("click", () => $("listen-dialog").close());
    $("listen-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.token = $("listen-token").value.trim();
      $("listen-token").value = "";
      this.begin(...this.asked);
    });
  }

  toggle(about, channel, button) {
    if (this.current?.button === button) { this.stop(); return; }
    this.asked = [about, channel, button];
    $("listen-title").textContent = `Listen in: ${about.channels[channel]}`;
    $("listen-problem").textContent = "";
    $("listen-dialog").showModal();
    if (this.token) this.begin(...this.asked);
  }

  stop() {
    const { current } = this;
    this.current = null;
    if (!current) return;
    current.abort.abort();
    current.sound.close();
    current.button.textContent = "Listen in";
    current.button.removeAttribute("aria-pressed");
  }

  async begin(about, channel, button) {
    this.stop();
    const sound = new AudioContext();
    const current = this.current = { button, sound, abort: new AbortController() };
    let next = 0, rate = about.rate;
    try {
      const track = $("listen-track").value;
      await follow(`/api/calls/${about.call}/listen/${channel}?track=${track}`, this.token, current.abort.signal, (kind, value) => {
        if (kind === TEXT && value.listen !== undefined) {
          rate = value.rate;
          $("listen-dialog").close();
          button.textContent = "■ Listening, stop";
          button.setAttribute("aria-pressed", "true");
        } else if (kind === AUDIO) {
          const buffer = sound.createBuffer(1, value.length, rate);
          const samples = buffer.getChannelData(0);
          for (let i = 0; i < value.length; i += 1) samples[i] = ULAW[value[i]];
          this.playedSamples += value.length;
          if (next < sound.currentTime) next = sound.currentTime + AHEAD_S;
          if (next > sound.currentTime + MOST_AHEAD_S) return; // the sound card is behind: keep close to the present
          const source = sound.createBufferSource();
          source.buffer = buffer;
          source.connect(sound.destination);
          source.start(next);
          next += buffer.duration;
        }
      });
    } catch (error) {
      if (error.name !== "AbortError") {
        if (error instanceof Refused && error.status === 401) this.token = "";
        $("listen-problem").textContent = error instanceof Refused && error.status === 401 ? "This token does not allow listening in. The attempt was noted." : String(error.message || error);
      }
    }
    if (this.current === current) this.stop();
  }
}
