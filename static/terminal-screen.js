// The screen of the terminal: xterm.js with the looks, limits, keys and
// clipboard habits of this console. It knows nothing of sockets.
import "./csp-shim.js";
import { FitAddon } from "./vendor/addon-fit.mjs";
import { WebglAddon } from "./vendor/addon-webgl.mjs";
import { Terminal } from "./vendor/xterm.mjs";

const theme = {
  background: "#0c1016", foreground: "#d7dee8", cursor: "#8db7ff", cursorAccent: "#0c1016", selectionBackground: "#2b4a80",
  black: "#2a3340", red: "#ff7b7b", green: "#4cc78c", yellow: "#f0b340", blue: "#6ea3ff", magenta: "#d292ff", cyan: "#4fd0e0", white: "#d7dee8",
  brightBlack: "#77859a", brightRed: "#ff9a9a", brightGreen: "#74dba8", brightYellow: "#f7ca70", brightBlue: "#9bc0ff", brightMagenta: "#e2b8ff",
  brightCyan: "#83e0ec", brightWhite: "#f4f7fb",
};

const family = '"JetBrains Mono", ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace';
const smallest = 9;
const largest = 24;
const usual = 13;
const leaveWithin = 700; // ms between two presses of Esc that leave the terminal

// What xterm.js itself answers to a program's questions: device attributes,
// cursor position, modes, colours.
const reply = /^\x1b(\[[?>=]?[\d;]*(\$y|[cnR])|[P\]].*(\x1b\\|\x07)?$)/s;

const windows = /win/i.test(navigator.userAgentData?.platform ?? navigator.platform);

export class Screen {
  // on: input(bytes, isReply), resize(cols, rows, byPerson), leave(), paste(text)
  constructor(host, on) {
    this.host = host;
    this.on = on;
    this.renderer = "dom";
    this.person = 0; // when a person last did something that changes the size
    this.escaped = 0;
    this.size = Math.min(Math.max(Number(localStorage.getItem("terminal.size")) || usual, smallest), largest);
  }

  async open() {
    // Without the font the cells would be measured with another one.
    await document.fonts.load(`${this.size}px "JetBrains Mono"`).catch(() => {});
    this.term = new Terminal({
      theme,
      fontFamily: family,
      fontSize: this.size,
      fontWeight: 400,
      fontWeightBold: 700,
      lineHeight: 1.15,
      minimumContrastRatio: 4.5,
      scrollback: 10_000,
      logLevel: "error",
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      screenReaderMode: localStorage.getItem("terminal.reader") === "on",
    });
    this.fitter = new FitAddon();
    this.term.loadAddon(this.fitter);
    this.limit();
    this.term.open(this.host);
    this.draw();
    this.listen();
    this.fit();
  }

  // WebGL where it works, the document where it does not.
  draw() {
    if (localStorage.getItem("terminal.renderer") === "dom") return;
    try {
      const addon = new WebglAddon();
      addon.onContextLoss(() => {
        addon.dispose();
        this.renderer = "dom";
        this.fit();
      });
      this.term.loadAddon(addon);
      this.renderer = "webgl";
    } catch {
      this.renderer = "dom";
    }
  }

  // What a program on the device prints is not to be trusted. The engine filters
  // it; here is the second line. Counts beyond the screen freeze the parser for
  // up to a minute; links, clipboard and colour questions have no use here.
  limit() {
    const { parser } = this.term;
    const huge = (params) => params.flat().some((n) => n > Math.max(2000, this.term.cols * this.term.rows));
    for (const final of ["b", "L", "M", "S", "T", "I", "Z", "@", "P", "X"]) parser.registerCsiHandler({ final }, huge);
    for (const final of ["@", "A"]) parser.registerCsiHandler({ intermediates: " ", final }, huge);
    for (const final of ["}", "~"]) parser.registerCsiHandler({ intermediates: "'", final }, huge);
    for (const code of [8, 9, 52, 777, 1337]) parser.registerOscHandler(code, () => true);
    for (const code of [4, 10, 11, 12]) parser.registerOscHandler(code, (data) => data.includes("?"));
  }

  listen() {
    const encoder = new TextEncoder();
    this.term.onData((text) => this.on.input(encoder.encode(text), reply.test(text)));
    this.term.onBinary((text) => this.on.input(Uint8Array.from(text, (c) => c.charCodeAt(0)), false));
    this.term.onResize(({ cols, rows }) => this.on.resize(cols, rows, performance.now() - this.person < 500));
    this.term.attachCustomKeyEventHandler((event) => this.key(event));
    this.host.addEventListener("paste", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.on.paste(event.clipboardData.getData("text/plain"));
    }, true);
    this.host.addEventListener("contextmenu", (event) => this.rightButton(event));
    addEventListener("resize", () => { this.person = performance.now(); });
    let timer = 0;
    new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(() => this.fit(), 80);
    }).observe(this.host);
  }

  // key says whether xterm.js is to have the event.
  key(event) {
    if (event.type !== "keydown") return true;
    const shifted = event.ctrlKey && event.shiftKey && !event.altKey;
    if ((shifted && event.code === "KeyC") || (event.ctrlKey && event.key === "Insert")) {
      event.preventDefault(); // or the browser's developer tools come up
      this.copy();
      return false;
    }
    // The browser turns these into a paste event.
    if ((shifted && event.code === "KeyV") || (event.shiftKey && event.key === "Insert")) return false;
    if (event.key !== "Escape" || event.ctrlKey || event.altKey || event.repeat) return true;
    if (performance.now() - this.escaped < leaveWithin) {
      this.escaped = 0;
      event.preventDefault();
      this.on.leave();
      return false;
    }
    this.escaped = performance.now();
    return true;
  }

  copy() {
    if (!this.term.hasSelection()) return;
    navigator.clipboard.writeText(this.term.getSelection()).then(() => this.term.clearSelection(), () => {});
  }

  // As the platform's own consoles: on Windows the right button copies what is
  // selected, else pastes. Shift brings the browser's menu.
  rightButton(event) {
    if (!windows || event.shiftKey) return;
    if (this.term.hasSelection()) {
      event.preventDefault();
      this.copy();
    } else if (navigator.clipboard?.readText) {
      event.preventDefault();
      navigator.clipboard.readText().then((text) => this.on.paste(text), () => {});
    }
  }

  paste(text) { this.term.paste(text); }
  focus() { this.term.focus(); }
  write(bytes, parsed) { this.term.write(bytes, parsed); }
  clear() { this.term.reset(); }
  type(on) { this.term.options.disableStdin = !on; }

  // A hidden screen has no size to fit to.
  fit() {
    if (this.host.offsetWidth === 0 || this.host.offsetHeight === 0) return;
    this.fitter.fit();
  }

  resizeText(by) {
    this.size = Math.min(Math.max(this.size + by, smallest), largest);
    localStorage.setItem("terminal.size", this.size);
    this.person = performance.now();
    this.term.options.fontSize = this.size;
    this.fit();
  }

  toggleReader() {
    const on = !this.term.options.screenReaderMode;
    this.term.options.screenReaderMode = on;
    localStorage.setItem("terminal.reader", on ? "on" : "off");
    return on;
  }

  // The lines of a stretch of the buffer; wrapped ones are joined again.
  lines(buffer, from, to) {
    const lines = [];
    for (let y = from; y < to; y++) {
      const line = buffer.getLine(y);
      if (!line) break;
      const next = buffer.getLine(y + 1);
      const text = line.translateToString(!next?.isWrapped);
      if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
      else lines.push(text);
    }
    return lines;
  }

  // What is to be seen now.
  text() {
    const buffer = this.term.buffer.active;
    return this.lines(buffer, buffer.viewportY, buffer.viewportY + this.term.rows).join("\n");
  }

  // Everything that is still held, from the scrollback on.
  transcript() {
    const buffer = this.term.buffer.normal;
    return this.lines(buffer, 0, buffer.length).join("\n").trimEnd() + "\n";
  }
}
