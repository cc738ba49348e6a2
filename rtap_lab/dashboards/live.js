// The browser side of a live chart: rows of the hub, reduced to a Bokeh source. `connect` is live/hub_client.js's.

const time = (text) => Date.parse(text);

// Each reduction keeps what it needs of the rows and gives the columns of the Bokeh source.
const reductions = {
  // a point per row, the last `keep` of them
  series({ x, ys, keep }) {
    const points = new Map();
    return {
      add(rows) {
        for (const row of rows) points.set(row[x], row);
        const ordered = [...points.keys()].sort((a, b) => time(a) - time(b));
        for (const old of ordered.slice(0, Math.max(0, ordered.length - keep))) points.delete(old);
      },
      clear: () => points.clear(),
      columns() {
        const rows = [...points.values()].sort((a, b) => time(a[x]) - time(b[x]));
        const data = { x: rows.map((row) => time(row[x])) };
        for (const y of ys) data[y] = rows.map((row) => row[y]);
        return data;
      },
    };
  },
  // the greatest of the newest window
  top({ key, value, keep }) {
    let newest = "";
    let rows = new Map();
    return {
      add(more) {
        for (const row of more) {
          if (newest === "" || time(row.window_end) > time(newest)) {
            newest = row.window_end;
            rows = new Map();
          }
          if (row.window_end === newest) rows.set(row[key] ?? "(none)", row[value]);
        }
      },
      clear() {
        newest = "";
        rows = new Map();
      },
      columns() {
        const best = [...rows].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, keep);
        return { key: best.map((e) => e[0]), value: best.map((e) => e[1]), rank: best.map((_, i) => i) };
      },
    };
  },
  // how many rows by `step` ms of the column x
  count({ x, step, keep }) {
    const bins = new Map();
    return {
      add(rows) {
        for (const row of rows) {
          const bin = Math.floor(time(row[x]) / step) * step;
          bins.set(bin, (bins.get(bin) ?? 0) + 1);
        }
        const ordered = [...bins.keys()].sort((a, b) => a - b);
        for (const old of ordered.slice(0, Math.max(0, ordered.length - keep))) bins.delete(old);
      },
      clear: () => bins.clear(),
      columns() {
        const ordered = [...bins.keys()].sort((a, b) => a - b);
        return { x: ordered, count: ordered.map((bin) => bins.get(bin)) };
      },
    };
  },
};

export function render({ model, view, el }) {
  const badge = document.createElement("div");
  badge.className = "rtap-state";
  badge.style.cssText = "font: 12px sans-serif; color: #667; min-height: 16px";
  el.appendChild(badge);

  const reduction = reductions[model.reduce](model.options);
  let dirty = false;
  let received = 0;
  let state = "connecting";
  let firstRow = "";
  let reason = "";

  const show = () => {
    const words = { live: "live", away: "hub is away, trying again", expired: "this picture is from an earlier day: load it again", connecting: "connecting", unknown: reason };
    const waiting = received === 0 && state === "live" && firstRow ? ` yet: ${firstRow}` : "";
    badge.textContent = `${words[state] ?? state} · ${received} rows${waiting}`;
    badge.dataset.state = state;
    badge.dataset.rows = String(received);
  };

  const paint = () => {
    dirty = false;
    const target = view.model.document?.get_model_by_name(model.target);
    if (!target) return;
    const data = reduction.columns();
    target.data = data;
    if (data.key) {
      const plot = view.model.document.get_model_by_name(`${model.target}-figure`);
      if (plot) plot.y_range.factors = [...data.key].reverse();
    }
  };

  const listener = {
    rows(change) {
      const snapshot = change.kind === "snapshot";
      if (snapshot) {
        firstRow = change.firstRow || "no job answers this query yet";
        reduction.clear();
      }
      reduction.add(change.rows);
      received = snapshot ? change.rows.length : received + change.rows.length;
      show();
      if (!dirty) {
        dirty = true;
        setTimeout(() => requestAnimationFrame(paint), 80); // at most about ten times a second
      }
    },
    state(word, why) {
      state = word;
      reason = why;
      show();
    },
  };
  show();
  if (!model.url) {
    badge.textContent = "a static picture";
    return;
  }
  return connect(model.url, model.token).follow({ channel: model.channel, source: model.source }, listener);
}
