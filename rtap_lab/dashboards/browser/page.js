// What all charts and cards of a page share: the range of time, the newest time, dark or light; and rows with their past.

const DAY = 24 * 3600_000;

// Kept in the address (#range=900000), so that a view can be shared.
class PageState {
  constructor() {
    this.range = Number(new URLSearchParams(location.hash.slice(1)).get("range")) || 0; // milliseconds shown; 0: whatever is held
    this.newest = 0; // how far the newest rows reach: every chart ends there
    this.listeners = new Set();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.tell());
    new MutationObserver(() => this.tell()).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  }

  // The span to draw; null: everything.
  span() {
    return this.range && this.newest ? [this.newest - this.range, this.newest + 1] : null;
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
    this.due = 0; // a row is due so long after its time
    this.past = new Map();
    this.live = [];
    this.from = Infinity; // the past was asked for from here on
    this.listeners = new Set();
    this.word = "connecting";
    this.received = 0;
    const stops = [this.hub.follow(this.asked, this), pageState.listen(() => this.reach())];
    this.stop = () => stops.forEach((stop) => stop());
  }

  rows(change) {
    if (this.epoch !== change.epoch) {
      this.past.clear();
      this.from = Infinity;
    }
    this.epoch = change.epoch;
    this.live = change.all();
    this.firstRow = change.firstRow;
    this.provisional = change.provisional;
    this.due = change.dueMs;
    this.received = change.kind === "snapshot" ? change.rows.length : this.received + change.rows.length;
    if (change.kind === "update") this.at = { toHub: change.receivedMs - change.appendedMs, toPage: Date.now() - change.receivedMs };
    const newest = Math.max(...change.rows.map((row) => timeOf(row[this.x]) || 0), this.newest ?? 0);
    if (newest > 0) {
      this.newest = newest;
      pageState.reached(newest + this.due);
    }
    this.reach();
    this.tell();
  }

  state(word, why) {
    if (word === "away" && this.word === "live") this.since = Date.now();
    this.word = word;
    this.why = why;
    if (word === "live") this.from = Infinity; // what was missed of the past is asked for again
    this.tell();
    this.reach();
  }

  // The page's span, by the times of these rows.
  span() {
    return pageState.span()?.map((at) => at - this.due) ?? null;
  }

  // All rows, in no order; those of the past that the hub has too only once.
  all() {
    if (this.past.size === 0) return this.live;
    const found = new Map(this.past);
    for (const row of this.live) found.set(JSON.stringify(row), row);
    return [...found.values()];
  }

  // The range may begin before what the hub keeps: the rest is in the store.
  async reach() {
    const span = this.span();
    if (!span || this.word !== "live" || !this.epoch) return;
    const begin = span[0] - pageState.range; // the same length before, for comparisons
    const oldest = Math.min(...this.live.map((row) => timeOf(row[this.x])), this.from, span[1]);
    const full = this.live.length >= 2000 || this.from < Infinity;
    if (!(oldest > begin) || !full) return;
    this.from = begin - pageState.range / 4; // somewhat more: not at every step
    try {
      const found = await this.hub.history({ ...this.asked, begin_ms: Math.floor(this.from), end_ms: Math.ceil(oldest + 1), limit: 20000 });
      for (const row of found.rows) this.past.set(JSON.stringify(row), row);
      this.tell();
    } catch (error) {
      console.warn(`rtap_lab: no rows of the past of ${this.asked.channel}: ${error.message}`);
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
    return `${this.provisional ? "provisional" : "final"} to ${clock(this.newest + this.due)} UTC, ${ago} ago`;
  }
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
