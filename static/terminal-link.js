// The terminal's connection to the engine: a WebSocket that is found again when
// it is lost. Bytes are counted from the start of the shell; the engine learns
// up to which byte the screen is drawn, so that it never sends far ahead, and a
// new socket goes on exactly where the old one broke off.

const protocol = "terminal.borealis.v1";
const pingEvery = 5_000; // ms
const deadAfter = 12_000; // ms without an answer to a ping
const ackLatest = 40; // ms after which drawn bytes are reported though few
const waysLast = 8_000; // ms that a prepared socket may wait; the engine gives it ten seconds
const largestFrame = 32 << 10; // bytes of input in one message

const gone = 4000; // close code: the sign-in is no longer valid
const refused = 1008; // close code: policy

export class Link {
  // size() → {cols, rows} of the screen
  // on: step(name, ms), hello(message), bytes(chunk), idle(seconds), exit(status, refusal), ended(reason),
  //     refused({code, detail, hint}), lost(seconds until the next try), trying(), rtt(ms), signIn()
  constructor({ device, tab, size, on }) {
    Object.assign(this, { device, tab, size, on });
    this.path = `/devices/${encodeURIComponent(device)}/terminal/`;
    this.open = false;
    this.ahead = null;
    this.reset();
    this.over = true; // until it is started
  }

  reset() {
    this.terminal = ""; // the engine's name for the shell; "" = a new one
    this.offset = -1; // of the next byte to come; -1 = all that the engine still holds
    this.drawn = 0;
    this.acked = 0;
    this.window = 131_072;
    this.attempt = 0;
    this.over = false;
  }

  // start opens a shell, of a kind when one is named, or finds one again by its name.
  start(terminal = "", shell = "") {
    this.close();
    this.reset();
    this.terminal = terminal;
    this.shell = shell;
    this.connect();
  }

  // reach opens a socket and asks for its ticket at the same time.
  reach() {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + this.path + "ws", protocol);
    socket.binaryType = "arraybuffer";
    const opened = new Promise((done, fail) => {
      socket.onopen = done;
      socket.onclose = () => fail(new Error("the socket did not open"));
    });
    const ticket = this.ticket();
    // Whoever uses them handles what went wrong; nobody may.
    opened.catch(() => {});
    ticket.catch(() => {});
    return { socket, opened, ticket, at: performance.now() };
  }

  // ticket proves that the socket comes from a page of this console.
  async ticket() {
    const headers = { Accept: "application/json", "Borealis-Tab": this.tab };
    const answer = await fetch(this.path + "ticket", { method: "POST", headers });
    if (!answer.ok) throw Object.assign(new Error("no ticket"), { status: answer.status, problem: await answer.json().catch(() => ({})) });
    return (await answer.json()).ticket;
  }

  // prepare makes the way while the tunnel is still coming up, which takes about
  // as long; abandon gives it up when none comes.
  prepare() {
    this.abandon();
    this.ahead = this.reach();
  }

  abandon() {
    this.ahead?.socket.close();
    this.ahead = null;
  }

  async connect() {
    const turn = (this.turn = {}); // whatever belongs to an older turn is ignored
    this.on.trying();
    let way = this.ahead;
    this.ahead = null;
    if (!way || way.socket.readyState > WebSocket.OPEN || performance.now() - way.at > waysLast) {
      way?.socket.close();
      way = this.reach();
    }
    this.socket?.close();
    this.socket = way.socket;
    try {
      const ticket = await way.ticket;
      await way.opened;
      if (turn === this.turn) this.attend(turn, ticket);
    } catch ({ status, problem }) {
      if (turn !== this.turn) return;
      if (status === 401) this.on.signIn();
      else if (status >= 400 && status < 500 && status !== 429) this.finish(() => this.on.refused(problem));
      else this.lose();
    }
  }

  attend(turn, ticket) {
    const { socket } = this;
    socket.onmessage = ({ data }) => {
      if (turn !== this.turn) return;
      if (typeof data === "string") this.hear(JSON.parse(data));
      else this.receive(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (turn !== this.turn) return;
      if (code === gone) this.on.signIn();
      else if (code === refused) this.finish(() => this.on.refused({ detail: reason || "The engine refused the terminal." }));
      else if (code === 1000) this.finish(() => this.on.ended(""));
      else this.lose();
    };
    if (socket.readyState !== WebSocket.OPEN) return this.lose();
    this.tell({ ticket, tab: this.tab, terminal: this.terminal, shell: this.shell, offset: this.offset, ...this.size() });
  }

  hear(message) {
    switch (message.type) {
      case "step":
        return this.on.step(message.step, message.ms);
      case "hello":
        return this.welcome(message);
      case "window":
        this.window = message.window;
        return;
      case "pong":
        this.pinged = 0;
        return this.on.rtt(performance.now() - message.t);
      case "idle":
        return this.on.idle(message.remaining);
      case "exit":
        return this.finish(() => this.on.exit(message.status, message.refusal));
      case "ended":
        return this.finish(() => this.on.ended(message.reason));
      case "error":
        return this.finish(() => this.on.refused({ code: message.code, detail: message.message, hint: message.hint }));
    }
  }

  welcome(message) {
    this.open = true;
    this.attempt = 0;
    this.terminal = message.terminal;
    this.offset = message.offset;
    this.window = message.window || this.window;
    this.drawn = this.acked = message.offset;
    this.on.hello(message);
    this.ping();
  }

  receive(bytes) {
    this.offset += bytes.length;
    this.on.bytes(bytes, this.offset);
  }

  // parsed says that the screen has drawn everything before offset.
  parsed(offset) {
    this.drawn = offset;
    if (this.drawn - this.acked >= this.window / 4) this.ack();
    else this.ackTimer ||= setTimeout(() => this.ack(), ackLatest);
  }

  ack() {
    clearTimeout(this.ackTimer);
    this.ackTimer = 0;
    if (this.drawn === this.acked) return;
    this.acked = this.drawn;
    this.tell({ type: "ack", offset: this.acked });
  }

  send(bytes) {
    if (!this.open) return;
    for (let at = 0; at < bytes.length; at += largestFrame) this.socket.send(bytes.subarray(at, at + largestFrame));
  }

  resize(cols, rows, person) { if (this.open) this.tell({ type: "resize", cols, rows, person }); }
  keepOpen() { this.tell({ type: "keep_open" }); }

  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // A laptop that slept, or a network that changed, leaves a socket that looks
  // open: only an answer proves that it is.
  ping() {
    clearInterval(this.pinger);
    this.pinged = 0;
    const once = () => {
      if (this.pinged && performance.now() - this.pinged > deadAfter) return this.lose();
      this.pinged ||= performance.now();
      this.tell({ type: "ping", t: performance.now() });
    };
    this.pinger = setInterval(once, pingEvery);
    once();
  }

  // lose waits before the next try, longer each time, and never in step with
  // the other terminals that were lost at the same moment.
  lose() {
    this.drop();
    const longest = Math.min(15_000, 500 * 2 ** this.attempt++);
    const until = performance.now() + longest * (0.5 + Math.random() / 2);
    const wait = () => {
      const left = until - performance.now();
      if (left <= 0) return this.connect();
      this.on.lost(Math.ceil(left / 1000));
      this.retryTimer = setTimeout(wait, Math.min(left, 1000));
    };
    wait();
  }

  retry() {
    clearTimeout(this.retryTimer);
    if (!this.open && !this.over) this.connect();
  }

  drop() {
    this.turn = null;
    this.open = false;
    clearTimeout(this.ackTimer);
    this.ackTimer = 0;
    clearTimeout(this.retryTimer);
    clearInterval(this.pinger);
    this.socket?.close();
    this.socket = null;
  }

  // finish is the end of this shell for this page, said once.
  finish(say) {
    this.over = true;
    this.drop();
    say();
  }

  close() {
    this.over = true;
    this.drop();
  }
}
