// What is shown: the door, all calls, or one; and the connection that feeds it.

import { Refused, follow } from "./wire.js";
import { themeChanged } from "./draw.js";
import { Fleet } from "./fleet.js";
import { CallPage } from "./call.js";
import { Listening } from "./listen.js";

const $ = (id) => document.getElementById(id);
const KEY = "gcmedia.token", THEME = "gcmedia.theme";

let token = sessionStorage.getItem(KEY) ?? "";
let abort = null;

const listening = new Listening();
const fleet = new Fleet((call) => { location.hash = `#/call/${call}`; });
const callPage = new CallPage(listening);
window.gcmedia = { fleet, callPage, listening }; // for tests, and for the curious

function show(name) {
  for (const id of ["door", "fleet", "call"]) $(id).hidden = id !== name;
  $("leave").hidden = name === "door";
}

function askForToken(problem = "") {
  abort?.abort();
  show("door");
  $("door-problem").textContent = problem;
  $("link").textContent = "";
  $("token").focus();
}

function wait(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

/** Stay connected to an address; each failure doubles the wait, up to 10 s. */
async function stay(path, begin, onMessage, over = () => false) {
  abort?.abort();
  const { signal } = abort = new AbortController();
  let pause = 500;
  while (!signal.aborted) {
    let problem = "the monitor has closed the connection";
    try {
      $("link").textContent = "connecting …";
      begin();
      await follow(path, token, signal, (kind, value) => {
        if (signal.aborted) return;
        pause = 500;
        if ($("link").textContent) $("link").textContent = "";
        onMessage(kind, value);
      });
      if (signal.aborted || over()) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 401) { sessionStorage.removeItem(KEY); askForToken("This token is not the one."); return; }
      if (error instanceof Refused && error.status === 404) { $("link").textContent = ""; $("call-note").textContent = "The call is over, or never was."; return; }
      problem = error instanceof Refused ? error.message : "no connection to the monitor";
    }
    $("link").textContent = `${problem}; trying again`;
    await wait(pause, signal);
    pause = Math.min(10000, 2 * pause);
  }
}

function route() {
  listening.stop();
  callPage.stop();
  if (!token) { askForToken(); return; }
  const match = /^#\/call\/(\d+)$/.exec(location.hash);
  if (match) {
    show("call");
    callPage.reset();
    callPage.start();
    $("stage").focus({ preventScroll: true });
    stay(`/api/calls/${match[1]}`, () => callPage.reset(), (kind, value) => callPage.message(kind, value), () => callPage.over);
  } else {
    show("fleet");
    stay("/api/fleet", () => fleet.clear(), (kind, value) => fleet.message(kind, value));
  }
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  sessionStorage.setItem(KEY, token);
  route();
});
$("leave").addEventListener("click", () => { token = ""; sessionStorage.removeItem(KEY); route(); });
window.addEventListener("hashchange", route);
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !$("fleet").hidden) { event.preventDefault(); $("filter").focus(); }
  if (event.key === "Escape" && !$("call").hidden && !$("listen-dialog").open) location.hash = "#/";
  if (event.key === "Escape" && event.target === $("filter")) { $("filter").value = ""; fleet.arrange(); $("filter").blur(); }
});

const system = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  const chosen = localStorage.getItem(THEME);
  document.documentElement.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
  themeChanged();
  fleet.redraw();
  callPage.redraw();
}
system.addEventListener("change", theme);
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  const other = now === "dark" ? "light" : "dark";
  if ((system.matches ? "dark" : "light") === other) localStorage.removeItem(THEME); else localStorage.setItem(THEME, other);
  theme();
});

theme();
route();
