// A client of the live hub for any web page of this machine: one WebSocket a hub, views that stay in step, nothing else needed.
//
//   import { connect } from "http://127.0.0.1:PORT/hub_client.js";
//   const stop = connect("ws://127.0.0.1:PORT", TOKEN).follow(
//     { channel: "page_views_1m" },
//     { rows(change) { … change.rows, change.all() … }, state(word) { … "live", "away", "expired", "unknown" … } });
//
// The protocol: docs/live-protocol.md. What a view holds, and when it asks to go on, is as in rtap_lab/live/replica.py.

const hubs = (globalThis.__rtapHubs ??= new Map());

const EXPIRED = 4401; // coming back with the same token is of no use
const FIRST_WAIT_MS = 200;
const LAST_WAIT_MS = 1000;
const UNUSED_MS = 60_000; // a connection that nothing on the page needs is closed after so long
const LOOK_MS = 5_000; // between two looks whether the hub is still there
const QUIET_MS = 20_000; // it speaks every 15 s at least to who follows something; then it is asked
const PATIENCE_MS = 10_000; // and gets so long to answer
const RENEW_MS = 3600_000; // a token is good for 12 hours
const MISMATCHES = 3; // then hub and page hash differently, and to begin anew is of no use

/** The connection to a hub; what asks for the same hub on a page shares it. Several addresses, a comma between two, are hubs that
 * show the same: when one goes away the next is asked. */
export function connect(url, token) {
  if (!hubs.has(url)) hubs.set(url, new Hub(url, token));
  const hub = hubs.get(url);
  hub.renew(token);
  return hub;
}

class Hub {
  constructor(url, token) {
    this.url = url;
    this.token = token;
    this.views = new Map(); // by ref
    this.questions = new Map(); // about the past, by ref
    this.channels = null; // what the hub answers; null before its greeting
    this.watchers = new Set();
    this.number = 0;
    this.wait = FIRST_WAIT_MS;
    this.word = "connecting";
    const several = url.split(",");
    const first = Math.floor(Math.random() * several.length);
    this.addresses = several.map((_, n) => several[(n + first) % several.length]);
    this.open();
    this.looking = setInterval(() => this.look(), LOOK_MS);
  }

  open() {
    if (this.left) return;
    const socket = (this.socket = new WebSocket(this.addresses[0]));
    this.heard = this.renewed = Date.now();
    this.asked = null;
    socket.onopen = () => socket.send(JSON.stringify({ type: "authorize", token: this.token }));
    socket.onmessage = (event) => {
      this.heard = Date.now();
      this.asked = null;
      const found = JSON.parse(event.data);
      for (const message of Array.isArray(found) ? found : [found]) this.receive(message);
    };
    socket.onclose = (event) => this.closed(event.code);
  }

  closed(code) {
    this.channels = null;
    for (const each of this.questions.values()) each.reject(new Error("the hub went away"));
    this.questions.clear();
    if (this.left) return;
    this.expired = code === EXPIRED;
    this.tell(this.expired ? "expired" : "away");
    this.addresses.push(this.addresses.shift());
    if (this.expired) return;
    setTimeout(() => this.open(), this.wait * (0.5 + Math.random() / 2)); // so that not all come back at once
    this.wait = Math.min(this.wait * 2, LAST_WAIT_MS);
  }

  // A connection may be dead without a word: after a laptop's sleep, behind a proxy that went away, to a hub that hangs.
  look() {
    if (this.left || this.expired || this.socket.readyState > WebSocket.OPEN) return; // it is closed already
    const now = Date.now();
    if (this.asked !== null && now - this.asked > PATIENCE_MS) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null; // the goodbye of one that is dead takes a minute
      this.socket.close();
      this.closed(null);
    } else if (this.asked === null && now - this.heard > QUIET_MS) {
      this.asked = now;
      this.send({ type: "ping" });
    } else if (this.channels && now - this.renewed > RENEW_MS) {
      this.renewed = now;
      this.send({ type: "renew" });
    }
  }

  // A page that was drawn later brings a token that is good for longer.
  renew(token) {
    if (!(parseInt(token) > parseInt(this.token))) return;
    this.token = token;
    if (this.expired) this.open();
    this.expired = false;
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  tell(word) {
    this.word = word;
    for (const view of this.views.values()) view.tell(word);
  }

  /** Follow a view; returns what ends it. `listener.rows(change)` is called with each change, `listener.state(word)` with how it is,
   * and `listener.notice(message)` with a verdict on its run, its watermark, or how far provisional rows are final. */
  follow(asked, listener) {
    const whole = { source: "live", ...asked };
    const ref = JSON.stringify(Object.keys(whole).sort().map((name) => [name, whole[name]])); // a view has one name
    if (!this.views.has(ref)) {
      this.views.set(ref, new View(this, ref, asked));
      if (this.channels) this.views.get(ref).ask();
    }
    const view = this.views.get(ref);
    view.listeners.add(listener);
    listener.state?.(view.word ?? this.word, view.why);
    if (view.held) listener.rows(view.change("snapshot", view.rows()));
    for (const each of view.notices.values()) listener.notice?.(each);
    return () => {
      view.listeners.delete(listener);
      if (view.listeners.size > 0 || this.views.get(ref) !== view) return;
      this.views.delete(ref);
      this.send({ type: "unsubscribe", ref });
      this.leaveLater();
    };
  }

  leaveLater() {
    setTimeout(() => {
      if (this.views.size > 0 || this.watchers.size > 0 || this.left) return;
      this.left = true;
      clearInterval(this.looking);
      hubs.delete(this.url);
      this.socket.close();
    }, UNUSED_MS);
  }

  /** Call `watcher` with the names of all channels, now and whenever queries come or go; returns what ends it. */
  onChannels(watcher) {
    this.watchers.add(watcher);
    if (this.channels) watcher(this.channels);
    return () => {
      this.watchers.delete(watcher);
      this.leaveLater();
    };
  }

  /** Rows of the past: {rows, more, upto}. `asked`: channel, source, begin_ms, end_ms, limit. */
  history(asked) {
    return this.question("history", asked);
  }

  /** The counted events behind a row: {events, found, complete}. `asked`: channel, source, row, limit. */
  events(asked) {
    return this.question("events", asked);
  }

  /** The newest events of a source: {events}, by arrival. `asked`: source, limit. */
  latest(asked) {
    return this.question("latest", asked);
  }

  question(type, asked) {
    const ref = `${type} ${++this.number}`;
    return new Promise((resolve, reject) => {
      if (this.channels === null) return reject(new Error("the hub is away"));
      const numbers = Object.values(asked).filter((value) => typeof value === "number");
      if (!numbers.every(Number.isFinite)) return reject(new Error("that is no time"));
      this.questions.set(ref, { resolve, reject });
      this.send({ type, ref, ...asked });
    });
  }

  receive(message) {
    switch (message.type) {
      case "hello": {
        const before = this.channels;
        this.channels = new Set(message.channels);
        for (const each of this.watchers) each(this.channels);
        this.wait = FIRST_WAIT_MS;
        if (before === null) this.tell("live");
        for (const view of this.views.values()) if (before === null || view.lost) view.ask();
        return;
      }
      case "token":
        return this.renew(message.token);
      case "unsubscribed": // its query went, or has other columns now
        return this.views.get(message.ref)?.ask();
      case "subscribed":
        return this.views.get(message.ref)?.answered(message);
      case "snapshot":
      case "update":
        for (const view of this.views.values()) if (view.name === message.view) view.receive(message);
        return;
      case "verdict":
      case "watermark":
      case "final":
        for (const view of this.views.values()) view.noticed(message);
        return;
      case "history":
      case "events":
      case "latest":
      case "error": {
        const question = this.questions.get(message.ref);
        this.questions.delete(message.ref);
        if (message.type !== "error") question?.resolve(message);
        else if (question) question.reject(new Error(message.message));
        else this.views.get(message.ref)?.tell("unknown", message.message);
      }
    }
  }
}

class View {
  constructor(hub, ref, asked) {
    this.hub = hub;
    this.ref = ref;
    this.asked = asked;
    this.listeners = new Set();
    this.name = null; // null: the hub has not answered, and what comes is of an earlier question
    this.word = null; // what is the matter with it alone
    this.why = "";
    this.notices = new Map(); // the newest of each kind: verdict, watermark, final
    this.held = null; // rows by key, in the order in which they came; null before the first snapshot
  }

  tell(word, why = "") {
    this.word = word === "unknown" ? word : null;
    this.why = why;
    for (const each of this.listeners) each.state?.(word, why);
  }

  ask() {
    this.name = null;
    this.lost = this.hub.channels !== null && !this.hub.channels.has(this.asked.channel);
    const resume = this.held ? { epoch: this.epoch, seq: this.seq } : null;
    if (this.lost) return this.tell("unknown", "no job answers this query");
    if (this.word) this.tell("live");
    this.hub.send({ type: "subscribe", ref: this.ref, ...this.asked, resume });
  }

  answered(message) {
    this.name = message.view;
    this.columns = message.columns;
    this.latestBy = message.latest_by;
    this.identity = message.identity;
    this.time = message.time;
  }

  rows() {
    return [...this.held.values()].map((each) => each.row);
  }

  seqs() {
    return [...this.held.values()].map((each) => each.seq);
  }

  // What is told beside rows.
  noticed(message) {
    const { source = "live", channel } = this.asked;
    if (message.channel !== channel || message.source !== source || (this.epoch && message.epoch !== this.epoch)) return;
    this.notices.set(message.type, message);
    for (const each of this.listeners) each.notice?.(message);
  }

  receive(message) {
    const isNew = message.type === "snapshot";
    if (isNew) {
      if (this.held && message.epoch === this.epoch && message.seq < this.seq) return this.ask(); // it has not read so far yet
      this.held = new Map();
      this.sum = 0;
    } else {
      if (!this.held) return;
      const follows = message.epoch === this.epoch && message.prev_seq === this.seq;
      if (!follows && message.epoch === this.epoch && message.seq <= this.seq) return; // it has that
      if (!follows) return this.ask();
    }
    message.rows.forEach((row, n) => this.put(message.seqs[n], row));
    this.forget(message.forgotten);
    if (message.epoch !== this.epoch) this.notices.clear();
    this.epoch = message.epoch;
    this.seq = message.seq;
    if (this.sum !== message.checksum) {
      this.mismatches = (this.mismatches ?? 0) + 1;
      console.error(`rtap_lab: ${this.name} is out of step, for the ${this.mismatches}th time`);
      this.held = this.name = null; // nothing that may be wrong is shown
      if (this.mismatches > MISMATCHES) return this.tell("unknown", "page and hub are out of step again and again: load the page again");
      setTimeout(() => this.ask(), 1000);
      return;
    }
    this.mismatches = 0;
    this.letGo = message.forgotten > message.begins; // rows of the run that are in the store alone
    this.firstRow = message.first_row;
    this.firstRowMs = message.first_row_ms;
    this.provisional = message.provisional;
    this.dueMs = message.due_ms;
    this.boundMs = message.bound_ms;
    this.at = { appended: message.appended_ms, received: message.received_ms };
    if (!isNew && message.rows.length === 0) return;
    const change = this.change(message.type, message.rows);
    for (const each of this.listeners) each.rows(change);
  }

  change(kind, rows) {
    const { firstRow, firstRowMs, provisional, dueMs, boundMs, at, epoch, seq, identity, time, letGo } = this;
    return { kind, rows, letGo, all: () => this.rows(), seqs: () => this.seqs(), firstRow, firstRowMs, provisional, dueMs, boundMs, appendedMs: at?.appended, receivedMs: at?.received, epoch, seq, identity, time };
  }

  put(seq, row) {
    const key = this.latestBy.length ? JSON.stringify(this.latestBy.map((name) => row[name])) : seq;
    const before = this.held.get(key);
    const hash = rowHash(row, this.columns);
    if (before) this.held.delete(key);
    this.held.set(key, { seq, row, hash });
    this.sum = (this.sum + hash - (before?.hash ?? 0)) >>> 0;
  }

  forget(seq) {
    for (const [key, each] of this.held) {
      if (each.seq > seq) break;
      this.held.delete(key);
      this.sum = (this.sum - each.hash) >>> 0;
    }
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const number = new DataView(new ArrayBuffer(8));
const texts = new TextEncoder();

/** The hash of a row: CRC-32 of its values, each with its kind in front (rtap_lab/live/checksum.py). */
export function rowHash(row, columns) {
  let crc = 0xffffffff;
  const add = (byte) => {
    crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  };
  for (const name of columns) {
    const value = row[name];
    if (value === null || value === undefined) add(0);
    else if (value === false) add(1);
    else if (value === true) add(2);
    else if (typeof value === "number") {
      add(3);
      number.setFloat64(0, value);
      for (let n = 0; n < 8; n++) add(number.getUint8(n));
    } else {
      add(4);
      for (const byte of texts.encode(value)) add(byte);
      add(0xff);
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}
