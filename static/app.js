// The script of every page. Pages are links and forms that work without it; it
// makes them live, and brings the terminal.
import { changed, listen, signIn, tab } from "./live.js";
import { start, toast } from "./ui.js";

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

start();
listen();
bringTerminal();
