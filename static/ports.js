// The card of the allowed ports: a switch flips at once and is saved behind, changes
// are sent one after the other, and whatever is typed or open stays when the card is
// drawn anew.
import { keep } from "./live.js";
import { confirmed, say, toast } from "./ui.js";

const byId = (id) => document.getElementById(id);
const savedFor = 2_000; // how long a row says that it was saved

const jobs = []; // changes that wait for their turn
let running = null; // the one under way
let focusBack = "ports-reset"; // where the keyboard was before a message about it
const saved = new Map(); // row → until when it says so

// Each change names the revision that the page shows when its turn comes: the answer
// to the one before it brought that. A change of somebody else is refused by the engine.
function turn() {
  if (running || jobs.length === 0) return;
  running = jobs.shift();
  if (running.form.id) running.form = byId(running.form.id) ?? running.form;
  running.sent = false;
  if (running.form.isConnected) window.htmx.trigger(running.form, "send");
  else toast("err", "That port is not in the list any more.", "Your change was not made.");
  if (!running.sent) over();
}

function over() {
  const { form, row } = running;
  running = null;
  form.closest(".toast")?.remove();
  if (document.activeElement === document.body) byId(focusBack)?.focus({ preventScroll: true });
  if (row && !pending(row)) settle(row);
  turn();
}

const pending = (row) => jobs.some((job) => job.row === row) || running?.row === row;

// A switch shows again what the engine last said.
function settle(row) {
  const input = byId("allow-" + row);
  if (!input) return;
  input.checked = input.defaultChecked;
  input.closest("tr").classList.remove("saving");
}

function enqueue(form) {
  const values = Object.fromEntries(new FormData(form));
  if (values.row) focusBack = "allow-" + values.row;
  const flipped = form.matches(".switch-form");
  if (flipped) {
    values.allowed = form.querySelector(".switch").checked ? "1" : "0";
    for (const job of jobs) if (job.row === values.row) jobs.splice(jobs.indexOf(job), 1); // the last word counts
  }
  if (values.until) values.until = utc(values.until);
  if (form.id) delete values.revision;
  jobs.push({ form, values, row: flipped ? values.row : "" });
  dress();
  turn();
}

// ---- one request -----------------------------------------------------------

const mine = (event) => running && event.detail.requestConfig?.elt === running.form;

function configure(event) {
  if (!running || event.detail.elt !== running.form) return;
  running.sent = true;
  for (const [name, value] of Object.entries(running.values)) event.detail.parameters[name] = value;
}

async function answered(event) {
  if (!mine(event)) return;
  const { xhr } = event.detail;
  if (xhr.status === 409) {
    const problem = problemOf(xhr);
    if (problem.code === "confirmation_required") {
      const job = running;
      if (await confirmed(problem.question, problem.detail, problem.confirm)) {
        job.values.confirmed = "1";
        jobs.unshift(job);
      } else say("Nothing was changed");
      return over();
    }
  }
  over();
}

function problemOf(xhr) {
  try {
    return JSON.parse(xhr.responseText);
  } catch {
    return {};
  }
}

// ---- the card is drawn anew ------------------------------------------------

let restore = () => {};

function before(event) {
  if (!mine(event)) return;
  if (event.detail.xhr.status === 409 && problemOf(event.detail.xhr).code === "confirmation_required") {
    event.detail.isError = false; // it is a question
    return;
  }
  restore = keep(event.detail.target, running.form);
}

function after(event) {
  const card = byId("ports");
  if (!card || !mine(event)) return;
  restore(card);
  restore = () => {};
  const rows = card.dataset.saved;
  card.dataset.saved = "";
  if (!rows) return;
  for (const row of rows.split(" ")) saved.set(row, performance.now() + savedFor);
  say("Saved");
  setTimeout(() => { say(""); dress(); }, savedFor);
}

// What the page knows and the engine does not: what is on its way, and what was just
// saved.
function dress() {
  const card = byId("ports");
  if (!card) return;
  for (const job of [running, ...jobs]) {
    const input = job?.row && byId("allow-" + job.row);
    if (!input) continue;
    input.checked = job.values.allowed === "1";
    input.closest("tr").classList.add("saving");
  }
  for (const tr of card.querySelectorAll("tr[data-row]")) {
    tr.classList.toggle("saved-now", (saved.get(tr.dataset.row) ?? 0) > performance.now());
  }
  for (const input of card.querySelectorAll("[data-utc]")) {
    input.defaultValue = local(input.dataset.utc);
    input.removeAttribute("data-utc");
  }
  card.dataset.live = "";
}

// ---- times of the viewer's own clock ---------------------------------------

const utc = (text) => {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toISOString().replace(/\.\d+Z$/, "Z");
};

function local(text) {
  const date = new Date(text.endsWith("Z") ? text : text + "Z");
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function start() {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-ports]") || !byId("ports")) return; // without the card, go to its page
    event.preventDefault();
    enqueue(event.target);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-ports] > .switch")) enqueue(event.target.form);
  });
  document.addEventListener("htmx:configRequest", configure);
  document.addEventListener("htmx:beforeSwap", before);
  document.addEventListener("htmx:afterSwap", after);
  document.addEventListener("htmx:afterRequest", answered);
  document.addEventListener("borealis:changed", dress);
  dress();
}
