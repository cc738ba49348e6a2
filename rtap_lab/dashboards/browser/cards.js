// What a dashboard shows beside charts: big numbers, rankings, lists, the story, the choice of a range. Every text of an event
// becomes a text node: nothing that a visitor sent is ever HTML.

const STYLE = `
:host { display: block; }
.board { display: grid; gap: 14px; }
.box { display: flex; min-width: 0; }
.box:has(> [style*="display: none"]) { display: none; }
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
.tabs { display: flex; flex-wrap: wrap; gap: 4px; border-bottom: 1px solid var(--line); flex: 1; }
button.tab { border: 0; border-bottom: 3px solid transparent; border-radius: 0; background: none; color: var(--soft); padding: 8px 14px; font: 600 14px system-ui, sans-serif; }
button.tab[aria-selected=true] { color: var(--series); border-color: var(--series); }
.opens { cursor: pointer; }
.opens:hover td { background: color-mix(in srgb, var(--series) 12%, transparent); }
.opens:focus-visible { outline: 2px solid var(--series); }
button.plain { border: 0; background: none; padding: 0; border-radius: 4px; max-width: 100%; overflow: hidden; text-overflow: ellipsis; text-align: left; position: relative; }
button:disabled { opacity: .4; cursor: default; }
.step { position: relative; display: flex; gap: 10px; padding: 7px 8px; margin: 3px 0; }
.step .n { margin-left: auto; font-variant-numeric: tabular-nums; }
.step .lost { color: var(--soft); }
.step span { position: relative; }
input[type=range] { width: 130px; accent-color: var(--series); }
.ok { color: var(--good); } .notok { color: var(--bad); }
.controls { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-top: 8px; }
select, input[type=number] { font: inherit; padding: 3px 6px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: var(--text); max-width: 140px; }
.story { flex: 1; background: var(--badPage); color: var(--bad); border: 1px solid currentColor; border-radius: 12px; padding: 12px 16px; font: 600 16px system-ui, sans-serif; }
.bar-of-choices { flex: 0 1 auto; display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; font: 14px system-ui, sans-serif; color: var(--text); }
h1 { font-size: 20px; margin: 0; flex: 1 1 auto; }
button { font: inherit; padding: 4px 12px; border: 1px solid var(--line); background: var(--card); color: var(--text); border-radius: 8px; cursor: pointer; }
button.small { padding: 0 8px; border-radius: 6px; }
button[aria-pressed=true] { background: var(--series); color: var(--page); border-color: var(--series); }
button:focus-visible { outline: 2px solid var(--series); outline-offset: 2px; }
svg { display: block; width: 100%; height: 34px; margin-top: 4px; }
.none { color: var(--soft); font-size: 13px; }
`;

const shortly = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const clockOf = (at) => new Date(at).toISOString().slice(11, 16);

export function render({ model, view, el }) {
  document.getElementById("rtap-shell")?.remove(); // the application is there
  const style = make("style");
  style.textContent = STYLE;
  const board = make("div", "board");
  let paused = false;
  board.style.gridTemplateColumns = `repeat(auto-fit, minmax(min(100%, ${model.least}px), 1fr))`;
  el.append(style, board);
  const stops = model.cards.map((card) => {
    const box = make("div", "box");
    if (card.wide) box.style.gridColumn = "1 / -1";
    board.append(box);
    const colour = () => {
      const colours = palette();
      for (const name of ["text", "soft", "line", "card", "page", "good", "bad", "badPage"]) box.style.setProperty(`--${name}`, colours[name]);
      box.style.setProperty("--series", colours.series[card.options.colour ?? 0]);
    };
    colour();
    const { url, token, source } = model;
    const held = () => paused;
    return [pageState.listen(colour), ...cards[card.kind]({ url, token, source, document: view.model.document, el, held, ...card }, box)];
  });
  if (model.controls) stops.push(controlsBelow(board, (on) => (paused = on)));
  untilRemoved(model, view, () => stops.flat().forEach((stop) => stop()));
}

// Of cards that stand by themselves, in a cell: pause, and the page's time.
function controlsBelow(board, hold) {
  const line = make("div", "controls");
  Object.assign(line.style, { gridColumn: "1 / -1", margin: "-8px 4px 8px", gap: "10px", font: "12px system-ui, sans-serif" });
  board.append(line);
  const press = (into, text, title, act) => {
    const button = make("button", "small", text);
    button.title = title;
    button.onclick = act;
    into.append(button);
    return button;
  };
  let paused = false;
  const pause = press(line, "pause", "stop and go on", () => {
    hold((paused = !paused));
    pause.textContent = paused ? "go on" : "pause";
    pause.setAttribute("aria-pressed", String(paused));
  });
  const show = timeControls(line, press);
  const colour = () => {
    for (const name of ["text", "line", "card"]) line.style.setProperty(`--${name}`, palette()[name]);
    line.style.setProperty("--series", palette().series[0]);
    show();
  };
  colour();
  return [pageState.listen(colour)];
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

// How a card's rows are, and what verification said of them.
const wordsOf = (source) => [source.words(), source.verified()].filter(Boolean).join(" · ");

// A line that can be opened, by mouse and keyboard.
const opens = (line, act) => {
  line.tabIndex = 0;
  line.className = "opens";
  line.onclick = act;
  line.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would press the button that is focused then
    act();
  };
};

// A card's title, and beside it the place of the newest verdict.
const labelled = (text) => {
  const label = make("div", "label", text);
  const mark = make("span");
  label.append(mark);
  return [label, mark];
};

// ✓ where verification found all of these right, ✗ where it did not; how far is in the tooltip.
const prove = (mark, sources) => {
  const verdicts = sources.map(({ notices }) => notices.verdict);
  const known = verdicts.every(Boolean);
  const exact = verdicts.every((each) => each?.exact !== false);
  mark.textContent = !exact ? "✗" : known ? "✓" : "";
  mark.className = exact ? "ok" : "notok";
  mark.title = [...new Set(sources.map((each) => each.verified()))].join(" · ");
};

const total = (values) => values.reduce((sum, each) => sum + each, 0);
const arrow = (difference) => (difference >= 0 ? "▲" : "▼");

// The same length of time before a span, if all of it is known.
const earlier = (sources, span) => {
  if (!span) return null;
  const [begin, end] = span;
  const before = [begin - (end - begin), begin];
  return sources.every((each) => each.knows(before[0])) ? before : null;
};

const changed = (now, then, of = "the ") => {
  if (!then) return `none in the ${spanWords(pageState.range)} before`;
  const percent = (now / then - 1) * 100;
  return `${arrow(percent)} ${shortly(Math.abs(percent))} % against ${of}${spanWords(pageState.range)} before`;
};

const against = (now, then, of) => (then ? `${arrow(now - then)} ${shortly(Math.abs((now / then - 1) * 100))} % against ${of} (${shortly(then)})` : `none in ${of}`);

// The numbers of an earlier course, by time, in the span that is shown.
function pastValues({ rows, shift }, span, { y, x, where }) {
  const sums = new Map();
  const chosen = rows.filter((row) => where.every(([name, wanted]) => row[name] === wanted));
  for (const row of within(chosen, x, span.map((at) => at - shift))) sums.set(timeOf(row[x]), (sums.get(timeOf(row[x])) ?? 0) + (row[y] ?? 0));
  return [...sums].sort(([a], [b]) => a - b).map(([, sum]) => sum);
}

const fresh = (box, source) => box.classList.toggle("stale", !source.isLive());

const cards = {
  // the choice of a range, of a time to rewind to and of filters, for everything on the page
  choices(model, box) {
    const bar = make("div", "bar-of-choices");
    bar.style.flex = "1";
    const { ranges, title } = model.options;
    if (title) bar.append(make("h1", "", title));
    const group = (label) => {
      const found = make("div", "bar-of-choices");
      found.setAttribute("role", "group");
      found.setAttribute("aria-label", label);
      bar.append(found);
      return found;
    };
    const press = (into, text, title, act) => {
      const button = make("button", "", text);
      button.title = title;
      button.onclick = act;
      into.append(button);
      return button;
    };
    const filters = group("filters");
    const times = group("time");
    const back = () => pageState.range / 2;
    const pause = press(times, "pause", "stop here, all of the page", () => pageState.pause());
    press(times, "◀", "earlier", () => pageState.rewind(back()));
    const scrubber = make("input");
    scrubber.type = "range";
    scrubber.title = "rewind";
    scrubber.setAttribute("aria-label", "rewind, minutes before now");
    Object.assign(scrubber, { min: -360, max: 0, step: 1, value: 0 });
    scrubber.oninput = () => pageState.rewind((pageState.end ?? pageState.newest) - pageState.newest - Number(scrubber.value) * 60_000);
    times.append(scrubber);
    const later = press(times, "▶", "later", () => pageState.rewind(-back()));
    const live = press(times, "live", "back to now", () => pageState.follow());
    const showOverlay = overlayChoice(times);
    const spans = group("time range");
    const buttons = ranges.map((range) => [range, press(spans, spanWords(range), `the last ${spanWords(range)}`, () => pageState.choose(range))]);
    const theme = press(group("theme"), "◐", "dark or light", () => pageState.show({ theme: pageState.isDark() ? "light" : "dark" }));
    box.append(bar);
    if (!pageState.range) pageState.show({ range: ranges[1] });
    const show = () => {
      for (const [range, button] of buttons) button.setAttribute("aria-pressed", String(range === pageState.range));
      live.setAttribute("aria-pressed", String(!pageState.end));
      live.textContent = pageState.end ? `to ${clockOf(pageState.end)} UTC` : "live";
      later.disabled = !pageState.end;
      showOverlay();
      pause.disabled = Boolean(pageState.end);
      theme.setAttribute("aria-pressed", String(pageState.isDark()));
      document.body.style.background = palette().page;
      document.documentElement.dataset.theme = pageState.isDark() ? "dark" : "light"; // what the application around it goes by
      if (pageState.newest) scrubber.value = pageState.end ? Math.round((pageState.end - pageState.newest) / 60_000) : 0;
      if (!renewed(filters, pageState.filters)) return;
      filters.replaceChildren(
        ...Object.entries(pageState.filters).map(([name, value]) => {
          const chip = make("button", "", `${name} ${value} ✕`);
          chip.title = "no filter";
          chip.setAttribute("aria-pressed", "true");
          chip.onclick = () => pageState.filter(name, null);
          return chip;
        }),
      );
    };
    show();
    return [pageState.listen(show)];
  },

  // one section of the page at a time
  tabs(model, box) {
    const bar = make("div", "tabs");
    bar.setAttribute("role", "tablist");
    box.append(bar);
    const { sections } = model.options;
    const buttons = sections.map((title, n) => {
      const button = make("button", "tab", title);
      button.setAttribute("role", "tab");
      button.onclick = () => pageState.show({ tab: n });
      button.onkeydown = ({ key }) => {
        const next = n + (key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0);
        if (next === n || !buttons[next]) return;
        pageState.show({ tab: next });
        buttons[next].focus();
      };
      bar.append(button);
      return button;
    });
    let shown = 0;
    const show = () => {
      const now = buttons[pageState.tab] ? pageState.tab : 0;
      buttons.forEach((button, n) => {
        button.setAttribute("aria-selected", String(n === now));
        button.tabIndex = n === now ? 0 : -1;
      });
      if (now === shown) return;
      shown = now;
      sections.forEach((title, n) => model.document.get_model_by_name(title)?.setv({ visible: n === now }, { sync: false }));
    };
    setTimeout(show); // when all sections are there
    return [pageState.listen(show)];
  },

  // a big number, how it was before, and its course
  number(model, box) {
    const card = make("div", "tile");
    const [label, mark] = labelled(model.options.label);
    const value = make("div", "value", "–");
    const change = make("div", "change");
    const course = make("div");
    card.append(label, value, change, course);
    box.append(card);
    const behind = new Behind(model);
    return [
      () => behind.stop(),
      showRows(model, (source, { y, how, x, step, where = [] }) => {
        fresh(card, source);
        prove(mark, [source]);
        value.title = source.words();
        if (!source.newest) {
          value.textContent = "–";
          change.textContent = source.words();
          return;
        }
        const span = source.span();
        const chosen = source.all().filter((row) => where.every(([name, wanted]) => row[name] === wanted));
        // a time without a row that passes the filters counts as none, where there are rows of others
        const valuesOf = (range) => {
          const times = new Set(within(source.everything(), x, range).map((row) => timeOf(row[x])));
          const sums = new Map([...times].sort((a, b) => a - b).map((at) => [at, 0]));
          for (const row of within(chosen, x, range)) sums.set(timeOf(row[x]), sums.get(timeOf(row[x])) + (row[y] ?? 0));
          return [...sums.values()];
        };
        const values = valuesOf(source.drawn());
        const before = earlier([source], span);
        const past = behind.look(source, span);
        const of = past ? (behind.name ?? `the same ${spanWords(past.shift)} before`) : null;
        const shownSpan = span ?? [-Infinity, source.newest + 1]; // more than that is held of the past
        const then = past ? pastValues(past, shownSpan, { y, x, where }) : before ? valuesOf(before) : []; // nothing, where no row is so old
        // after the last window with a row others have ended without one
        const last = within(source.everything(), x, span).reduce((found, row) => Math.max(found, timeOf(row[x])), -Infinity);
        const ended = Math.min(span ? span[1] - 1 : Infinity, source.reached() - source.due);
        const isEmpty = step > 0 && Number.isFinite(last) && last + step <= ended;
        const shown = how === "last" ? (isEmpty ? 0 : values.at(-1) ?? 0) : total(values);
        value.textContent = shortly(shown);
        course.replaceChildren(sparkline(values));
        const part = span && !source.knows(span[0]);
        if (!source.isLive() || (part && how !== "last")) change.textContent = source.words();
        else if (source.unfiltered().length) change.textContent = `of every ${source.unfiltered().join(" and ")}`;
        else if (past) change.textContent = then.length ? against(shown, how === "last" ? then.at(-1) : total(then), of) : `nothing is held of ${of}`;
        else if (!then.length) change.textContent = how === "last" ? (values.length > 2 ? `mean of the range ${shortly(total(values) / values.length)}` : "") : span ? `in ${spanWords(pageState.range)}` : "";
        else change.textContent = how === "last" ? changed(shown, total(then) / then.length, "the mean of the ") : changed(shown, total(then));
      }),
    ];
  },

  // how much of two queries' rows, or of their numbers, is of the first; or how many of the first there are to one of the second
  share(model, box) {
    const { label: title, x, y, where, other, of = "both", digits = 0 } = model.options;
    const card = make("div", "tile");
    const [label, mark] = labelled(title);
    const value = make("div", "value", "–");
    const change = make("div", "change");
    card.append(label, value, change);
    box.append(card);
    const measures = { part: { x, y, where }, rest: { x: other.time, y: other.y, where: other.where } };
    const found = {};
    const amount = (name, span) => {
      const { x: at, y: column, where: wanted = [] } = measures[name];
      const rows = within(found[name].all(), at, span).filter((row) => wanted.every(([key, one]) => row[key] === one));
      return column ? total(rows.map((row) => row[column] ?? 0)) : rows.length;
    };
    const shareOf = (spanOf) => {
      const [part, rest] = [amount("part", spanOf("part")), amount("rest", spanOf("rest"))];
      const whole = of === "both" ? part + rest : rest;
      return { part, whole, percent: whole ? (100 * part) / whole : null };
    };
    const show = (name) => (source) => {
      found[name] = source;
      const sources = Object.values(found);
      fresh(card, source);
      prove(mark, sources);
      if (sources.length < 2) return;
      const now = shareOf((each) => found[each].span());
      value.textContent = now.percent === null ? "–" : `${shortly(now.percent, digits)} %`;
      value.title = found.part.words();
      if (now.percent === null) return void (change.textContent = found.part.words());
      const parts = [`${shortly(now.part)} of ${shortly(now.whole)}`];
      const unfiltered = [...new Set(sources.flatMap((each) => each.unfiltered()))];
      if (unfiltered.length) parts.push(`of every ${unfiltered.join(" and ")}`);
      if (sources.some((each) => each.span() && !each.knows(each.span()[0]))) parts.push("a part of the range");
      else if (earlier(sources, found.part.span())) {
        const then = shareOf((each) => earlier(sources, found[each].span()));
        if (then.percent !== null) parts.push(`${arrow(now.percent - then.percent)} ${shortly(Math.abs(now.percent - then.percent), 1)} points against the ${spanWords(pageState.range)} before`);
      }
      change.textContent = parts.join(" · ");
    };
    const { url, token, source, el } = model;
    return [showRows(model, show("part")), showRows({ url, token, source, el, ...other }, show("rest"))];
  },

  // the greatest keys, with bars; a click narrows the page to one, where it can be narrowed by it
  ranking(model, box) {
    const { keys, values, label, filter } = model.options;
    const card = make("div", "tile");
    const table = make("table");
    const words = make("div", "fresh");
    const head = make("tr");
    head.append(make("th", "", keys), make("th", "n", values));
    card.append(make("h3", "", label), table, words);
    box.append(card);
    return [
      showRows(model, (source, options) => {
        fresh(card, source);
        words.textContent = wordsOf(source);
        const data = reductions.top(source.all(), { x: source.x, ...options }, source.span());
        if (!renewed(table, [data, pageState.filters])) return;
        const most = Math.max(...data.value, 1);
        const lines = data.key.map((key, n) => {
          const line = make("tr");
          const cell = make("td");
          const bar = make("div", "bar");
          bar.style.width = `${(100 * data.value[n]) / most}%`;
          cell.title = key;
          cell.append(bar);
          if (filter) {
            const button = make("button", "plain", key);
            button.title = `only ${filter} ${key}`;
            button.onclick = () => pageState.filter(filter, pageState.filters[filter] === key ? null : key);
            cell.append(button);
          } else cell.append(document.createTextNode(key));
          line.append(cell, make("td", "n", shortly(data.value[n])));
          return line;
        });
        table.replaceChildren(head, ...(lines.length ? lines : [make("tr")]));
      }),
    ];
  },

  // the newest rows; a click on one shows the events behind it
  table(model, box) {
    const columns = model.options.columns.map((each) => (Array.isArray(each) ? each : [each, each]));
    const card = make("div", "tile");
    const table = make("table");
    const words = make("div", "fresh");
    card.append(make("h3", "", model.options.label), table, words);
    box.append(card);
    return [
      showRows(model, (source, options) => {
        fresh(card, source);
        words.textContent = wordsOf(source);
        const rows = within(source.all(), source.x, source.span());
        const newest = rows.sort((a, b) => timeOf(b[source.x]) - timeOf(a[source.x])).slice(0, options.keep);
        if (!renewed(table, newest)) return;
        table.replaceChildren(
          headOf(columns.map(([, title]) => title)),
          ...newest.map((row) => {
            const line = rowOf(columns.map(([name]) => textOf(row[name])));
            opens(line, () => showEvents(source, row, card));
            return line;
          }),
        );
      }),
    ];
  },

  // numbers one below the other, each as a share of the first, and what is lost between two
  funnel(model, box) {
    const card = make("div", "tile");
    const steps = make("div");
    const words = make("div", "fresh");
    card.append(make("h3", "", model.options.label), steps, words);
    box.append(card);
    return [
      showRows(model, (source, options) => {
        fresh(card, source);
        words.textContent = wordsOf(source);
        const data = reductions.total(source.all(), { x: source.x, ...options }, source.span());
        const [first] = data.value;
        steps.replaceChildren(
          ...data.name.map((name, n) => {
            const step = make("div", "step");
            const bar = make("div", "bar");
            bar.style.width = `${first ? Math.min(100, (100 * data.value[n]) / first) : 0}%`;
            const share = first ? `${shortly((100 * data.value[n]) / first, 1)} %` : "";
            const before = data.value[n - 1];
            const lost = n && before ? `−${shortly(100 - (100 * data.value[n]) / before, 0)} %` : "";
            step.append(bar, make("span", "", name), make("span", "lost", lost), make("span", "n", `${shortly(data.value[n])}  ${share}`));
            return step;
          }),
        );
      }),
    ];
  },

  // queries of one's own: the course and the newest rows of each, without a line of code
  mine(model, box) {
    const { packaged, charted, keep } = model.options;
    box.style.flexWrap = "wrap";
    box.style.gap = "14px";
    const none = make("div", "none", "No query of your own runs here. In a notebook: lab.query(…).run(\"name\"); in a terminal: rtap query run FILE");
    box.append(none);
    const shown = new Map(); // by name: [tile, what ends it]
    const stop = connect(model.url, model.token).onChannels((channels) => {
      for (const name of [...channels].filter((each) => !packaged.includes(each) && !shown.has(each))) {
        const tile = make("div", "tile");
        Object.assign(tile.style, { flex: "1 1 300px", minWidth: "min(100%, 300px)" });
        const course = make("div");
        const table = make("table");
        const words = make("div", "fresh");
        const later = make("div", "none", charted.includes(name) ? "" : "It came after this page: loaded again, the page has its chart.");
        tile.append(make("h3", "", name), course, table, words, later);
        box.append(tile);
        const fed = { url: model.url, token: model.token, source: model.source, channel: name };
        const ended = showRows(fed, (source) => {
          fresh(tile, source);
          words.textContent = wordsOf(source);
          const rows = within(source.all(), source.x, source.span()).sort((a, b) => timeOf(b[source.x]) - timeOf(a[source.x]));
          course.replaceChildren(sparkline(courseOf(source, rows)));
          const newest = rows.slice(0, keep);
          if (!renewed(table, newest)) return;
          const columns = (source.columns ?? []).filter((column) => column !== "window_start");
          const lines = newest.map((row) => {
            const line = rowOf(columns.map((column) => textOf(row[column])));
            opens(line, () => showEvents(source, row, tile));
            return line;
          });
          table.replaceChildren(headOf(columns), ...lines);
        });
        shown.set(name, [tile, ended]);
      }
      for (const [name, [tile, ended]] of shown)
        if (!channels.has(name)) {
          ended();
          tile.remove();
          shown.delete(name);
        }
      none.hidden = shown.size > 0;
    });
    return [stop, () => shown.forEach(([, ended]) => ended())];
  },

  // the newest events of the log, whatever becomes of them, while the page shows now; a click shows all fields of one
  feed(model, box) {
    const { label, columns, keep } = model.options;
    const card = make("div", "tile");
    const table = make("table");
    const words = make("div", "fresh");
    card.append(make("h3", "", label), table, words);
    box.append(card);
    const hub = connect(model.url, model.token);
    const stopWatching = hub.onChannels(() => {}); // a page of nothing but this is connected, too
    let found = new Map(); // by place
    let stopped = false;
    let timer = 0;
    const show = () => {
      const filters = Object.entries(pageState.filters);
      const fits = (event) => filters.every(([name, value]) => labelOf(event[name]) === value);
      const events = [...found.values()].filter(fits).slice(0, keep);
      if (!renewed(table, [events, filters])) return;
      table.replaceChildren(
        headOf([...columns.map(([, title]) => title), "in the log after"]),
        ...events.map((event) => {
          const after = Date.parse(event.arrival) - Date.parse(event.event_time);
          const line = rowOf([...columns.map(([name]) => textOf(event[name])), Number.isFinite(after) ? delay(after) : ""]);
          opens(line, () => showFields(event, card));
          return line;
        }),
      );
    };
    const look = async () => {
      if (stopped) return;
      clearTimeout(timer);
      if (!pageState.end && !model.held() && !document.hidden && card.isConnected && card.offsetParent !== null) {
        try {
          const { events } = await hub.latest({ source: model.source, limit: FEED });
          // what was there stays where nothing new came: ticks push events out of what is looked at
          found = new Map([...events.map((event) => [`${event.place} ${event.event_id}`, event]), ...found].slice(0, FEED));
          const newest = events[0] ? Date.parse(events[0].arrival) : 0;
          words.textContent = events.length ? `the newest came at ${new Date(newest).toISOString().slice(11, 19)} UTC` : "no event came in the last while";
          card.classList.remove("stale");
        } catch (error) {
          words.textContent = error.message;
          card.classList.add("stale");
        }
      } else if (pageState.end) words.textContent = "stopped: the page does not show now";
      show();
      timer = setTimeout(look, FEED_EVERY_MS);
    };
    look();
    return [
      pageState.listen(show),
      () => {
        stopped = true;
        clearTimeout(timer);
        stopWatching();
      },
    ];
  },

  // how far each answer is, and where the time goes until it is on this page
  pipeline(model, box) {
    const card = make("div", "tile");
    const table = make("table");
    card.append(make("h3", "", model.options.label), table);
    box.append(card);
    const sources = new Map();
    const show = () => {
      const head = headOf(["query", "rows", "how far", "due to log", "log to hub", "hub to page"], [18, 8, 38, 12, 12, 12]);
      head.title = "p50 and p95 of the newest updates on this page, milliseconds. Due: a row's time and the lateness bound have passed; what follows is Flink, its checkpoint and its commit.";
      const lines = [...sources].map(([name, source]) => {
        const took = (n) => {
          const sorted = source.stages.map((each) => each[n]).sort((a, b) => a - b);
          const at = (share) => shortly(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
          return sorted.length ? `${at(0.5)}, ${at(0.95)} ms` : "";
        };
        return rowOf([name, shortly(source.received), source.words(), took(0), took(1), took(2)]);
      });
      table.replaceChildren(head, ...lines);
    };
    return model.options.queries.map((each) =>
      showRows({ url: model.url, token: model.token, source: model.source, el: model.el, ...each }, (source) => {
        sources.set(each.channel, source);
        show();
      }),
    );
  },

  // what would be there if a job ran, and a button that runs it
  offer(model, box) {
    const { job, what } = model.options;
    const card = make("div", "tile");
    const words = make("span");
    const controls = make("span", "controls");
    card.append(words, controls);
    card.style.display = "none";
    box.append(card);
    let missing = false;
    return [
      showRows(model, (source) => {
        missing = source.word === "live" && !source.epoch;
        card.style.display = missing ? "" : "none";
      }),
      showFacts(card, (facts) => {
        const busy = facts.working.includes(`run ${job}`);
        const failed = facts.ended[`run ${job}`];
        words.textContent = busy
          ? `${what} are on their way: the job “${job}” starts, its first rows come about a minute later. `
          : `${what} are answered by the job “${job}”, which does not run here. ${failed ? `It could not start: ${failed} ` : ""}`;
        buttons(controls, facts, busy ? [] : [[`run ${job}`, { act: "job_run", name: job }]]);
      }),
    ];
  },

  // read = counted + duplicate + late + rejected, and the verdict
  ledger(model, box) {
    const card = make("div", "tile");
    const verdict = make("div");
    const table = make("table");
    const leftOut = make("table");
    card.append(make("h3", "", "Every number recomputed"), verdict, table, leftOut);
    const controls = make("div", "controls");
    card.append(controls);
    box.append(card);
    return [
      showFacts(card, (facts) => {
        const lines = Object.entries(facts.verdicts).map(([run, found]) => {
          const { read, counted, duplicate, late, rejected } = found.ledger;
          const differing = Object.values(found.differences).reduce((sum, each) => sum + each, 0);
          const upto = found.upto_ms === null ? "whole" : `${new Date(found.upto_ms).toISOString().slice(11, 19)}`;
          const unproven = found.unproven && !differing && !found.problems.length;
          const wrong = differing || !found.problems.length ? `✗ ${differing} differences` : `✗ ${found.problems.length} problem${found.problems.length > 1 ? "s" : ""}`;
          const line = rowOf([run, found.exact ? "✓ exact" : unproven ? "? not proven" : wrong, upto, ...[read, counted, duplicate, late, rejected].map((n) => shortly(n))]);
          line.children[1].className = found.exact ? "ok" : "notok";
          line.title = [...found.problems, ...(found.unproven ? [found.unproven] : [])].join("\n");
          return line;
        });
        verdict.className = "none";
        verdict.textContent = lines.length ? "read = counted + duplicate + late + rejected, at the newest verification of each run" : "Nothing was verified yet.";
        table.replaceChildren(headOf(lines.length ? ["run", "verdict", "up to", "read", "counted", "duplicate", "late", "rejected"] : [], [20, 13, 13, 11, 12, 11, 9, 11]), ...lines);
        const reasons = Object.entries(facts.left_out).sort(([, a], [, b]) => b - a);
        leftOut.replaceChildren(...(reasons.length ? [headOf(["left out of the live source, by reason", "records"])] : []), ...reasons.map(([name, n]) => rowOf([name, shortly(n)])));
        const busy = facts.working.includes("verify");
        const kept = facts.working.includes("keep verifying");
        buttons(controls, facts, [
          [busy ? "verifying …" : "verify now", { act: "verify" }, busy],
          [kept ? "stop verifying" : "verify every minute", { act: "keep_verifying", on: !kept }],
        ]);
        if (facts.ended.verify) verdict.textContent = facts.ended.verify;
      }),
    ];
  },

  // the simulated site: what plays, and its controls
  simulator(model, box) {
    const card = make("div", "tile");
    const words = make("div");
    const controls = make("div", "controls");
    card.append(make("h3", "", "Simulated visitors"), words, controls);
    box.append(card);
    const scenario = make("select");
    scenario.setAttribute("aria-label", "scenario");
    const rate = make("input");
    Object.assign(rate, { type: "number", min: 1, max: 20000, value: 200 });
    rate.setAttribute("aria-label", "messages a second");
    let mode = null;
    return [
      showFacts(card, (facts) => {
        const playing = facts.simulator;
        words.textContent = playing
          ? `${playing.scenario}, ${shortly(playing.rate)} messages a second, ${shortly(playing.sent)} sent${playing.paused ? ", paused" : ""}`
          : facts.ended.simulate || "No simulator runs.";
        const now = `${Boolean(playing)} ${facts.may_act}`;
        if (mode === now) return; // what somebody has typed stays
        mode = now;
        scenario.replaceChildren(...facts.scenarios.map((name) => make("option", "", name)));
        scenario.value = facts.scenarios.includes("brisk") ? "brisk" : facts.scenarios[0];
        const chosen = () => ({ scenario: scenario.value, rate: Number(rate.value) });
        if (playing) {
          rate.value = String(Math.round(playing.rate));
          buttons(controls, facts, [
            ["set rate", () => ({ act: "simulator_rate", rate: Number(rate.value) })],
            ["outage for 2 min", { act: "simulator_inject", kind: "outage", seconds: 120 }],
            ["bots for 1 min", { act: "simulator_inject", kind: "bots", seconds: 60 }],
            ["stop", { act: "simulator_stop" }],
          ]);
          if (facts.may_act) controls.prepend(rate);
        } else {
          buttons(controls, facts, [["start", () => ({ act: "simulate", ...chosen() })]]);
          if (facts.may_act) controls.prepend(scenario, rate);
        }
      }),
    ];
  },

  // Flink's jobs: how far, how late, and what may be done with them
  jobs(model, box) {
    const card = make("div", "tile");
    const table = make("table");
    const controls = make("div", "controls");
    const words = make("div", "fresh");
    card.append(make("h3", "", "Jobs"), table, controls, words);
    box.append(card);
    return [
      showFacts(card, (facts) => {
        const percent = (share) => (share === null ? "" : `${shortly(100 * share, 2)} %`);
        const lines = facts.jobs.map((job) => {
          const line = rowOf([`${job.name} on ${job.source}`, job.state, job.watermark?.slice(11, 19) ?? "", job.lag === null ? "" : shortly(job.lag), job.checkpoint_age_s === null ? "" : `${shortly(job.checkpoint_age_s, 1)} s`, percent(job.late_share), percent(job.rejected_share)]);
          line.children[1].className = job.state === "RUNNING" || job.state === "FINISHED" ? "ok" : "notok";
          line.title = job.error ?? job.note ?? "";
          return line;
        });
        table.replaceChildren(headOf(["job", "state", "watermark", "lag", "checkpoint", "late", "rejected"], [27, 14, 13, 11, 13, 11, 11]), ...lines);
        const acts = facts.not_running.map((name) => [`run ${name}`, { act: "job_run", name }]);
        for (const job of facts.jobs.filter(({ source }) => source === "live")) {
          if (job.state === "RUNNING") acts.push([`savepoint ${job.name}`, { act: "job_savepoint", name: job.name }], [`stop ${job.name}`, { act: "job_stop", name: job.name }]);
          else if (!["STARTING", "SUBMITTING", "RESTARTING", "CREATED", "UNKNOWN"].includes(job.state)) acts.push([`run ${job.name}`, { act: "job_run", name: job.name }]);
        }
        buttons(controls, facts, acts.map(([text, act]) => [text, act, facts.working.includes(text)]));
        const failed = Object.entries(facts.ended).filter(([name, how]) => how && /^(run|stop|savepoint) /.test(name));
        words.textContent = [...facts.problems, ...failed.map(([name, how]) => `${name}: ${how}`)].join("\n");
        words.style.whiteSpace = "pre-line";
      }),
    ];
  },

  // the processes of the stack
  services(model, box) {
    const card = make("div", "tile");
    const table = make("table");
    card.append(make("h3", "", "Services"), table);
    box.append(card);
    return [
      showFacts(card, (facts) => {
        const lines = facts.services.map((each) => {
          const line = rowOf([each.name, each.state, each.rss_mb === null ? "" : `${shortly(each.rss_mb)} MB`, each.uptime_s === null ? "" : duration(each.uptime_s), each.restarts ? `${each.restarts} restarts` : ""]);
          line.children[1].className = each.state === "ready" ? "ok" : "notok";
          line.title = each.detail;
          return line;
        });
        table.replaceChildren(headOf(["service", "state", "memory", "up for", ""]), ...lines);
      }),
    ];
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
      card.style.display = found && traffic.isLive() && traffic.upto !== Infinity && !pageState.end ? "" : "none";
      if (found) card.textContent = `No ${goal} since ${clockOf(found.since)} UTC, ${shortly(found.usual, 1)} a minute before. Traffic goes on: ${shortly(found.views)} views in the last minute.`;
    };
    return [
      showRows(model, (source) => {
        traffic = source;
        show();
      }),
      showRows({ url: model.url, token: model.token, source: model.source, el: model.el, ...other }, (source) => {
        sold = source;
        show();
      }),
    ];
  },
};

const FEED = 60; // events that are asked for at once
const FEED_EVERY_MS = 1_000;
const delay = (ms) => (ms < 10_000 ? `${shortly(ms)} ms` : ms < 120_000 ? `${shortly(ms / 1000)} s` : `${shortly(ms / 60_000)} min`);

// All fields of an event, in a dialog; text nodes.
function showFields(event, near) {
  const dialog = openDialog(near, "an event");
  const table = make("table");
  for (const [name, value] of Object.entries(event)) {
    const line = make("tr");
    line.append(make("th", "", name), make("td", "", String(value)));
    line.lastChild.style.cssText = "white-space:pre-wrap;overflow-wrap:anywhere";
    table.append(line);
  }
  dialog.append(make("b", "", "as it stands in the log"), table);
  dialog.showModal();
}

// A line of titles; widths of the columns in percent, where they are not to be alike.
const headOf = (titles, widths = []) => {
  const head = make("tr");
  titles.forEach((title, n) => {
    const cell = make("th", "", title);
    if (widths[n]) cell.style.width = `${widths[n]}%`;
    head.append(cell);
  });
  return head;
};
const duration = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);

const factLooks = new Set(); // after an act all look again

// What the dashboard's own process says of the lab: asked for every few seconds while somebody looks.
function showFacts(card, draw) {
  let stopped = false;
  let timer = 0;
  const look = async () => {
    if (stopped) return;
    clearTimeout(timer);
    if (!document.hidden && card.isConnected && card.offsetParent !== null) {
      try {
        const answer = await fetch("control/facts");
        if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `${answer.status}`);
        card.classList.remove("stale");
        card.title = "";
        draw(await answer.json());
      } catch (error) {
        card.classList.add("stale");
        card.title = `what is shown is old: ${error.message}`;
      }
    }
    clearTimeout(timer);
    timer = setTimeout(look, 3000);
  };
  factLooks.add(look);
  const first = setInterval(() => {
    if (!card.isConnected) return;
    clearInterval(first);
    look();
  }, 50);
  return () => {
    stopped = true;
    factLooks.delete(look);
    clearTimeout(timer);
    clearInterval(first);
  };
}

// Ask the dashboard's process to do something; what to say then.
async function doing(act) {
  try {
    const answer = await fetch("control/act", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(act) });
    const told = await answer.json();
    for (const look of factLooks) look();
    return answer.ok ? String(told.done) : told.error;
  } catch (error) {
    return `the dashboard does not answer: ${error.message}`;
  }
}

// Buttons for who may act; they are made anew only when they differ, so that a click is never lost.
function buttons(into, facts, acts) {
  if (!renewed(into, [facts.may_act, acts.map(([text, , busy]) => [text, busy])])) return;
  const said = (into.rtapSaid ??= make("span", "none")); // what was said last outlives the buttons, until nothing is under way
  if (!acts.some(([, , busy]) => busy)) said.textContent = "";
  if (!facts.may_act) {
    said.textContent = "This address only shows.";
    return into.replaceChildren(said);
  }
  into.replaceChildren(
    ...acts.map(([text, act, busy]) => {
      const button = make("button", "", text);
      button.disabled = Boolean(busy);
      button.onclick = async () => {
        button.disabled = true;
        said.textContent = await doing(typeof act === "function" ? act() : act);
        button.disabled = false;
      };
      return button;
    }),
    said,
  );
}

// The course of a query that nothing is known of but its rows: of windows the first number, else how many rows there were.
function courseOf(source, rows) {
  const number = source.x === "window_end" && source.columns?.find((name) => !source.identity.includes(name) && typeof rows[0]?.[name] === "number");
  if (number) return reductions.series(rows, { x: source.x, ys: [number], keep: 400 })[number];
  return reductions.count(rows, { x: source.x, step: 10_000, keep: 360 }).count;
}

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
