// Small aids of every page: messages, questions, menus, copying, times.

const byId = (id) => document.getElementById(id);

// ---- times -----------------------------------------------------------------

// The engine's clock counts, not this machine's.
const skew = Number(document.body.dataset.now || Date.now()) - Date.now();

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

// The same words as agoText of the views.
function ago(date) {
  const seconds = (Date.now() + skew - date) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  return seconds < 0 ? "in " + span(-seconds) : span(seconds) + " ago";
}

export function clock(seconds) {
  const s = Math.max(Math.round(seconds), 0);
  const two = (n) => String(n).padStart(2, "0");
  if (s >= 3600) return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  return `${Math.floor(s / 60)}:${two(s % 60)}`;
}

const deadlines = new WeakMap(); // countdown element → when it reaches zero

// A countdown says how much was left when it was written; it ticks here. In its
// last minute it is marked, which shows the Keep open button.
function tick() {
  for (const element of document.querySelectorAll("[data-countdown]")) {
    if (!deadlines.has(element)) deadlines.set(element, Date.now() + Number(element.dataset.countdown) * 1000);
    const left = (deadlines.get(element) - Date.now()) / 1000;
    element.textContent = clock(left);
    element.classList.toggle("soon", left <= 60);
  }
  refreshTimes("time[data-ticking]");
}

function refreshTimes(which) {
  for (const element of document.querySelectorAll(which)) {
    const text = ago(Date.parse(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

// When something ends is said by the viewer's own clock; the engine writes UTC.
function localTimes() {
  const today = new Date(Date.now() + skew).toDateString();
  for (const element of document.querySelectorAll("time[data-local]")) {
    const date = new Date(element.dateTime);
    const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const day = date.toDateString() === today ? {} : { day: "numeric", month: "short" };
    const text = new Intl.DateTimeFormat("en-GB", { ...day, ...time }).format(date);
    if (element.textContent !== text) element.textContent = text;
  }
}

// ---- messages --------------------------------------------------------------

const calm = 6_000; // how long a message stays
const grave = 12_000; // how long a warning or error stays

// The places for messages are in the page from the start: screen readers only
// speak of what changes inside a live region they know.
export function showToast(toast) {
  const alarming = toast.dataset.kind === "err" || toast.dataset.kind === "warn";
  const place = byId(alarming ? "alerts" : "toasts");
  let timer = 0;
  const leave = () => { timer = setTimeout(() => toast.remove(), alarming ? grave : calm); };
  const stay = () => clearTimeout(timer);
  toast.addEventListener("pointerenter", stay);
  toast.addEventListener("focusin", stay);
  toast.addEventListener("pointerleave", leave);
  toast.addEventListener("focusout", leave);
  place.append(toast);
  while (place.children.length > 3) place.firstElementChild.remove();
  leave();
}

export function toast(kind, text, hint) {
  const model = byId("toast-" + kind) ?? byId("toast-info");
  const element = model.content.firstElementChild.cloneNode(true);
  element.querySelector("strong").textContent = text;
  element.querySelector("span").textContent = hint ?? "";
  showToast(element);
}

function toastFromEngine(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  if (holder.content.firstElementChild) showToast(holder.content.firstElementChild);
}

// say speaks to screen readers only: what happened shows elsewhere.
export const say = (text) => { byId("said").textContent = text; };

// ---- questions -------------------------------------------------------------

// ask opens one of the page's dialogs; it answers whether it was agreed to.
export function ask(dialog) {
  return new Promise((done) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => done(dialog.returnValue === "ok"), { once: true });
    dialog.showModal();
  });
}

async function confirmRequest(event) {
  if (!event.detail.question) return;
  event.preventDefault();
  const { confirmTitle, confirmDo } = event.detail.elt.dataset;
  if (await confirmed(confirmTitle, event.detail.question, confirmDo)) event.detail.issueRequest(true);
}

// confirmed puts a question into the page's dialog.
export function confirmed(title, text, act) {
  byId("confirm-title").textContent = title ?? "Are you sure?";
  byId("confirm-text").textContent = text;
  byId("confirm-ok").textContent = act ?? "Go on";
  return ask(byId("confirm"));
}

// Connect turns into Disconnect under the pointer within some 40 ms: the second
// half of a double click must not take back what the first half began.
let guardedSince = 0;
function watchGuarded() {
  if (!document.querySelector(".guarded")) guardedSince = null;
  else guardedSince ??= performance.now();
}
const tooSoon = (button) => button.matches(".guarded") && performance.now() - guardedSince < 500 && guardedSince > 0;

// ---- the rest --------------------------------------------------------------

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    toast("err", "The browser did not allow copying.", "Select the text and copy it by hand.");
    return;
  }
  const label = button.querySelector("span");
  const before = label?.textContent;
  button.classList.add("copied");
  if (label) label.textContent = "Copied";
  say("Copied");
  setTimeout(() => {
    button.classList.remove("copied");
    if (label) label.textContent = before;
    say("");
  }, 1500);
}

function chooseTheme(theme) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `brl-theme=${theme}; Path=/; Max-Age=${theme ? 31536000 : 0}; SameSite=Strict${secure}`;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function closeMenus(but) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(but)) menu.open = false;
  }
}

function click(event) {
  const target = event.target.closest("button, a, summary");
  // A menu goes with what is chosen in it, unless its form is not filled in yet.
  const done = target?.closest(".menu-body") && (target.form?.checkValidity() ?? true);
  closeMenus(done ? null : event.target);
  if (!target) return;
  if (tooSoon(target)) {
    event.preventDefault();
    event.stopPropagation();
  } else if (target.dataset.copy) copy(target);
  else if (target.dataset.dialog) ask(byId(target.dataset.dialog));
  else if ("dismiss" in target.dataset) target.closest(".toast").remove();
}

// Keys that lead somewhere rest while one types, and in a terminal.
let prefix = 0;
function keydown(event) {
  if (event.key === "Escape") {
    const menu = event.target.closest?.("details.menu[open]");
    closeMenus(null);
    menu?.querySelector("summary").focus();
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable], #terminal-host")) return;
  const go = { d: "devices", t: "tunnels", a: "activity", e: "enrolment" }[event.key];
  if (go && performance.now() - prefix < 1000) location.assign("/" + go);
  else if (event.key === "g") prefix = performance.now();
  else if (event.key === "?") ask(byId("keys"));
  else if (event.key === "/") {
    event.preventDefault();
    byId("search").select();
  }
}

export function start() {
  document.addEventListener("click", click, true);
  document.addEventListener("keydown", keydown);
  document.addEventListener("htmx:confirm", confirmRequest);
  document.addEventListener("borealis:toast", (e) => toastFromEngine(e.detail));
  document.addEventListener("change", (e) => { if (e.target.name === "theme") chooseTheme(e.target.value); });
  document.addEventListener("borealis:changed", () => { tick(); refreshTimes("time[data-relative]"); localTimes(); watchGuarded(); });
  if (!document.querySelector(".guarded")) guardedSince = null;
  setInterval(tick, 1000);
  setInterval(() => { refreshTimes("time[data-relative]"); localTimes(); }, 15_000);
  tick();
  localTimes();
}
