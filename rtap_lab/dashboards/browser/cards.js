// What a dashboard shows beside charts: big numbers, rankings, lists, the story, the choice of a range. Every text of an event
// becomes a text node: nothing that a visitor sent is ever HTML.

const STYLE = `
:host { display: block; }
.board { display: grid; gap: 14px; }
.box { display: flex; min-width: 0; }
.box:has(> .story[style*="none"]) { display: none; }
.tile { background: var(--card); color: var(--text); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; font: 14px system-ui, sans-serif; box-sizing: border-box; flex: 1; min-width: 0; }
.label { color: var(--soft); font-size: 13px; display: flex; justify-content: space-between; gap: 8px; }
.value { font-size: 32px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.change { color: var(--soft); font-size: 12px; min-height: 16px; }
.fresh { color: var(--soft); font-size: 12px; margin-top: 8px; }
h3 { font-size: 15px; margin: 0 0 8px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
td { padding: 3px 6px; position: relative; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 13px; }
td.n { text-align: right; width: 84px; font-variant-numeric: tabular-nums; }
.bar { position: absolute; inset: 2px auto 2px 0; background: var(--series); opacity: .18; border-radius: 4px; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 12px; padding: 0 6px 4px; }
th.n { text-align: right; width: 84px; }
.stale { opacity: .5; }
.story { flex: 1; background: var(--badPage); color: var(--bad); border: 1px solid currentColor; border-radius: 12px; padding: 12px 16px; font: 600 16px system-ui, sans-serif; }
.bar-of-choices { flex: 0 1 auto; display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; font: 14px system-ui, sans-serif; color: var(--text); }
h1 { font-size: 20px; margin: 0; flex: 1 1 auto; }
button { font: inherit; padding: 4px 12px; border: 1px solid var(--line); background: var(--card); color: var(--text); border-radius: 8px; cursor: pointer; }
button[aria-pressed=true] { background: var(--series); color: var(--page); border-color: var(--series); }
button:focus-visible { outline: 2px solid var(--series); outline-offset: 2px; }
svg { display: block; width: 100%; height: 34px; margin-top: 4px; }
.none { color: var(--soft); font-size: 13px; }
`;

const make = (tag, name, text) => {
  const found = document.createElement(tag);
  if (name) found.className = name;
  if (text !== undefined) found.textContent = text;
  return found;
};
const shortly = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const clockOf = (at) => new Date(at).toISOString().slice(11, 16);
const spanWords = (range) => (range >= 3600_000 ? `${range / 3600_000} h` : `${range / 60_000} min`);

export function render({ model, view, el }) {
  const style = make("style");
  style.textContent = STYLE;
  const board = make("div", "board");
  board.style.gridTemplateColumns = `repeat(auto-fit, minmax(min(100%, ${model.least}px), 1fr))`;
  el.append(style, board);
  const stops = model.cards.map((card) => {
    const box = make("div", "box");
    if (card.wide) box.style.gridColumn = "1 / -1";
    board.append(box);
    const colour = () => {
      const colours = palette();
      for (const name of ["text", "soft", "line", "card", "page", "bad", "badPage"]) box.style.setProperty(`--${name}`, colours[name]);
      box.style.setProperty("--series", colours.series[card.options.colour ?? 0]);
    };
    colour();
    const { url, token, source } = model;
    return [pageState.listen(colour), ...cards[card.kind]({ url, token, source, ...card }, box)];
  });
  untilRemoved(model, view, () => stops.flat().forEach((stop) => stop()));
}

const rowOf = (texts) => {
  const line = make("tr");
  for (const text of texts) {
    const cell = make("td", "", text);
    cell.title = text;
    line.append(cell);
  }
  return line;
};
const textOf = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return shortly(value, Number.isInteger(value) ? 0 : 2);
  return /^\d{4}-\d\d-\d\dT/.test(value) ? String(value).slice(11, 19) : String(value);
};

const fresh = (box, source) => box.classList.toggle("stale", source.word !== "live" || pageState.isOld());

const cards = {
  // the choice of a range, for everything on the page
  choices(model, box) {
    const bar = make("div", "bar-of-choices");
    bar.style.flex = "1";
    bar.append(make("h1", "", model.options.title));
    const group = make("div", "bar-of-choices");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "time range");
    const buttons = model.options.ranges.map((range) => {
      const button = make("button", "", spanWords(range));
      button.onclick = () => pageState.setRange(range);
      group.append(button);
      return [range, button];
    });
    bar.append(group);
    box.append(bar);
    if (!pageState.range) pageState.setRange(model.options.ranges[1]);
    const show = () => {
      for (const [range, button] of buttons) button.setAttribute("aria-pressed", String(range === pageState.range));
      document.body.style.background = palette().page;
    };
    show();
    return [pageState.listen(show)];
  },

  // a big number, how it was before, and its course
  number(model, box) {
    const { label, y, how, x, where = [] } = model.options;
    const card = make("div", "tile");
    const value = make("div", "value", "–");
    const change = make("div", "change");
    const course = make("div");
    card.append(make("div", "label", label), value, change, course);
    box.append(card);
    const total = (rows) => rows.reduce((sum, row) => sum + (row[y] ?? 0), 0);
    return [
      showRows(model, (source) => {
        fresh(card, source);
        value.title = source.words();
        if (!source.newest) {
          value.textContent = "–";
          change.textContent = source.words();
          return;
        }
        const span = source.span();
        const chosen = source.all().filter((row) => where.every(([name, wanted]) => row[name] === wanted));
        const now = within(chosen, x, span);
        const values = reductions.series(now, { x, ys: [y], keep: 400 })[y];
        const whole = !span || source.knows(span[0]);
        if (how === "last") {
          value.textContent = shortly(values[values.length - 1] ?? 0);
          const mean = values.reduce((sum, each) => sum + each, 0) / (values.length || 1);
          change.textContent = pageState.isOld() ? source.words() : values.length > 2 ? `mean of the range ${shortly(mean)}` : "";
        } else {
          value.textContent = shortly(total(now));
          change.textContent = !whole ? source.words() : span ? before(source, span, chosen, total(now)) : "";
        }
        course.replaceChildren(sparkline(values));
      }),
    ];

    // against the same length of time before, if all of it is known
    function before(source, [begin, end], chosen, now) {
      const length = end - begin;
      if (!source.knows(begin - length)) return `in ${spanWords(pageState.range)}`;
      const earlier = total(within(chosen, x, [begin - length, begin]));
      if (!earlier) return "none before";
      const ratio = (now / earlier - 1) * 100;
      return `${ratio >= 0 ? "▲" : "▼"} ${shortly(Math.abs(ratio))} % against the ${spanWords(pageState.range)} before`;
    }
  },

  // how much of two kinds of rows is of the second
  share(model, box) {
    const { label, x, other } = model.options;
    const card = make("div", "tile");
    const value = make("div", "value", "–");
    const change = make("div", "change");
    card.append(make("div", "label", label), value, change);
    box.append(card);
    const found = {};
    const show = (name, at) => (source) => {
      fresh(card, source);
      found[name] = { n: within(source.all(), at, source.span()).length, source };
      const [good, bad] = [found.good?.n ?? 0, found.bad?.n ?? 0];
      value.textContent = good + bad ? `${shortly((100 * bad) / (good + bad), 0)} %` : "–";
      change.textContent = good + bad ? `${shortly(bad)} of ${shortly(good + bad)}` : found.bad?.source.words() ?? "";
    };
    return [showRows(model, show("bad", x)), showRows({ url: model.url, token: model.token, source: model.source, ...other }, show("good", other.time))];
  },

  // the greatest keys, with bars
  ranking(model, box) {
    const card = make("div", "tile");
    const table = make("table");
    const words = make("div", "fresh");
    const head = make("tr");
    head.append(make("th", "", model.options.keys), make("th", "n", model.options.values));
    card.append(make("h3", "", model.options.label), table, words);
    box.append(card);
    return [
      showRows(model, (source) => {
        fresh(card, source);
        words.textContent = source.words();
        const data = reductions.top(source.all(), { x: model.time, ...model.options }, source.span());
        const most = Math.max(...data.value, 1);
        const lines = data.key.map((key, n) => {
          const line = make("tr");
          const cell = make("td");
          const bar = make("div", "bar");
          bar.style.width = `${(100 * data.value[n]) / most}%`;
          cell.title = key;
          cell.append(bar, document.createTextNode(key));
          line.append(cell, make("td", "n", shortly(data.value[n])));
          return line;
        });
        table.replaceChildren(head, ...(lines.length ? lines : [make("tr")]));
      }),
    ];
  },

  // the newest rows
  list(model, box) {
    const { label, columns, keep } = model.options;
    const card = make("div", "tile");
    const table = make("table");
    const words = make("div", "fresh");
    card.append(make("h3", "", label), table, words);
    box.append(card);
    return [
      showRows(model, (source) => {
        fresh(card, source);
        words.textContent = source.words();
        const rows = within(source.all(), model.time, source.span());
        const newest = rows.sort((a, b) => timeOf(b[model.time]) - timeOf(a[model.time])).slice(0, keep);
        const head = make("tr");
        for (const [, title] of columns) head.append(make("th", "", title));
        table.replaceChildren(
          head,
          ...newest.map((row) => rowOf(columns.map(([name]) => textOf(row[name])))),
        );
      }),
    ];
  },

  // queries of one's own: the newest rows of each, without a line of code
  mine(model, box) {
    const { packaged, keep } = model.options;
    box.style.flexWrap = "wrap";
    box.style.gap = "14px";
    const shown = new Map(); // by name: [tile, what ends it]
    const stop = connect(model.url, model.token).onChannels((channels) => {
      for (const name of [...channels].filter((each) => !packaged.includes(each) && !shown.has(each))) {
        const tile = make("div", "tile");
        Object.assign(tile.style, { flex: "1 1 300px", minWidth: "min(100%, 300px)" });
        const table = make("table");
        const words = make("div", "fresh");
        tile.append(make("h3", "", name), table, words);
        box.append(tile);
        const fed = { url: model.url, token: model.token, source: model.source, channel: name, time: "window_end" };
        const ended = showRows(fed, (source) => {
          fresh(tile, source);
          const rows = source.live.slice(-keep).reverse();
          words.textContent = rows.length && !source.newest ? `${source.received.toLocaleString("en")} rows` : source.words();
          const columns = Object.keys(rows[0] ?? {}).filter((column) => column !== "window_start");
          const head = make("tr");
          for (const column of columns) head.append(make("th", "", column));
          table.replaceChildren(head, ...rows.map((row) => rowOf(columns.map((column) => textOf(row[column])))));
        });
        shown.set(name, [tile, ended]);
      }
      for (const [name, [tile, ended]] of shown)
        if (!channels.has(name)) {
          ended();
          tile.remove();
          shown.delete(name);
        }
    });
    return [stop, () => shown.forEach(([, ended]) => ended())];
  },

  // how far each answer is, and how long rows take from the log to this page
  pipeline(model, box) {
    const card = make("div", "tile");
    const table = make("table");
    card.append(make("h3", "", model.options.label), table);
    box.append(card);
    const sources = new Map();
    const show = () => {
      const head = make("tr");
      for (const title of ["query", "rows", "how far", "log to hub", "hub to page"]) head.append(make("th", "", title));
      const lines = [...sources].map(([name, source]) => {
        const { at } = source;
        const ms = (value) => (value === undefined ? "" : `${shortly(value)} ms`);
        return rowOf([name, shortly(source.received), source.words(), ms(at?.toHub), ms(at?.toPage)]);
      });
      table.replaceChildren(head, ...lines);
    };
    return model.options.queries.map((each) =>
      showRows({ url: model.url, token: model.token, source: model.source, ...each }, (source) => {
        sources.set(each.channel, source);
        show();
      }),
    );
  },

  // what a stranger should see within ten seconds: something stopped, and since when
  story(model, box) {
    const card = make("div", "story");
    card.setAttribute("role", "alert");
    card.style.display = "none"; // the box goes with it
    box.append(card);
    const { goal, other } = model.options;
    let traffic = null;
    let sold = null;
    const show = () => {
      const found = traffic && sold && stopped(traffic.all(), sold.all().filter((row) => row.goal === goal), traffic.newest);
      card.style.display = found && traffic.word === "live" && !pageState.isOld() ? "" : "none";
      if (found) card.textContent = `No ${goal} since ${clockOf(found.since)} UTC, ${shortly(found.usual, 1)} a minute before. Traffic goes on: ${shortly(found.views)} views in the last minute.`;
    };
    return [
      showRows(model, (source) => {
        traffic = source;
        show();
      }),
      showRows({ url: model.url, token: model.token, source: model.source, ...other }, (source) => {
        sold = source;
        show();
      }),
    ];
  },
};

/** Whether conversions stopped while traffic went on: none in the last two whole minutes or more, at least three a minute in the
 * ten before. {since, usual, views}, or null. `now`: how far the answers reach, milliseconds. Pure. */
export function stopped(traffic, sold, now) {
  const minute = 60_000;
  const whole = Math.floor(now / minute) * minute;
  const counts = new Map(sold.map((row) => [timeOf(row.window_end), row.conversions]));
  const ends = [...counts.keys()].filter((at) => at <= whole && counts.get(at) > 0);
  if (!ends.length) return null;
  const since = Math.max(...ends);
  if (whole - since < 2 * minute) return null;
  let usual = 0;
  for (let n = 0; n < 10; n++) usual += (counts.get(since - n * minute) ?? 0) / 10;
  const known = Math.min(10, (since - Math.min(...ends)) / minute + 1);
  usual *= 10 / known;
  const newest = traffic.reduce((best, row) => (best === null || timeOf(row.window_end) > timeOf(best.window_end) ? row : best), null);
  const views = newest?.views ?? 0;
  return usual >= 3 && views >= 10 ? { since, usual, views } : null;
}

function sparkline(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shown = values.filter((each) => Number.isFinite(each));
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (shown.length > 1) {
    const most = Math.max(...shown, 1);
    const path = document.createElementNS(svg.namespaceURI, "polyline");
    path.setAttribute("points", shown.map((each, n) => `${(100 * n) / (shown.length - 1)},${29 - (28 * each) / most}`).join(" "));
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", "var(--series)");
    path.setAttribute("stroke-width", "1.5");
    path.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(path);
  }
  return svg;
}
