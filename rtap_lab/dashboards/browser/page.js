// What all charts and cards of a page share: the range of time, the newest time, dark or light; and rows with their past.

const DAY = 24 * 3600_000;
const OLD_MS = 60_000; // answers that are final no further than so long ago stand still
const GRACE_MS = 30_000; // a hub that begins knows after two checkpoints how far a run is
const BEHIND_MS = 2_000; // a store that lacks rows is asked again after so long
const MOST_PAST = 20_000; // rows of the past that are asked for at once
const MOVES_MS = 500; // milliseconds between two moves of the page's span
const DRAWS_MS = [33, 200]; // between two pictures of one chart or card: of a page that has time, and of one that is behind
const LENT = 900_000; // the range of a page without one while it is rewound
const LEAST_RANGE = 1_000; // nobody zooms further in
const UPDATES = 200; // how long the newest updates took is kept
const REWOUND_MS = 2 * 3600_000; // a page that was rewound and left follows again after so long
const FILTERS = ["page", "campaign", "country", "device"]; // columns that a page can be narrowed by

const spanWords = (range) => {
  const [size, unit] = range >= 2 * DAY ? [DAY, "days"] : range >= 3600_000 ? [3600_000, "h"] : range >= 60_000 ? [60_000, "min"] : [1_000, "s"];
  return `${Number((range / size).toFixed(1))} ${unit}`;
};

// Kept in the address (#range=900000&end=…&country=SE), so that a view can be shared.
class PageState {
  constructor() {
    const words = new URLSearchParams(location.hash.slice(1));
    this.range = Number(words.get("range")) || 0; // milliseconds shown; 0: whatever is held
    this.end = Number(words.get("end")) || null; // where the page was rewound to; null: it follows the newest rows
    this.filters = Object.fromEntries(FILTERS.filter((name) => words.has(name)).map((name) => [name, words.get(name)]));
    this.tab = Number(words.get("tab")) || 0; // the section that is shown
    this.overlay = Number(words.get("overlay")) || 0; // what courses and numbers are held against: so many milliseconds before
    this.theme = words.get("theme"); // dark, light; null: as the machine has it
    this.newest = 0; // how far the newest rows reach: every chart ends there
    this.listeners = new Set();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.tell());
    const look = () => this.tell();
    new MutationObserver(look).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  }

  // The span to draw, [begin, end): as many whole windows as the range holds; null: everything.
  span() {
    const end = this.end ?? this.newest;
    return this.range && this.newest ? [end - this.range + 1, end + 1] : null;
  }

  // Go back by so many milliseconds, or on where it is negative; nothing lies after the newest rows.
  rewind(ms) {
    const end = (this.end ?? this.newest) - ms;
    if (!this.newest || end >= this.newest) return this.follow();
    this.stay(end, this.range || LENT);
  }

  // Stop where it is.
  pause() {
    if (this.newest) this.stay(this.end ?? this.newest, this.range || LENT);
  }

  // Show just [begin, end): everything on the page shows the span that somebody has zoomed into.
  zoom(begin, end) {
    if (this.newest) this.stay(Math.round(end) - 1, Math.max(LEAST_RANGE, Math.round(end - begin)));
  }

  stay(end, range) {
    this.before ??= this.range; // 0: all that is held was shown
    this.rewoundAt = Date.now();
    this.show({ end, range });
  }

  // Back to the newest rows, and to the range before.
  follow() {
    this.show({ end: null, range: this.before ?? this.range });
    this.before = null;
  }

  // Show a range, to where the page is.
  choose(range) {
    this.before = null;
    this.show({ range });
  }

  // Only rows of this value; null: of every value.
  filter(name, value) {
    const { [name]: _, ...others } = this.filters;
    this.show({ filters: value === null ? others : { ...others, [name]: value } });
  }

  reached(at) {
    if (!(at > this.newest)) return;
    this.newest = at;
    const old = this.end && Date.now() - (this.rewoundAt ??= Date.now()) > REWOUND_MS;
    if (old) return this.follow(); // memory stays flat
    // everything on the page moves on by it, and need not at once: what has new rows is drawn without this
    this.moving ??= setTimeout(() => {
      this.moving = undefined;
      this.tell();
    }, MOVES_MS);
  }

  // Change what is shown, here and in the address.
  show(change) {
    Object.assign(this, change);
    const words = new URLSearchParams(location.hash.slice(1));
    const say = (name, value) => (value ? words.set(name, String(value)) : words.delete(name));
    say("range", this.range);
    say("end", this.end);
    say("tab", this.tab);
    say("overlay", this.overlay);
    say("theme", this.theme);
    for (const name of FILTERS) say(name, this.filters[name]);
    history.replaceState(null, "", `#${words}`);
    this.tell();
  }

  isDark() {
    if (this.theme) return this.theme === "dark";
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

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

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

  // As if it held these rows, which came with the page: what one card shows until the hub was heard of, in a report for ever.
  with(first) {
    const newest = first.reduce((found, row) => Math.max(found, timeOf(row[this.x]) || 0), 0);
    return Object.assign(Object.create(this), { held: new Map(first.entries()), columns: Object.keys(first[0]), newest });
  }

  // Another run's rows follow.
  begin(epoch) {
    this.epoch = epoch;
    this.held = new Map(); // by identity
    this.columns = null; // known from the first row on
    this.live = [];
    this.newest = 0;
    this.at = undefined;
    this.due = 0; // a row is due so long after its time
    this.from = Infinity; // every row since then is held
    this.begun = Date.now();
    this.upto = 0; // every row that was due by then is there; Infinity: the run has ended
    this.stages = []; // of the newest updates; see `took`
    this.asking = false;
    this.notices = {}; // the newest of each kind
  }

  // What is told beside rows.
  notice(message) {
    if (this.epoch && message.epoch !== this.epoch) return;
    this.notices[message.type] = message;
    if (message.type === "watermark") {
      this.upto = message.upto_ms ?? Infinity;
      if (Number.isFinite(this.upto)) pageState.reached(this.upto);
    }
    this.tell();
  }

  rows(change) {
    if (change.epoch !== this.epoch) this.begin(change.epoch);
    this.live = change.all();
    this.seqs = change.seqs();
    this.firstRow = change.firstRow;
    this.firstRowMs = change.firstRowMs;
    this.provisional = change.provisional;
    this.due = change.dueMs;
    this.identity = change.identity;
    this.x ??= change.time;
    this.received = change.kind === "snapshot" ? change.rows.length : this.received + change.rows.length;
    // a snapshot that does not join what is held leaves a gap before it, which the store fills
    const joins = change.kind === "update" || change.rows.some((row) => this.held.has(this.key(row)));
    for (const row of change.rows) {
      this.held.set(this.key(row), row);
      this.columns ??= Object.keys(row);
      const at = timeOf(row[this.x]);
      if (at > this.newest) this.newest = at;
    }
    if (change.kind === "update" && change.rows.length) this.took(change);
    // of a run that has let no row go everything is held
    if (change.kind === "snapshot") {
      // of those of the oldest time the hub may have let some go
      const since = this.live.length && change.letGo ? this.oldest(this.live) + 1 : -Infinity;
      this.from = joins ? Math.min(this.from, since) : since;
    }
    if (this.newest) pageState.reached(this.newest + this.due);
    this.trim();
    this.reach();
    this.tell();
  }

  // How long the stages of an update took, milliseconds: from when its newest row could be known (its time, and the lateness bound) to
  // when it stood in the log; from there to the hub; and to this page.
  took({ rows, appendedMs, receivedMs, boundMs }) {
    const newest = Math.max(...rows.map((row) => timeOf(row[this.x])));
    this.stages.push([appendedMs - (newest + this.due + boundMs), receivedMs - appendedMs, Date.now() - receivedMs]);
    if (this.stages.length > UPDATES) this.stages.shift();
  }

  // What makes a row this row; the store writes times and numbers in its own way.
  key(row) {
    const one = (value) => (typeof value === "number" ? value.toFixed(6) : INSTANT.test(value) ? Date.parse(value) : value);
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
    if (word === "live") this.since = undefined;
    this.word = word;
    this.why = why;
    this.tell();
    this.reach();
  }

  // The page's span, by the times of these rows.
  span() {
    return pageState.span()?.map((at) => at - this.due) ?? null;
  }

  // What is drawn, [begin, end): the page's span; of a page without one all that is surely whole.
  drawn() {
    const { newest } = pageState;
    const from = this.from === Infinity ? -Infinity : Math.min(this.from, this.newest || -Infinity); // of one time alone all that is held
    return this.span() ?? [from, newest ? newest + 1 - this.due : Infinity];
  }

  // All rows that the page's filters let through, in no order.
  all() {
    return this.filtered([...this.held.values()]);
  }

  filtered(rows) {
    const filters = Object.entries(pageState.filters).filter(([name]) => this.has(name));
    return filters.length ? rows.filter((row) => filters.every(([name, value]) => labelOf(row[name]) === value)) : rows;
  }

  // All rows, whatever the filters.
  everything() {
    return [...this.held.values()];
  }

  has(name) {
    return this.columns?.includes(name) ?? false;
  }

  // The page's filters that these rows know nothing of.
  unfiltered() {
    return Object.keys(pageState.filters).filter((name) => this.columns && !this.has(name));
  }

  // The newest verdict on the run, in a few words; "" when there is none.
  verified() {
    const { verdict } = this.notices;
    if (!verdict) return "";
    const upto = verdict.upto_ms === null ? "" : ` to ${new Date(verdict.upto_ms).toISOString().slice(11, 19)}`;
    return verdict.exact ? `✓ verified${upto}` : `✗ NOT exact${upto}`;
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
      const oldest = this.seqs[0];
      const found = await this.hub.history({ ...this.asked, begin_ms: begin + this.due, end_ms: until + this.due, limit: MOST_PAST });
      if (epoch !== this.epoch) return; // of the run before
      for (const row of found.rows) {
        const key = this.key(row);
        if (!this.held.has(key)) this.held.set(key, row);
      }
      // rows between what the store has so far and the oldest of the hub's are in neither
      const joined = oldest === undefined || found.upto >= oldest;
      const reached = !joined ? this.from : found.more ? this.oldest(found.rows) : begin;
      if (!joined) setTimeout(() => this.askAgain(epoch), BEHIND_MS);
      this.asking = !(reached < this.from); // more rows of one moment than are asked for: it stays a part
      this.from = Math.min(this.from, reached);
      this.tell();
      this.reach();
    } catch (error) {
      console.warn(`rtap_lab: no rows of the past of ${this.asked.channel}: ${error.message}`);
      setTimeout(() => this.askAgain(epoch), 5_000); // until then "part of the range" is said
    }
  }

  askAgain(epoch) {
    if (epoch !== this.epoch) return;
    this.asking = false;
    this.reach();
  }

  // Up to when every row is there; 0: not known.
  reached() {
    const rows = this.newest && !this.provisional ? this.newest + this.due : 0;
    return Math.max(rows, Number.isFinite(this.upto) ? this.upto : 0);
  }

  // Whether answers stand still: they are not about now.
  isOld() {
    if (pageState.end || !this.epoch || (this.asked.source ?? "live") !== "live") return false;
    if (this.upto === 0 && Date.now() - this.begun < GRACE_MS) return false; // how far it is, is heard in a moment
    const reached = Math.max(this.reached(), this.newest ? this.newest + this.due : 0);
    return reached > 0 && Date.now() - reached > OLD_MS;
  }

  isLive() {
    return this.word === "live" && !this.isOld();
  }

  tell() {
    for (const each of this.listeners) each();
  }

  // Of provisional rows: up to when they are final; 0: not known.
  finalTo() {
    const upto = this.notices.final?.seq ?? 0;
    return this.live.reduce((newest, row, n) => (this.seqs[n] <= upto ? Math.max(newest, timeOf(row[this.x]) + this.due) : newest), 0);
  }

  // How it is, in a few words.
  words() {
    const clock = (at) => new Date(at).toISOString().slice(11, 19);
    if (this.word === "unknown") return this.why || "no job answers this query";
    if (this.word === "expired") return "this page is from an earlier day: load it again";
    if (this.word === "away") return this.since ? `stale since ${clock(this.since)} UTC: the hub is away, trying again` : "not live: the hub is away, trying again";
    if (this.word === "connecting") return "connecting";
    const reached = this.reached();
    if (!this.newest) {
      if (this.upto === Infinity) return "the run has ended: no event gave a row";
      if (!this.epoch) return "no job answers this query yet";
      const expected = this.firstRowMs > Date.now() ? `the first one can be there at ${clock(this.firstRowMs)} UTC` : "";
      const far = reached ? `none to ${clock(reached)} UTC` : "no rows yet";
      return [far, [expected, this.firstRow].filter(Boolean).join(": ")].filter(Boolean).join(": ");
    }
    const far = this.provisional ? Math.max(reached, this.newest + this.due) : reached;
    const age = Math.max(0, Date.now() - far);
    const ago = age < 90_000 ? `${(age / 1000).toFixed(age < 9_950 ? 1 : 0)} s` : age < DAY ? `${Math.round(age / 60_000)} min` : `${Math.round(age / DAY)} days`;
    const span = this.span();
    const whole = this.upto === Infinity ? `whole, to ${new Date(far).toISOString().slice(0, 19).replace("T", " ")} UTC` : "";
    const parts = [whole || `${this.provisional ? "provisional" : "final"} to ${clock(far)} UTC, ${ago} ago`];
    if (this.isOld() && !whole) parts.push("answers stand still: `rtap status`");
    const final = this.provisional && !whole ? Math.max(this.finalTo(), reached) : 0;
    if (final) parts.push(`final to ${clock(final)}`);
    if (pageState.end) parts.push(`shown to ${clock(pageState.end)}`);
    if (span && !this.knows(span[0])) parts.push("a part of the range");
    if (!span && Number.isFinite(this.from) && this.from > this.newest) parts.push("a part of its rows");
    const unfiltered = this.unfiltered();
    if (unfiltered.length) parts.push(`of every ${unfiltered.join(" and ")}`);
    return parts.join(" · ");
  }
}

/** Call `stop` when what a view shows is taken away, or drawn again. */
function untilRemoved(model, view, stop) {
  view.rtapStop?.();
  view.rtapStop = stop;
  model.on("remove", () => view.rtapStop === stop && stop());
}

/** Show a query's rows: `draw(source, options)` is called when there is something new. While the page is narrowed by columns that
 * the query does not have, the rows of the one of `model.instead` are shown that lacks the fewest. Returns what ends it. */
function showRows(model, draw) {
  const { url, token, source, el, options, held } = model;
  const others = (model.instead ?? []).map((each) => ({ url, token, source, el, held, ...each, options: { ...options, ...each.options } }));
  if (!others.length) return showSource(model, (found) => draw(found, options));
  const chosen = () => {
    const names = Object.keys(pageState.filters);
    const lacking = ({ columns }) => names.filter((name) => !columns.includes(name)).length;
    return others.reduce((best, each) => (lacking(each) < lacking(best) ? each : best), model);
  };
  let shown = null;
  let stop = () => {};
  const look = () => {
    const now = chosen();
    if (now === shown) return;
    shown = now;
    stop();
    stop = showSource(now, (source) => draw(source, now.options));
  };
  look();
  const quit = pageState.listen(look);
  return () => {
    quit();
    stop();
  };
}

// How far the page is behind: so late its timers were lately. Pictures keep it busy, whoever paints them (Bokeh does, in frames of its own).
const late = {
  ms: 0,

  note(ms) {
    this.ms += (Math.min(ms, DRAWS_MS[1]) - this.ms) * 0.2; // a page that was hidden is not behind
  },

  pause() {
    const [least, most] = DRAWS_MS;
    return Math.min(most, Math.max(least, 8 * this.ms));
  },
};

function showSource(model, draw) {
  const key = `${model.url} ${model.channel} ${model.source}`;
  if (!rowSources.has(key)) rowSources.set(key, new Rows(model));
  const source = rowSources.get(key);
  const first = model.first?.length ? source.with(model.first) : source;
  let waiting = false;
  let drawnAt = 0;
  // News is drawn with the next frame, what follows a moment later: a page takes its share of the machine, and no more.
  const soon = () => {
    if (waiting) return;
    waiting = true;
    const due = Math.max(performance.now(), drawnAt + late.pause());
    setTimeout(() => {
      late.note(Math.max(0, performance.now() - due));
      requestAnimationFrame(() => {
        waiting = false;
        drawnAt = performance.now();
        if (!model.held?.() && (!model.el || model.el.offsetParent !== null)) draw(source.epoch === null ? first : source); // what nobody sees is drawn when somebody does
      });
    }, due - performance.now());
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

// What a course or number is held against: the same so long before, or another source's.
class Behind {
  constructor(model) {
    this.model = model;
    this.begin();
    this.left = pageState.listen(() => this.of() !== this.overlay && this.begin());
  }

  // What it is held against: its own, else the page's.
  of() {
    const own = this.model.overlay ?? {};
    return own.source ? `source ${own.source}` : own.shift_ms || pageState.overlay;
  }

  begin() {
    this.ended?.();
    this.ended = null;
    this.overlay = this.of();
    this.name = this.model.overlay?.source ?? null;
    this.shift = this.name ? null : this.overlay;
    this.rows = [];
    this.asked = "";
    this.part = this.heard = false;
    this.other = null;
    if (!this.name) return;
    const { url, token, channel, time } = this.model; // Panel's model is a proxy: it cannot be spread
    this.ended = showSource({ url, token, channel, time, source: this.name }, (source) => (this.other = source));
  }

  stop() {
    this.left();
    this.ended?.();
  }

  // Its rows that the page's filters let through, and how much earlier they are, milliseconds; null when it is held against nothing.
  look(source, span) {
    let { shift } = this;
    if (!this.overlay) return null;
    if (this.other) {
      this.rows = this.other.all();
      shift = source.newest - this.other.newest;
    } else if (source.newest) this.fetch(source, span ?? [source.oldest(source.all()), source.newest + 1]);
    return { rows: this.other ? this.rows : source.filtered(this.rows), shift };
  }

  // What is the matter with it; "" when nothing is.
  words() {
    if (this.part) return "behind it: the newest part alone";
    return this.heard && !this.rows.length ? `nothing is held of ${this.name ?? `${spanWords(this.shift)} before`}` : "";
  }

  // Rows of the past come once a minute, or when the span becomes another.
  async fetch(source, [begin, end]) {
    const minute = 60_000;
    const from = Math.floor(begin / minute) * minute - this.shift;
    const upto = Math.ceil(end / minute) * minute - this.shift;
    if (this.asked === `${from} ${upto}` || !Number.isFinite(from)) return;
    const asked = (this.asked = `${from} ${upto}`);
    try {
      const found = await source.hub.history({ ...source.asked, begin_ms: from + source.due, end_ms: upto + source.due, limit: MOST_PAST });
      if (asked !== this.asked) return; // another span, or another time before, is wanted by now
      this.rows = found.rows;
      this.part = found.more;
      this.heard = true;
    } catch {
      this.asked = ""; // the hub is away: asked again with the next rows
    }
  }
}

const OVERLAYS = [[0, "compare …"], [3600_000, "hour before"], [24 * 3600_000, "day before"], [7 * 24 * 3600_000, "week before"]];

// What all courses and numbers of the page are held against; returns what shows how it is.
function overlayChoice(into) {
  const choice = make("select");
  choice.title = "courses: dashed behind them; numbers: how they differ";
  choice.setAttribute("aria-label", "compare with");
  for (const [ms, words] of OVERLAYS) {
    const option = make("option", "", words);
    option.value = String(ms);
    choice.append(option);
  }
  choice.onchange = () => pageState.show({ overlay: Number(choice.value) });
  into.append(choice);
  return () => {
    const value = String(pageState.overlay);
    if (choice.value !== value) choice.value = value;
  };
}

// Pause, earlier, later and back to now, for the whole page; returns what shows how it is.
function timeControls(into, press) {
  const back = () => (pageState.range || 300_000) / 2;
  press(into, "◀", "earlier", () => pageState.rewind(back()));
  const later = press(into, "▶", "later", () => pageState.rewind(-back()));
  const live = press(into, "live", "back to now", () => pageState.follow());
  return () => {
    for (const each of [later, live]) each.hidden = !pageState.end;
  };
}

const PALETTE = {
  light: { text: "#1f2933", soft: "#5b6773", line: "#d9dee4", card: "#ffffff", page: "#f4f6f8", series: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a6d00", "#56B4E9"], good: "#1a7f37", bad: "#b42318", badPage: "#fdecea" },
  dark: { text: "#e6eaee", soft: "#9aa7b3", line: "#36404a", card: "#1b2229", page: "#11161b", series: ["#56B4E9", "#E69F00", "#2FBF9B", "#E59BC8", "#F0E442", "#9fb8ff"], good: "#57d38c", bad: "#ff9b8f", badPage: "#3b1a17" },
}; // Okabe and Ito's colours, which the colour-blind can tell apart

const palette = () => PALETTE[pageState.isDark() ? "dark" : "light"];

const make = (tag, name, text) => {
  const found = document.createElement(tag);
  if (name) found.className = name;
  if (text !== undefined) found.textContent = text;
  return found;
};

// A dialog over the page, with a button that closes it; who asks fills it and shows it.
function openDialog(near, label) {
  const colours = palette();
  const dialog = make("dialog", "rtap-events");
  dialog.setAttribute("aria-label", label);
  dialog.style.cssText = `max-width:min(900px,94vw);max-height:80vh;overflow:auto;border:1px solid ${colours.line};border-radius:12px;padding:16px;background:${colours.card};color:${colours.text};font:13px system-ui,sans-serif`;
  const close = make("button", "", "close");
  close.style.cssText = "float:right;font:inherit;border:1px solid;border-radius:6px;background:none;color:inherit;padding:2px 10px;cursor:pointer";
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  dialog.append(close);
  near.append(dialog);
  return dialog;
}

const rowWords = (row) => Object.entries(row).filter(([name]) => name !== "window_start").map(([name, value]) => `${name} ${value ?? "(none)"}`).join(" · ");

// Of several rows behind a point, which one's events are to be seen.
function chooseRow(source, rows, near) {
  if (rows.length === 1) return showEvents(source, rows[0], near);
  const dialog = openDialog(near, "rows behind a point");
  dialog.append(make("b", "", rows.length < 50 ? `${rows.length} rows` : "the newest 50 rows"));
  for (const row of rows) {
    const line = make("button", "", rowWords(row));
    line.style.cssText = "display:block;font:inherit;text-align:left;border:0;background:none;color:inherit;padding:4px 0;cursor:pointer;text-decoration:underline";
    line.onclick = () => {
      dialog.close();
      showEvents(source, row, near);
    };
    dialog.append(line);
  }
  dialog.showModal();
}

// The counted events behind a row, in a dialog. Texts of events become text nodes: nothing that a visitor sent is ever HTML.
async function showEvents(source, row, near) {
  const dialog = openDialog(near, "events behind a row");
  const words = make("p", "", "looking into the log …");
  dialog.append(make("b", "", rowWords(row)), words);
  dialog.showModal();
  try {
    const found = await source.hub.events({ ...source.asked, row, limit: 200 });
    const shown = found.events.length < found.found ? `, the first ${found.events.length} are shown` : "";
    const part = found.complete ? "" : ` · perhaps not all: ${found.reason}`;
    words.textContent = `${found.found.toLocaleString("en")} counted events${shown}${part}`;
    const columns = ["event_time", "visitor_id", "event_type", "name", "page", "value", "referrer", "campaign", "country", "device"];
    const used = columns.filter((name) => found.events.some((event) => event[name] !== undefined));
    const table = make("table");
    table.style.cssText = "border-collapse:collapse;white-space:nowrap";
    const line = (cells, tag) => {
      const made = make("tr");
      for (const text of cells) {
        const cell = make(tag, "", text);
        cell.style.cssText = "text-align:left;padding:2px 10px 2px 0;font-weight:" + (tag === "th" ? 600 : 400);
        made.append(cell);
      }
      table.append(made);
    };
    line(used, "th");
    for (const event of found.events) line(used.map((name) => String(event[name] ?? "")), "td");
    dialog.append(table);
  } catch (error) {
    words.textContent = error.message;
  }
}

// Draw again only what is another: what somebody is about to click stays.
const renewed = (into, shown) => {
  const now = JSON.stringify(shown);
  const news = into.rtapShown !== now;
  into.rtapShown = now;
  return news;
};
