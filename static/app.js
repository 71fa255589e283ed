// The script of every page. Pages are links and forms that work without it; it
// makes them live, and brings the terminal.
import { changed, listen, signIn, tab } from "./live.js";
import { showToast, start, toast } from "./ui.js";

// ---- requests of htmx ------------------------------------------------------

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["Borealis-Tab"] = tab;
  if (event.detail.parameters.q === "") delete event.detail.parameters.q;
});

// htmx reports one failure more than once.
const reported = new WeakSet();

function failed(event) {
  const xhr = event.detail.xhr;
  if (reported.has(xhr)) return;
  reported.add(xhr);
  if (xhr.status === 401) return signIn();
  if (xhr.status === 0) {
    return toast("err", "The engine did not answer.", "What you asked for may not have happened. This page shows how things are when the engine is back.");
  }
  let problem = {};
  try {
    problem = JSON.parse(xhr.responseText);
  } catch {
    // Not a problem document; the status has to do.
  }
  toast("err", problem.detail || problem.title || `The engine refused this (status ${xhr.status}).`, problem.hint);
}
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, failed);

// ---- after a part of the page was replaced ---------------------------------

document.addEventListener("htmx:afterSettle", (event) => {
  changed();
  // A part may name what is to be read next.
  const next = event.detail.elt.querySelector?.("[data-focus]");
  if (next) next.focus();
  // Connect is gone once it was pressed: stay where it was.
  else if (document.activeElement === document.body && event.detail.elt.id === "device-head") {
    document.querySelector("#device-head .actions :is(button, summary):not(:disabled)")?.focus({ preventScroll: true });
  }
});

document.addEventListener("htmx:historyRestore", changed);

// An answer may bring a message beside the part of the page that it draws.
document.addEventListener("borealis:changed", () => {
  for (const holder of document.querySelectorAll("template[data-toast]")) {
    const message = holder.content.firstElementChild;
    holder.remove();
    if (!message) continue;
    for (const older of document.querySelectorAll(".toast:has(form)")) older.remove(); // what they offer is over
    showToast(message);
    window.htmx.process(message);
  }
});

// ---- the terminal ----------------------------------------------------------

// It is fetched when its tab is first looked at; from then on it looks after
// itself, whatever tab is open.
let terminal = null;

function bringTerminal() {
  const section = document.getElementById("terminal");
  if (terminal || !section || !document.querySelector("[data-tab=powershell]")) return;
  terminal = import(section.dataset.script).then((module) => module.start(section, { tab, toast, signIn }));
  terminal.catch((err) => {
    terminal = null;
    toast("err", "The terminal could not be loaded.", "Reload the page. " + err.message);
  });
}

document.addEventListener("borealis:changed", bringTerminal);

// ---- the allowed ports -----------------------------------------------------

let ports = null;

function bringPorts() {
  if (ports || !document.getElementById("ports")) return;
  ports = import("./ports.js").then((module) => module.start());
  ports.catch(() => { ports = null; }); // the forms work without it
}

document.addEventListener("borealis:changed", bringPorts);

start();
listen();
bringTerminal();
bringPorts();
