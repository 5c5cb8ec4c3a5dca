// What the pages need of a browser. All that is shown comes from the server as HTML; this keeps it current, and helps to look at it.
import htmx from "htmx.org";
import { Idiomorph } from "idiomorph";

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap: (style, target, fragment) => {
    if (style === "morph") return Idiomorph.morph(target, fragment.children, { morphStyle: "outerHTML", callbacks: { beforeAttributeUpdated: keep } });
    return false;
  },
});

// Whether a reader has opened something is the reader's.
function keep(name, node) {
  return !(name === "open" && node.tagName === "DETAILS");
}

const live = () => document.getElementById("live");

// Times are said from now; the moment itself is in the title.
const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function tell(root) {
  for (const t of root.querySelectorAll("time")) {
    const seconds = (Date.parse(t.dateTime) - Date.now()) / 1000;
    const [unit, size] = units.find(([, s]) => Math.abs(seconds) >= s) || units[units.length - 1];
    const says = Math.abs(seconds) < 1 ? "now" : words.format(Math.round(seconds / size), unit);
    if (t.textContent !== says) t.textContent = says;
  }
}
setInterval(() => document.hidden || tell(document), 10000);

// The page asks for itself when there is news: once at a time, and not while nobody looks.
let newest = 0;
let asking = false;
async function refresh() {
  const at = live();
  if (!at || at.hasAttribute("data-still") || asking || document.hidden || newest <= Number(at.dataset.seen || at.dataset.version)) return;
  asking = true;
  const aim = newest;
  try {
    await htmx.ajax("GET", location.pathname + location.search, { source: at, target: at, swap: "morph", headers: { "X-Seen": at.dataset.digest } });
  } catch {
    return; // the stream says that the server is gone
  } finally {
    asking = false;
  }
  live().dataset.seen = String(aim);
  if (newest > aim) setTimeout(refresh, 50);
}
function news(version) {
  if (version < newest && version > 0) newest = 0; // it has been started anew
  newest = Math.max(newest, version);
  refresh();
}
document.addEventListener("visibilitychange", refresh);

// One page of a browser listens, and tells the others: a browser has few connections to one server, however many pages are open.
const others = new BroadcastChannel("fairlead");
let leads = false;
let state = { version: 0, up: true, gone: false };
others.onmessage = ({ data }) => {
  if (data.ask) {
    if (leads) others.postMessage(state);
    return;
  }
  hear(data);
};
function hear(next) {
  state = next;
  const link = document.getElementById("link");
  link.className = next.up ? "good" : "bad";
  link.querySelector(".says").textContent = next.up ? "live" : next.gone ? "ended: open the link of a new kubectl fairlead dashboard" : "kubectl fairlead dashboard does not answer";
  if (next.up) news(next.version);
}
function say(next) {
  hear(next);
  others.postMessage(next);
}
let leave = () => {};
function listen() {
  return new Promise((done) => {
    leads = true;
    const stream = new EventSource("/events");
    stream.onmessage = (e) => say({ version: Number(e.data), up: true, gone: false });
    stream.onerror = () => say({ version: state.version, up: false, gone: stream.readyState === EventSource.CLOSED });
    leave = () => {
      stream.close();
      leads = false;
      leave = () => {};
      done();
    };
  });
}
function join() {
  if (!live() || !document.getElementById("link")) return;
  others.postMessage({ ask: true });
  if (navigator.locks) navigator.locks.request("fairlead", listen);
  else listen();
}
// A page that the browser keeps for the way back must not keep its connection.
window.addEventListener("pagehide", () => leave());
window.addEventListener("pageshow", (e) => e.persisted && join());
// Until a page has loaded, a stream would keep it loading.
if (document.readyState === "complete") join();
else window.addEventListener("load", () => setTimeout(join));

// A map is walked with the arrow keys, and says what an address is.
function columnsOf(map) {
  return getComputedStyle(map).gridTemplateColumns.split(" ").length;
}
function describe(cell) {
  const out = document.getElementById("cell");
  if (!out) return;
  const since = cell.dataset.since ? ", since " + new Date(cell.dataset.since).toLocaleString() : "";
  out.textContent = cell.getAttribute("aria-label") + since;
}
document.addEventListener("mouseover", (e) => {
  const cell = e.target.closest?.("a.cell, a.block");
  if (cell) describe(cell);
});
document.addEventListener("focusin", (e) => {
  const cell = e.target.closest?.("a.cell, a.block");
  if (cell) describe(cell);
});
document.addEventListener("keydown", (e) => {
  const typing = e.target.matches?.("input, textarea");
  if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
    const box = document.getElementById("q");
    if (box) {
      e.preventDefault();
      box.focus();
      box.select();
    }
    return;
  }
  const offers = document.getElementById("offers");
  if (e.key === "Escape" && offers) {
    offers.replaceChildren();
    return;
  }
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[e.key];
  if (!step) return;
  const upright = e.key === "ArrowUp" || e.key === "ArrowDown";
  if (e.target.closest?.("form.search") && upright) {
    const all = [document.getElementById("q"), ...offers.querySelectorAll("a")];
    const next = all[all.indexOf(e.target) + step];
    if (next) {
      e.preventDefault();
      next.focus();
    }
    return;
  }
  const cell = e.target.closest?.("a.cell, a.block");
  if (!cell) return;
  const map = cell.closest("ol");
  const all = [...map.querySelectorAll("a")];
  const next = all[all.indexOf(cell) + step * (upright ? columnsOf(map) : 1)];
  if (next) {
    e.preventDefault();
    next.focus();
  }
});
// The tabulator passes a map in one step.
function rove(root) {
  for (const map of root.querySelectorAll("ol.map, ol.blocks")) {
    const all = map.querySelectorAll("a");
    all.forEach((a, i) => a.setAttribute("tabindex", i === 0 || a === document.activeElement ? "0" : "-1"));
  }
}
document.addEventListener("click", (e) => {
  const offers = document.getElementById("offers");
  if (offers && !e.target.closest?.("form.search")) offers.replaceChildren();
});

// A file is dropped, or chosen, into the box of the plan.
async function take(file) {
  const box = document.getElementById("yaml");
  if (file && box) box.value = await file.text();
}
document.addEventListener("change", (e) => e.target.id === "file" && take(e.target.files[0]));
document.addEventListener("dragover", (e) => e.target.id === "yaml" && e.preventDefault());
document.addEventListener("drop", (e) => {
  if (e.target.id !== "yaml" || !e.dataTransfer.files.length) return;
  e.preventDefault();
  take(e.dataTransfer.files[0]);
});

document.body.setAttribute("hx-ext", "morph");
document.addEventListener("htmx:afterSwap", () => {
  tell(document);
  rove(document);
});
tell(document);
rove(document);
