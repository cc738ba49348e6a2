// The browser side of a live chart: rows of the hub, reduced to a Bokeh source; how fresh and how proven they are; pause, rewind;
// the events behind a point.

const RESTS_MS = 300; // the mouse has come to rest

export function render({ model, view, el }) {
  const line = make("div");
  line.style.cssText = "display:flex;flex-wrap:wrap;gap:4px 10px;align-items:center;font:12px system-ui,sans-serif;min-height:20px;padding:0 4px";
  const badge = make("span", "rtap-state");
  badge.setAttribute("role", "status");
  const proof = make("span", "rtap-proof");
  const legend = make("span", "rtap-legend");
  legend.style.cssText = "display:contents";
  line.append(badge, proof, legend);
  el.appendChild(line);
  if (!model.url) {
    badge.textContent = "a static picture";
    return;
  }
  const button = (into, text, title, act) => {
    const found = make("button", "", text);
    found.style.cssText = "font:inherit;border:1px solid;border-radius:6px;background:none;color:inherit;padding:0 8px;cursor:pointer";
    found.title = title;
    found.onclick = act;
    into.append(found);
    return found;
  };
  const pause = button(line, "pause", "stop and go on", () => {
    paused = !paused;
    pause.textContent = paused ? "go on" : "pause";
    pause.setAttribute("aria-pressed", String(paused));
    if (last) draw(...last);
  });
  const showTime = timeControls(line, button);

  let paused = false;
  let drawn = "";
  let set = null; // the range that was set last
  let zooming = 0; // while somebody moves it
  let last = null;
  const hidden = new Set(); // keys of `lines` that the legend has switched off
  const behind = ["line", "area"].includes(model.kind) ? new Behind(model) : null;

  // The page's range. Who zooms or pans here moves the whole page, a moment after the mouse has come to rest; Bokeh's reset goes back.
  const follow = (range, span) => {
    if (zooming) return;
    set = span; // before the range tells of it
    put(range, { start: span[0], end: span[1] });
    range.have_updated_interactively = true; // Bokeh's own range does not follow the data any more
  };
  const zoomed = (range, source) => {
    clearTimeout(zooming);
    zooming = 0;
    // of a page without a range Bokeh's own range follows the data, until somebody moves it
    if (set ? range.start === set[0] && range.end === set[1] : !range.have_updated_interactively) return;
    zooming = setTimeout(() => {
      zooming = 0;
      pageState.zoom(range.start + source.due, range.end + source.due);
    }, RESTS_MS);
  };
  const box = view.parent?.el;
  const overTime = ["line", "area", "lines", "count"].includes(model.kind);

  const draw = (source, options) => {
    const colours = palette();
    line.style.color = colours.soft;
    const words = [source.words(), `${source.received.toLocaleString("en")} rows`, paused ? "paused" : "", behind?.words()];
    badge.textContent = words.filter(Boolean).join(" · ");
    badge.dataset.state = source.word;
    badge.dataset.rows = String(source.received);
    proof.textContent = source.verified();
    proof.style.color = source.notices.verdict?.exact === false ? colours.bad : colours.good;
    showTime();
    if (box) box.style.opacity = source.isLive() ? "1" : "0.5";
    const document_ = view.model.document;
    const target = document_?.get_model_by_name(model.target);
    const plot = document_?.get_model_by_name(`${model.target}-figure`);
    if (!target || !plot) return;
    const dark = pageState.isDark();
    if (plot.rtapDark !== dark || plot.background_fill_color !== colours.card) { // the application has colours for figures, too
      plot.rtapDark = dark;
      drawn = "";
      dress(plot, colours);
      if (box) Object.assign(box.style, { background: colours.card, border: `1px solid ${colours.line}`, borderRadius: "12px", padding: "8px", boxSizing: "border-box" });
    }
    if (!target.rtapTapped) {
      target.rtapTapped = true;
      target.selected.properties.indices.change.connect(() => tapped(target));
      if (overTime) {
        const { start, end } = plot.x_range.properties;
        for (const each of [start, end]) each.change.connect(() => zoomed(plot.x_range, last[0]));
        plot.on_event("reset", () => {
          clearTimeout(zooming);
          zooming = 0;
          pageState.follow();
        });
      }
    }
    if (paused || document.hidden || el.offsetParent === null) return; // nobody sees it
    if (source.epoch === null) return; // nothing was heard yet: the picture that came with the page stays
    const span = source.span();
    const data = reductions[model.reduce](source.all(), { x: source.x, ...options }, source.drawn());
    if (model.kind === "lines") colourLines(data, colours);
    const now = JSON.stringify(data);
    if (now !== drawn) {
      drawn = now;
      fill(target, plot, document_, data);
    }
    const below = behind && document_.get_model_by_name(`${model.target}-behind`);
    const before = below && behind.look(source, span);
    if (below && !before && below.data.x.length) put(below, { data: Object.fromEntries(Object.keys(below.data).map((name) => [name, []])) });
    if (before) {
      const { rows, shift } = before;
      const past = reductions[model.reduce](rows, { x: source.x, ...model.options }, span && span.map((at) => at - shift));
      past.x = past.x.map((at) => at + shift);
      put(below, { data: past });
    }
    if (!overTime) return;
    if (span) follow(plot.x_range, span);
    else if (set) {
      set = null; // all that is held is shown again
      plot.x_range.reset();
    }
  };

  const fill = (target, plot, document_, data) => {
    if (model.kind === "map") {
      const values = new Map(data.key.map((key, n) => [key, data.value[n]]));
      const value = target.data.code.map((code) => values.get(code) ?? NaN);
      put(target, { data: { ...target.data, value } });
    } else put(target, { data });
    const area = document_.get_model_by_name(`${model.target}-area`);
    if (area) put(area, { data: reductions.filled(data) });
    const mapper = document_.get_model_by_name(`${model.target}-mapper`);
    if (mapper) put(mapper, { high: Math.max(1, ...data.value) });
    if (model.kind === "bars") put(plot.y_range, { factors: [...data.key].reverse() });
    if (model.kind === "heat") {
      put(plot.x_range, { factors: [...new Set(data.hour)].sort() });
      put(plot.y_range, { factors: [...new Set(data.key)].reverse() });
    }
  };

  // The legend of keys that come and go; a click leaves one out.
  const colourLines = (data, colours) => {
    const colour = (n) => colours.series[n % colours.series.length];
    if (renewed(legend, [data.name, [...hidden], colours.series])) legend.replaceChildren(
      ...data.name.map((name, n) => {
        const each = make("button", "", `● ${name}`);
        each.style.cssText = `font:inherit;border:0;background:none;cursor:pointer;padding:0 2px;color:${colour(n)};opacity:${hidden.has(name) ? 0.35 : 1}`;
        each.setAttribute("aria-pressed", String(!hidden.has(name)));
        each.onclick = () => {
          if (!hidden.delete(name)) hidden.add(name);
          if (last) draw(...last);
        };
        return each;
      }),
    );
    data.colour = data.name.map((_, n) => colour(n));
    const kept = data.name.map((name, n) => n).filter((n) => !hidden.has(data.name[n]));
    for (const column of Object.keys(data)) data[column] = kept.map((n) => data[column][n]);
  };

  // A point was clicked: the rows that it was drawn from, and the events behind one.
  const tapped = (target) => {
    const [n] = target.selected.indices;
    if (n === undefined || !last) return;
    const [source, options] = last;
    const { data } = target;
    const at = model.kind === "lines" ? null : data.x?.[n];
    const step = model.kind === "count" ? options.step : 1;
    const matches = (row) => {
      if (at !== null && at !== undefined && Math.floor(timeOf(row[source.x]) / step) * step !== at) return false;
      if (model.kind === "bars") return labelOf(row[options.key]) === data.key[n];
      if (model.kind === "map") return row[options.key] === data.code[n];
      if (model.kind === "heat") {
        const hour = String(new Date(timeOf(row[source.x]) - 1).getUTCHours()).padStart(2, "0");
        return labelOf(row[options.y]) === data.key[n] && hour === data.hour[n];
      }
      if (model.kind === "lines") return labelOf(row[options.by]) === data.name[n];
      return true;
    };
    const found = within(source.all(), source.x, source.drawn()).filter(matches);
    const newest = found.sort((a, b) => timeOf(b[source.x]) - timeOf(a[source.x])).slice(0, 50);
    if (newest.length) chooseRow(source, newest, el);
    put(target.selected, { indices: [] });
  };

  const stop = showRows(model, (...shown) => draw(...(last = shown)));
  untilRemoved(model, view, () => {
    stop();
    behind?.stop();
  });
}

// What the browser changes is its own business: Python is not told. A server looks at `sync`; Panel's channel to a kernel does not
// (CommManager._document_changed), it leaves out what is internal.
function put(model, values) {
  own(model, Object.keys(values));
  model.setv(values, { sync: false });
}

function own(model, names) {
  for (const name of names) model.properties[name].internal = true;
}

// The page's colours.
function dress(plot, colours) {
  for (const range of [plot.x_range, plot.y_range]) own(range, ["start", "end"]); // Bokeh sets them with each row
  put(plot, { background_fill_color: colours.card, border_fill_color: colours.card, outline_line_color: null });
  if (plot.title) put(plot.title, { text_color: colours.text });
  for (const axis of [...plot.below, ...plot.left]) {
    put(axis, { axis_label_text_color: colours.soft, major_label_text_color: colours.soft, axis_line_color: colours.line, major_tick_line_color: colours.line, minor_tick_line_color: null });
  }
  for (const each of plot.above) {
    if (each.type === "Legend") put(each, { border_line_color: null, label_text_color: colours.text, background_fill_alpha: 0 });
  }
  for (const each of plot.center) if (each.type === "Grid") put(each, { grid_line_color: colours.line });
  for (const renderer of plot.renderers) {
    const [n] = renderer.tags;
    if (n === undefined) continue; // its colours say values
    const colour = colours.series[n % colours.series.length];
    for (const glyph of [renderer.glyph, renderer.nonselection_glyph, renderer.muted_glyph, renderer.selection_glyph]) {
      if (!glyph) continue;
      if (glyph.line_color !== undefined) put(glyph, { line_color: colour });
      if (glyph.fill_color !== undefined) put(glyph, { fill_color: colour });
    }
  }
}
