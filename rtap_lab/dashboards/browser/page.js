// What all charts and cards of a page share: the range of time, the newest time, dark or light; and rows with their past.

const DAY = 24 * 3600_000;
const OLD_MS = 60_000; // six windows of the traffic
const MOST_PAST = 20_000; // rows of the past that are asked for at once

// Kept in the address (#range=900000), so that a view can be shared.
class PageState {
  constructor() {
    this.range = Number(new URLSearchParams(location.hash.slice(1)).get("range")) || 0; // milliseconds shown; 0: whatever is held
    this.newest = 0; // how far the newest rows reach: every chart ends there
    this.listeners = new Set();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.tell());
    new MutationObserver(() => this.tell()).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  }

  // The span to draw, [begin, end): as many whole windows as the range holds; null: everything.
  span() {
    return this.range && this.newest ? [this.newest - this.range + 1, this.newest + 1] : null;
  }

  // Whether answers come: a page whose newest is older than that is not about now.
  isOld() {
    return this.newest > 0 && Date.now() - this.newest > OLD_MS;
  }

  reached(at) {
    if (!(at > this.newest)) return;
    this.newest = at;
    this.tell();
  }

  setRange(range) {
    this.range = range;
    const words = new URLSearchParams(location.hash.slice(1));
    words.set("range", String(range));
    history.replaceState(null, "", `#${words}`);
    this.tell();
  }

  isDark() {
    const jupyter = document.body.dataset.jpThemeLight;
    return jupyter ? jupyter === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  tell() {
    for (const each of this.listeners) each();
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

const pageState = (globalThis.__rtapPage ??= new PageState());

// A query's rows, the hub's and those before from the store, for everything on the page that shows them.
const rowSources = (globalThis.__rtapRows ??= new Map());

class Rows {
  constructor(model) {
    this.hub = connect(model.url, model.token);
    this.asked = { channel: model.channel, source: model.source };
    this.x = model.time;
    this.listeners = new Set();
    this.word = "connecting";
    this.received = 0;
    this.begin(null);
    const stops = [this.hub.follow(this.asked, this), pageState.listen(() => this.reach())];
    this.stop = () => stops.forEach((stop) => stop());
  }

  // Another run's rows follow.
  begin(epoch) {
    this.epoch = epoch;
    this.held = new Map(); // by identity
    this.live = [];
    this.newest = 0;
    this.at = undefined;
    this.due = 0; // a row is due so long after its time
    this.from = Infinity; // every row since then is held
    this.asking = false;
  }

  rows(change) {
    if (change.epoch !== this.epoch) this.begin(change.epoch);
    this.live = change.all();
    this.firstRow = change.firstRow;
    this.provisional = change.provisional;
    this.due = change.dueMs;
    this.identity = change.identity;
    this.received = change.kind === "snapshot" ? change.rows.length : this.received + change.rows.length;
    if (change.kind === "update") this.at = { toHub: change.receivedMs - change.appendedMs, toPage: Date.now() - change.receivedMs };
    for (const row of change.rows) {
      this.held.set(this.key(row), row);
      const at = timeOf(row[this.x]);
      if (at > this.newest) this.newest = at;
    }
    // of a run that has no row yet everything is held
    if (change.kind === "snapshot") this.from = this.live.length ? Math.min(this.from, this.oldest(this.live)) : -Infinity;
    if (this.newest) pageState.reached(this.newest + this.due);
    this.trim();
    this.reach();
    this.tell();
  }

  // What makes a row this row; the store writes times and numbers in its own way.
  key(row) {
    const one = (value) => (typeof value === "number" ? value.toFixed(6) : /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : value);
    return JSON.stringify(this.identity.map((name) => one(row[name])));
  }

  oldest(rows) {
    return rows.reduce((least, row) => Math.min(least, timeOf(row[this.x])), Infinity);
  }

  // Memory stays flat: what lies before the range, and the same length before it, is let go.
  trim() {
    const span = this.span();
    if (this.held.size < 2 * (this.kept ?? 2000)) return;
    const begin = span ? span[0] - pageState.range : this.oldest(this.live);
    if (Number.isNaN(begin)) this.held = new Map(this.live.map((row) => [this.key(row), row])); // rows without a time
    for (const [key, row] of this.held) if (timeOf(row[this.x]) < begin) this.held.delete(key);
    this.from = Math.max(this.from, begin);
    this.kept = Math.max(2000, this.held.size);
  }

  state(word, why) {
    if (word === "away" && this.word === "live") this.since = Date.now();
    this.word = word;
    this.why = why;
    this.tell();
    this.reach();
  }

  // The page's span, by the times of these rows.
  span() {
    return pageState.span()?.map((at) => at - this.due) ?? null;
  }

  // All rows, in no order.
  all() {
    return [...this.held.values()];
  }

  // Whether every row since a time is held.
  knows(begin) {
    return this.from <= begin;
  }

  // The range may begin before what the hub keeps: the rest is in the store. With it, the same length before, for comparisons.
  async reach() {
    const span = this.span();
    if (!span || this.word !== "live" || !this.epoch || this.asking || !Number.isFinite(this.from)) return;
    const begin = Math.floor(span[0] - pageState.range);
    if (this.from <= begin) return;
    const epoch = this.epoch;
    this.asking = true;
    try {
      const until = Math.ceil(this.from) + 1;
      const found = await this.hub.history({ ...this.asked, begin_ms: begin + this.due, end_ms: until + this.due, limit: MOST_PAST });
      if (epoch !== this.epoch) return; // of the run before
      for (const row of found.rows) {
        const key = this.key(row);
        if (!this.held.has(key)) this.held.set(key, row);
      }
      const reached = found.more ? this.oldest(found.rows) : begin;
      this.asking = !(reached < this.from); // more rows of one moment than are asked for: it stays a part
      this.from = Math.min(this.from, reached);
      this.tell();
      this.reach();
    } catch (error) {
      console.warn(`rtap_lab: no rows of the past of ${this.asked.channel}: ${error.message}`);
      setTimeout(() => {
        if (epoch === this.epoch) this.asking = false;
      }, 5_000); // until then "part of the range" is said
    }
  }

  tell() {
    for (const each of this.listeners) each();
  }

  // How it is, in a few words.
  words() {
    const clock = (at) => new Date(at).toISOString().slice(11, 19);
    if (this.word === "unknown") return this.why || "no job answers this query";
    if (this.word === "expired") return "this page is from an earlier day: load it again";
    if (this.word === "away") return `stale since ${clock(this.since ?? Date.now())} UTC: the hub is away, trying again`;
    if (this.word === "connecting") return "connecting";
    if (!this.newest) return this.firstRow ? `no rows yet: ${this.firstRow}` : this.epoch ? "no rows yet" : "no job answers this query yet";
    const age = Math.max(0, Date.now() - this.newest - this.due);
    const ago = age < 90_000 ? `${(age / 1000).toFixed(age < 9_950 ? 1 : 0)} s` : age < DAY ? `${Math.round(age / 60_000)} min` : `${Math.round(age / DAY)} days`;
    const span = this.span();
    const part = span && !this.knows(span[0]) ? " · a part of the range" : "";
    return `${this.provisional ? "provisional" : "final"} to ${clock(this.newest + this.due)} UTC, ${ago} ago${part}`;
  }
}

/** Call `stop` when what a view shows is taken away, or drawn again. */
function untilRemoved(model, view, stop) {
  view.rtapStop?.();
  view.rtapStop = stop;
  model.on("remove", () => view.rtapStop === stop && stop());
}

/** Show a query's rows: `draw` is called when there is something new, ten times a second at most. Returns what ends it. */
function showRows(model, draw) {
  const key = `${model.url} ${model.channel} ${model.source}`;
  if (!rowSources.has(key)) rowSources.set(key, new Rows(model));
  const source = rowSources.get(key);
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => requestAnimationFrame(() => {
      waiting = false;
      draw(source);
    }), 80);
  };
  source.listeners.add(soon);
  const stops = [pageState.listen(soon)];
  const timer = setInterval(soon, 1000); // "so long ago" goes on
  soon();
  return () => {
    clearInterval(timer);
    stops.forEach((stop) => stop());
    source.listeners.delete(soon);
    if (source.listeners.size > 0) return;
    source.stop();
    rowSources.delete(key);
  };
}

const PALETTE = {
  light: { text: "#1f2933", soft: "#5b6773", line: "#d9dee4", card: "#ffffff", page: "#f4f6f8", series: ["#0072B2", "#D55E00", "#009E73", "#CC79A7"], bad: "#b42318", badPage: "#fdecea" },
  dark: { text: "#e6eaee", soft: "#9aa7b3", line: "#36404a", card: "#1b2229", page: "#11161b", series: ["#56B4E9", "#E69F00", "#2FBF9B", "#E59BC8"], bad: "#ff9b8f", badPage: "#3b1a17" },
}; // Okabe and Ito's colours, which the colour-blind can tell apart

const palette = () => PALETTE[pageState.isDark() ? "dark" : "light"];
