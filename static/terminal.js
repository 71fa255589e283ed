// The terminal of a device page: what state it is in, what it says, and what its
// controls do. The screen (terminal-screen.js) and the connection
// (terminal-link.js) know nothing of each other; here they meet.
import { Link } from "./terminal-link.js";
import { Screen } from "./terminal-screen.js";
import { ask, clock } from "./ui.js";

const byId = (id) => document.getElementById(id);
const live = new Set(["requested", "offered", "ready", "peered", "up"]);
const largestPaste = 1 << 20; // characters
const readFor = 1_200; // ms to read why another page comes

// The words for each state, with the shape and colour that go with them.
const states = {
  down: ["idle", "Not connected"],
  connecting: ["warn", "Connecting"],
  connected: ["ok", "Connected"],
  reconnecting: ["warn", "Reconnecting"],
  ended: ["idle", "Ended"],
  error: ["err", "Not possible"],
};

export async function start(section, page) {
  const terminal = new DeviceTerminal(section, page);
  await terminal.open();
  return terminal;
}

class DeviceTerminal {
  constructor(section, { tab, toast, signIn }) {
    Object.assign(this, { section, toast, state: "down", wanted: false, endedOn: "", quiet: 0, parsed: 0, got: 0, sent: 0, left: -Infinity });
    this.link = new Link({
      device: section.dataset.device,
      tab,
      size: () => ({ cols: this.screen.term.cols, rows: this.screen.term.rows }),
      on: {
        signIn,
        trying: () => { if (this.state === "reconnecting") byId("terminal-retry").textContent = "Connection to the engine lost. Trying…"; },
        step: (name, ms) => this.step(name, ms),
        hello: (message) => this.hello(message),
        bytes: (chunk, end) => this.bytes(chunk, end),
        idle: (seconds) => this.idle(seconds),
        rtt: (ms) => { byId("terminal-rtt").textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`; },
        lost: (seconds) => this.lost(seconds),
        exit: (status, refusal) => this.exited(status, refusal),
        ended: (reason) => this.ended(reason),
        refused: (problem) => this.refused(problem),
      },
    });
    this.screen = new Screen(byId("terminal-host"), {
      input: (bytes, isReply) => this.input(bytes, isReply),
      resize: (cols, rows, person) => this.resized(cols, rows, person),
      paste: (text) => this.paste(text),
      leave: () => this.leave(),
    });
  }

  async open() {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = this.section.dataset.style;
    await new Promise((done) => {
      style.onload = style.onerror = done;
      document.head.append(style);
    });
    await this.screen.open();
    this.resized(this.screen.term.cols, this.screen.term.rows, false);
    this.section.addEventListener("click", (event) => this.click(event));
    this.chooseShell();
    document.addEventListener("borealis:changed", () => this.look());
    document.addEventListener("fullscreenchange", () => this.fullscreenChanged());
    document.addEventListener("htmx:beforeRequest", (event) => {
      const { path } = event.detail.requestConfig;
      if (path.endsWith("/tunnel/disconnect")) this.left = performance.now();
      if (path.endsWith("/tunnel/connect") && this.shown) this.link.prepare();
    });
    document.addEventListener("htmx:responseError", () => this.link.abandon());
    document.addEventListener("borealis:alive", () => this.link.retry());
    addEventListener("online", () => this.link.retry());
    addEventListener("pagehide", () => this.remember());
    setInterval(() => this.count(), 1000);
    this.publish();
    this.look();
  }

  // For tests: what a person would see.
  publish() {
    const it = this;
    window.borealisTerminal = {
      get state() { return it.state; },
      get renderer() { return it.screen.renderer; },
      get cols() { return it.screen.term.cols; },
      get rows() { return it.screen.term.rows; },
      get id() { return it.link.terminal; },
      get offset() { return it.parsed; },
      text: () => it.screen.text(),
      paste: (text) => it.paste(text),
    };
  }

  // ---- the tunnel, as the head of the page tells it ------------------------

  get head() { return byId("device-head").dataset; }
  get shown() { return document.querySelector("[data-tab=powershell]") !== null; }

  look() {
    const { tunnelState, tunnelId, tunnelReason, attached } = this.head;
    const here = live.has(tunnelState) && attached === "true";
    const busy = ["connecting", "connected", "reconnecting"].includes(this.state);
    if (here && !busy && this.shown && (this.wanted || this.state === "down" || tunnelId !== this.endedOn)) this.begin(tunnelId);
    else if (!here && busy) this.ended(live.has(tunnelState) ? "" : tunnelReason);
    if (this.shown) this.screen.fit();
  }

  get key() { return `terminal:${this.section.dataset.device}:${this.tunnel}`; }

  begin(tunnel) {
    this.tunnel = tunnel;
    this.wanted = false;
    this.left = -Infinity;
    let known = {};
    try {
      known = JSON.parse(sessionStorage.getItem(this.key)) ?? {};
    } catch {
      // Not ours, or damaged: a new shell it is.
    }
    // A page that was loaded again draws the screen anew from what the engine
    // holds. Questions in those bytes were answered by the page before.
    this.quiet = known.offset ?? 0;
    this.section.dataset.blank = "";
    for (const item of byId("terminal-steps").children) {
      item.className = "";
      item.lastElementChild.textContent = "";
    }
    this.mark("offered", "now");
    this.idle(Infinity);
    this.be("connecting");
    this.screen.fit();
    this.link.start(known.id, this.choice?.value);
  }

  remember() {
    if (this.link.terminal) sessionStorage.setItem(this.key, JSON.stringify({ id: this.link.terminal, offset: this.parsed }));
  }

  mark(name, className, text = "") {
    const item = byId("terminal-steps").querySelector(`[data-step="${CSS.escape(name)}"]`);
    if (!item) return null;
    item.className = className;
    item.lastElementChild.textContent = text;
    return item;
  }

  step(name, ms) {
    const item = this.mark(name, "done", ms === undefined ? "" : `${Math.round(ms)} ms`);
    // What came before a step is done, though its message was not seen.
    for (let before = item?.previousElementSibling; before; before = before.previousElementSibling) before.className = "done";
    if (item?.nextElementSibling) item.nextElementSibling.className = "now";
  }

  // ---- the shell -----------------------------------------------------------

  hello({ offset, lost, resumed, cols, rows }) {
    this.step("shell");
    const again = resumed && this.state === "reconnecting" && offset >= this.parsed;
    if (!again) {
      this.screen.clear();
      if (!resumed) this.quiet = 0;
    }
    this.parsed = offset;
    delete this.section.dataset.blank;
    this.be("connected");
    this.screen.type(true);
    this.remark(lost > 0 ? `Resumed; ${lost.toLocaleString("en")} bytes were lost.` : resumed ? "Resumed." : "");
    this.screen.fit();
    const { cols: c, rows: r } = this.screen.term;
    if (c !== cols || r !== rows) this.link.resize(c, r, false);
    this.remember();
    // Whoever opened the terminal wants to type; whoever is elsewhere does not.
    const focused = document.activeElement;
    if (this.shown && (focused === document.body || this.section.contains(focused) || focused.closest("#device-head, .tabs"))) this.screen.focus();
  }

  bytes(chunk, end) {
    this.got += chunk.length;
    this.screen.write(chunk, () => {
      this.parsed = end;
      this.link.parsed(end);
    });
  }

  input(bytes, isReply) {
    if (isReply && this.parsed < this.quiet) return;
    this.sent += bytes.length;
    this.link.send(bytes);
  }

  resized(cols, rows, person) {
    byId("terminal-size").textContent = `${cols}×${rows}`;
    this.link.resize(cols, rows, person);
  }

  lost(seconds) {
    if (this.state === "connected" || this.state === "reconnecting") {
      this.screen.type(false);
      this.be("reconnecting");
      byId("terminal-retry").textContent = `Connection to the engine lost. Next try in ${seconds} s.`;
    } else {
      this.remark(`The engine does not answer. Next try in ${seconds} s.`);
    }
  }

  // exited says how the shell ended, or why there was none.
  exited(status, refusal) {
    if (refusal) return this.end(refusal, "", "error");
    this.end(status === 0 ? "The shell has ended." : `The shell has ended with status ${status}.`, "");
  }

  // ended puts an end reason of the engine in words.
  ended(reason) {
    // Whoever pressed Disconnect need not be told that somebody did.
    if (performance.now() - this.left < 5000) return this.end("You disconnected.", "");
    const words = byId("terminal-reasons").content.querySelector(`[data-reason="${CSS.escape(reason ?? "")}"]`);
    const text = words ? `The tunnel ended: ${words.textContent}.` : reason ? `The tunnel ended: ${reason.replaceAll("_", " ")}.` : "The terminal was closed.";
    this.end(text, words?.dataset.hint ?? "", "ended", words?.hasAttribute("data-fault"));
  }

  // refused says why there is no terminal, and does not ask again. A second factor is
  // asked for on a page of its own, which leads back here.
  refused({ code, detail, hint }) {
    if (code !== "second_factor_required") return this.end(detail || "The engine refused the terminal.", hint, "error");
    this.end("A second factor is needed for a shell.", "Taking you to where you can prove it…", "error");
    const here = location.pathname + location.search;
    setTimeout(() => location.assign("/verify?next=" + encodeURIComponent(here)), readFor);
  }

  end(text, hint, state = "ended", fault = state === "error") {
    this.link.close();
    sessionStorage.removeItem(this.key);
    this.endedOn = this.tunnel;
    this.screen.type(false);
    this.idle(Infinity);
    this.remark("");
    byId("terminal-ended").textContent = text;
    byId("terminal-ended-hint").textContent = hint ?? "";
    this.section.toggleAttribute("data-fault", fault); // shows where to look for what is in the way
    const focused = byId("terminal-host").contains(document.activeElement);
    this.be(state);
    if (focused) this.section.querySelector("[data-terminal=restart]").focus();
  }

  // restart opens a new shell on the tunnel, or has the page connect first.
  restart() {
    const { tunnelState, attached } = this.head;
    if (live.has(tunnelState) && attached === "true") return this.begin(this.head.tunnelId);
    const connect = byId("connect") ?? byId("start");
    if (!connect || connect.disabled) {
      byId("terminal-ended-hint").textContent = byId("blocked")?.textContent.trim() ?? "The device cannot be connected to now.";
      return;
    }
    this.wanted = true;
    connect.form.requestSubmit();
  }

  // ---- what is said --------------------------------------------------------

  be(state) {
    this.state = state;
    this.section.dataset.state = state;
    byId("terminal-host").inert = state === "down" || state === "connecting"; // covered
    const [kind, word] = states[state];
    const pill = byId("terminal-state");
    pill.className = `pill ${kind}`;
    pill.firstElementChild.className = `dot ${kind}`;
    if (pill.lastElementChild.textContent !== word) pill.lastElementChild.textContent = word;
  }

  remark(text) {
    clearTimeout(this.remarkTimer);
    byId("terminal-note").textContent = text;
    if (text) this.remarkTimer = setTimeout(() => this.remark(""), 15_000);
  }

  // idle shows the last minute before the engine stops an unused tunnel.
  idle(seconds) {
    this.idleUntil = seconds > 0 && seconds <= 60 ? Date.now() + seconds * 1000 : 0;
    this.section.toggleAttribute("data-idle", this.idleUntil > 0);
    this.count();
  }

  count() {
    if (this.idleUntil) byId("terminal-idle-left").textContent = clock((this.idleUntil - Date.now()) / 1000);
    const text = `↓ ${size(this.got)} ↑ ${size(this.sent)}`;
    if (byId("terminal-bytes").textContent !== text) byId("terminal-bytes").textContent = text;
  }

  // ---- what is done --------------------------------------------------------

  click(event) {
    const button = event.target.closest("[data-terminal]");
    switch (button?.dataset.terminal) {
      case "smaller": return this.screen.resizeText(-1);
      case "larger": return this.screen.resizeText(1);
      case "download": return this.download();
      case "reader": return button.setAttribute("aria-pressed", this.screen.toggleReader());
      case "fullscreen": return this.fullscreen();
      case "leave": return this.leave();
      case "retry": return this.link.retry();
      case "keep": return this.link.keepOpen(), this.screen.focus();
      case "restart": return this.restart();
    }
  }

  // chooseShell lets a person choose what runs in the next terminal, on devices that
  // have more than one shell.
  chooseShell() {
    this.choice = byId("terminal-shell");
    if (!this.choice) return;
    const usual = localStorage.getItem("terminal.shell") ?? "";
    if ([...this.choice.options].some((option) => option.value === usual)) this.choice.value = usual;
    this.choice.addEventListener("change", () => {
      localStorage.setItem("terminal.shell", this.choice.value);
      if (["connected", "reconnecting"].includes(this.state)) this.remark(`Next: ${this.choice.selectedOptions[0].text}, when this shell has ended.`);
    });
  }

  // Several lines run as they arrive: that is asked for first.
  async paste(text) {
    if (this.state !== "connected" || text === "") return;
    if (text.length > largestPaste) return this.toast("err", "This is too much to paste.", "Send it as a file, or in parts of less than a million characters.");
    const lines = text.replace(/\r\n?/g, "\n").split("\n");
    if (lines.length > 1) {
      const count = lines.at(-1) === "" ? lines.length - 1 : lines.length;
      byId("paste-count").textContent = count === 1 ? "One line that ends with Enter: it runs at once." : `${count} lines. Each may run as soon as it arrives.`;
      byId("paste-text").textContent = lines.slice(0, 200).join("\n") + (lines.length > 200 ? "\n…" : "");
      const agreed = ask(byId("paste"));
      byId("paste-ok").focus();
      if (!(await agreed)) return this.screen.focus();
    }
    this.screen.paste(text);
    this.screen.focus();
  }

  leave() {
    if (document.fullscreenElement) document.exitFullscreen();
    document.querySelector(".tabs [aria-current]")?.focus();
  }

  async fullscreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    await this.section.requestFullscreen();
    this.screen.focus();
  }

  // Esc belongs to the program that runs, also in full screen.
  fullscreenChanged() {
    this.screen.person = performance.now();
    if (document.fullscreenElement) navigator.keyboard?.lock?.(["Escape"]).catch(() => {});
    else navigator.keyboard?.unlock?.();
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.screen.transcript()], { type: "text/plain" }));
    const name = this.section.dataset.name.replace(/[^\w.-]+/g, "_").slice(0, 60) || "terminal";
    link.download = `${name} ${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.txt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
