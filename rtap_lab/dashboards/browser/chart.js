// The browser side of a live chart: rows of the hub, reduced to a Bokeh source; how fresh they are; pause.

export function render({ model, view, el }) {
  const line = document.createElement("div");
  line.style.cssText = "display:flex;gap:10px;align-items:center;font:12px system-ui,sans-serif;min-height:20px;padding:0 4px";
  const badge = document.createElement("span");
  badge.className = "rtap-state";
  badge.setAttribute("role", "status");
  const pause = document.createElement("button");
  pause.style.cssText = "font:inherit;border:1px solid;border-radius:6px;background:none;color:inherit;padding:0 8px;cursor:pointer";
  pause.textContent = "pause";
  line.append(badge, pause);
  el.appendChild(line);
  if (!model.url) {
    badge.textContent = "a static picture";
    pause.remove();
    return;
  }

  let paused = false;
  let drawn = "";
  let set = null; // the range that was set last

  // The page's range, unless somebody has zoomed; Bokeh's reset gives it back.
  const follow = (range, span) => {
    const zoomed = range.have_updated_interactively && set && (range.start !== set[0] || range.end !== set[1]);
    if (zoomed) return;
    put(range, { start: span[0], end: span[1] });
    range.have_updated_interactively = true; // Bokeh's own range does not follow the data any more
    set = span;
  };
  const box = view.parent?.el;

  const draw = (source) => {
    const colours = palette();
    line.style.color = colours.soft;
    const words = source.words();
    badge.textContent = `${words} · ${source.received.toLocaleString("en")} rows${paused ? " · paused" : ""}`;
    badge.dataset.state = source.word;
    badge.dataset.rows = String(source.received);
    if (box) box.style.opacity = source.word === "live" ? "1" : "0.5";
    const document_ = view.model.document;
    const target = document_?.get_model_by_name(model.target);
    const plot = document_?.get_model_by_name(`${model.target}-figure`);
    if (!target || !plot) return;
    const dark = pageState.isDark();
    if (plot.rtapDark !== dark) {
      plot.rtapDark = dark;
      dress(plot, colours);
      if (box) Object.assign(box.style, { background: colours.card, border: `1px solid ${colours.line}`, borderRadius: "12px", padding: "8px", boxSizing: "border-box" });
    }
    if (paused || document.hidden) return;
    const span = source.span();
    const data = reductions[model.reduce](source.all(), { x: model.time, ...model.options }, span);
    const now = JSON.stringify(data);
    if (now !== drawn) {
      drawn = now;
      put(target, { data });
      if (data.key) put(plot.y_range, { factors: [...data.key].reverse() });
    }
    if (span && !data.key) follow(plot.x_range, span);
  };

  let last = null;
  const stop = showRows(model, (source) => draw((last = source)));
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? "go on" : "pause";
    pause.setAttribute("aria-pressed", String(paused));
    if (last) draw(last);
  };
  untilRemoved(model, view, stop);
}

// What the browser changes is its own business: Python is not told.
const put = (model, values) => model.setv(values, { sync: false });

// The page's colours.
function dress(plot, colours) {
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
    const colour = colours.series[(renderer.tags[0] ?? 0) % colours.series.length];
    for (const glyph of [renderer.glyph, renderer.nonselection_glyph, renderer.muted_glyph]) {
      if (!glyph) continue;
      if (glyph.line_color !== undefined) put(glyph, { line_color: colour });
      if (glyph.fill_color !== undefined) put(glyph, { fill_color: colour });
    }
  }
}
