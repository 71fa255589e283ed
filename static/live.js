// What the engine tells this page by itself: one stream of server-sent events
// carries HTML fragments that replace the elements of the same id.

// The engine knows a browser tab by a name that reloads and links keep: it holds
// the tab's tunnels for some seconds while a page goes and the next one comes.
export const tab = sessionStorage.getItem("tab") ?? crypto.randomUUID();
sessionStorage.setItem("tab", tab);

// Tells the other scripts that elements were replaced.
export const changed = () => document.dispatchEvent(new Event("borealis:changed"));

export const signIn = () => {
  location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
};

const sources = new WeakMap(); // element → the HTML it came from
const waiting = new Map(); // id → fragment that came at a bad moment
const asked = new Map(); // id → requests under way whose answer will replace the element
let pressed = null; // where a mouse button or finger is down
let composing = false; // a letter that takes several keys is half typed

// An element stays between press and release, for a click on something that was
// just replaced would be lost; while a request of its own is under way, or a
// question about one is open; while it is asked for, for the answer may be older
// than what the stream brought meanwhile; while it has text that somebody
// has selected, but for the head, whose state is worth more than that; and while
// somebody chooses or half types something in it.
function busy(old) {
  const selection = getSelection();
  const selected = !selection.isCollapsed && old.contains(selection.anchorNode) && old.id !== "device-head";
  const questioned = document.getElementById("confirm")?.open && old.querySelector("[hx-confirm], [data-ports]");
  const focused = old.contains(document.activeElement);
  const choosing = focused && (composing || document.activeElement.matches("select, [type=datetime-local]"));
  const sending = old.querySelector(".htmx-request:not([data-quiet])") !== null;
  return selected || questioned || choosing || sending || old.contains(pressed) || asked.has(old.id);
}

function asking({ detail: { target, xhr } }) {
  const { id } = target;
  asked.set(id, (asked.get(id) ?? 0) + 1);
  xhr.addEventListener("loadend", () => {
    const left = asked.get(id) - 1;
    if (left > 0) asked.set(id, left);
    else asked.delete(id);
    setTimeout(flush); // after the answer was put in its place
  });
}

// Where the keyboard is stays, by id or else by place.
const controls = (element) => [...element.querySelectorAll("a, button, input, select, summary")];

function refocus(old, fresh) {
  const focused = document.activeElement;
  if (!old.contains(focused)) return () => {};
  const [before, after] = [controls(old), controls(fresh)];
  const same = before.length === after.length ? after[before.indexOf(focused)] : null;
  return () => (focused.id ? document.getElementById(focused.id) : same)?.focus({ preventScroll: true });
}

// keep remembers what somebody has filled in, opened and focused in an element, and
// returns what puts it into the one that takes its place. Forms that switch something
// at once, and the one that was sent, are the engine's. A form that was refused stays
// whole, with what is said about it.
export function keep(old, sent) {
  const fields = [...old.querySelectorAll("input[id]:not([type=hidden], .switch), select[id]")].filter((e) => e.form !== sent);
  const filled = fields.filter((e) => (e.localName === "select" ? !e.selectedOptions[0]?.defaultSelected : e.value !== e.defaultValue || e.checked !== e.defaultChecked));
  const refused = [...old.querySelectorAll("form[id]:has([aria-invalid])")].filter((e) => e !== sent);
  const menus = [...old.querySelectorAll("details[open][id]")].map((e) => e.id);
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const caret = focused?.matches("input[type=text]") ? [focused.selectionStart, focused.selectionEnd] : null;
  return (fresh) => {
    const find = (id) => fresh.querySelector("#" + CSS.escape(id));
    for (const { id, value, checked } of filled) {
      const field = find(id);
      if (field) Object.assign(field, field.matches("[type=radio], [type=checkbox]") ? { checked } : { value });
    }
    for (const form of refused) {
      const revision = find(form.id)?.elements.revision;
      if (!revision) continue;
      form.elements.revision.value = revision.value;
      find(form.id).replaceWith(form);
    }
    for (const id of menus) find(id)?.setAttribute("open", "");
    if (focused?.id && caret) find(focused.id)?.setSelectionRange(...caret);
  };
}

function replace(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old) {
    if (fresh.id.startsWith("row-")) newRow();
    return;
  }
  // Which page is shown is known here, and not to the stream.
  if (fresh.id === "nav") {
    const current = old.querySelector("[aria-current]")?.id;
    for (const link of fresh.querySelectorAll("a")) {
      if (link.id === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  if (busy(old)) {
    waiting.set(fresh.id, fresh);
    return;
  }
  waiting.delete(fresh.id);
  const html = fresh.outerHTML;
  if (sources.get(old) === html) return;
  const restore = keep(old);
  const focus = refocus(old, fresh);
  sources.set(fresh, html);
  old.replaceWith(fresh);
  window.htmx.process(fresh);
  restore(fresh);
  focus();
}

// Rows come inside a table without an id: on their own the parser drops them.
export function replaceFragments(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  for (const element of [...holder.content.children]) {
    const fragments = element.localName === "table" && !element.id ? [...element.rows] : [element];
    fragments.forEach(replace);
  }
  changed();
}

function flush() {
  const fragments = [...waiting.values()];
  waiting.clear();
  fragments.forEach(replace);
  if (fragments.length > 0) changed();
}

// A device that the list does not have yet: the list is asked for again, unless
// it shows a choice of devices which the new one need not belong to.
let refetch = 0;
function newRow() {
  const list = document.getElementById("list");
  if (!list || list.dataset.query || list.dataset.site || list.dataset.state || list.dataset.page !== "1") return;
  clearTimeout(refetch);
  refetch = setTimeout(() => window.htmx.ajax("GET", location.pathname, { target: "#list", swap: "outerHTML" }), 200);
}

let source = null;
let failures = 0;
let lostTimer = 0;

function alive() {
  failures = 0;
  clearTimeout(lostTimer);
  lostTimer = 0;
  if (!document.body.classList.contains("lost")) return;
  document.body.classList.remove("lost");
  document.dispatchEvent(new Event("borealis:alive"));
}

// A stream that is back within a second was not worth a word.
function lost() {
  lostTimer ||= setTimeout(() => document.body.classList.add("lost"), 1000);
}

function open() {
  const query = new URLSearchParams({ tab });
  if (document.body.dataset.view) query.set("view", document.body.dataset.view);
  const list = document.getElementById("list")?.dataset;
  if (list?.query) query.set("q", list.query);
  if (list?.site) query.set("site", list.site);
  if (list?.state) query.set("state", list.state);
  if (list && list.page !== "1") query.set("page", list.page);
  source = new EventSource("/events?" + query);
  source.addEventListener("open", alive);
  source.addEventListener("fragments", (e) => replaceFragments(e.data));
  source.addEventListener("toast", (e) => document.dispatchEvent(new CustomEvent("borealis:toast", { detail: e.data })));
  source.addEventListener("signedout", () => {
    source.close();
    signIn();
  });
  // The operator may do more or less than when the page was drawn, or nothing here at all.
  source.addEventListener("changed", () => {
    source.close();
    location.reload();
  });
  source.addEventListener("error", () => {
    lost();
    // The browser retries a broken stream itself, but not a refused one.
    if (source.readyState === EventSource.CLOSED) retry();
  });
}

async function retry() {
  failures++;
  const longest = Math.min(15_000, 500 * 2 ** failures);
  await new Promise((done) => setTimeout(done, longest * (0.5 + Math.random() / 2)));
  // An EventSource does not say why it was refused: an expired session is told
  // apart from an engine that is away by asking for something small.
  try {
    const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (answer.status === 401 || answer.type === "opaqueredirect") return signIn();
  } catch {
    // The engine is away: try again below.
  }
  open();
}

export function listen() {
  document.addEventListener("pointerdown", (e) => { pressed = e.target; }, true);
  for (const end of ["pointerup", "pointercancel"]) {
    // The click follows the release: replace after it.
    document.addEventListener(end, () => setTimeout(() => { pressed = null; flush(); }), true);
  }
  document.addEventListener("htmx:beforeSend", asking);
  document.addEventListener("close", () => setTimeout(flush), true); // of a dialog
  document.addEventListener("focusout", () => setTimeout(flush)); // of a choice
  document.addEventListener("compositionstart", () => { composing = true; });
  document.addEventListener("compositionend", () => { composing = false; setTimeout(flush); });
  document.addEventListener("selectionchange", () => { if (getSelection().isCollapsed) flush(); });
  // Signing out ends the stream: it need not be found again on the way out.
  document.addEventListener("submit", (e) => { if (e.target.matches("[action='/logout']")) source?.close(); });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (e) => { if (e.persisted) open(); });
  open();
}
