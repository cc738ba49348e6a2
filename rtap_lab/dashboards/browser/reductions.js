// Rows to what is drawn. Pure; rtap_lab/dashboards/reductions.py is its twin for pictures without a browser, and a test holds
// the two equal on random rows (tests/browser/test_live_client.py). Times are milliseconds; `span` is [begin, end) or null.

const timeOf = (value) => (typeof value === "number" ? value : Date.parse(value));
const within = (rows, x, span) =>
  span ? rows.filter((row) => timeOf(row[x]) >= span[0] && timeOf(row[x]) < span[1]) : rows;
const ordered = (numbers) => [...numbers].sort((a, b) => a - b);
const labelOf = (value) => (value === null || value === undefined || value === "" ? "(none)" : String(value));
const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

const wholeSteps = ([begin, end], step) => {
  const whole = [Math.ceil(begin / step) * step, Math.floor(end / step) * step];
  return whole[0] < whole[1] ? whole : [begin, end];
};

const reductions = {
  // a point per time, measures of one time added up; where a window is missing there is a point without values. Split by a
  // column, `ys` are its values, and `y` is what is added up
  series(rows, { x, ys, step, keep, split, y: measure }, span = null) {
    const sums = new Map();
    for (const row of within(rows, x, span)) {
      const at = timeOf(row[x]);
      const sum = sums.get(at) ?? ys.map(() => 0);
      if (split) {
        const n = ys.indexOf(row[split]);
        if (n >= 0) sum[n] += row[measure] ?? 0;
      } else ys.forEach((y, n) => (sum[n] += row[y] ?? 0));
      sums.set(at, sum);
    }
    const data = { x: [] };
    for (const y of ys) data[y] = [];
    let before = null;
    for (const at of ordered(sums.keys()).slice(-keep)) {
      if (step && before !== null && at - before > step * 1.5) {
        data.x.push(before + step);
        for (const y of ys) data[y].push(NaN);
      }
      data.x.push(at);
      ys.forEach((y, n) => data[y].push(sums.get(at)[n]));
      before = at;
    }
    return data;
  },

  // the greatest keys: added up, or of the newest window alone
  top(rows, { key, value, keep, newest, x }, span = null) {
    let chosen = within(rows, x, span);
    if (newest) {
      const last = Math.max(...chosen.map((row) => timeOf(row[x])), -Infinity);
      chosen = chosen.filter((row) => timeOf(row[x]) === last);
    }
    const sums = new Map();
    for (const row of chosen) {
      const name = labelOf(row[key]);
      sums.set(name, (sums.get(name) ?? 0) + (value === null ? 1 : row[value] ?? 0));
    }
    const best = [...sums].sort((a, b) => b[1] - a[1] || byText(a[0], b[0])).slice(0, keep);
    return { key: best.map((e) => e[0]), value: best.map((e) => e[1]), rank: best.map((_, i) => i) };
  },

  // a line for each of the `most` keys with the greatest sums
  lines(rows, { x, y, by, keep, most, step }, span = null) {
    const chosen = within(rows, x, span);
    const names = reductions.top(chosen, { key: by, value: y, keep: most, x }).key;
    const data = { name: names, xs: [], ys: [], rank: names.map((_, n) => n) };
    for (const name of names) {
      const points = reductions.series(chosen.filter((row) => labelOf(row[by]) === name), { x, ys: [y], keep, step });
      data.xs.push(points.x);
      data.ys.push(points[y]);
    }
    return data;
  },

  // the sum of each hour of the day (UTC) and each of the `keep` keys with the greatest sums
  heat(rows, { x, y, value, keep }, span = null) {
    const chosen = within(rows, x, span);
    const names = reductions.top(chosen, { key: y, value, keep, x }).key;
    const sums = new Map();
    for (const row of chosen) {
      const n = names.indexOf(labelOf(row[y]));
      if (n < 0) continue;
      const hour = (((Math.floor((timeOf(row[x]) - 1) / 3600_000) % 24) + 24) % 24);
      sums.set(hour * 1000 + n, (sums.get(hour * 1000 + n) ?? 0) + (row[value] ?? 0));
    }
    const cells = ordered(sums.keys());
    return {
      hour: cells.map((cell) => String(Math.floor(cell / 1000)).padStart(2, "0")),
      key: cells.map((cell) => names[cell % 1000]),
      value: cells.map((cell) => sums.get(cell)),
    };
  },

  // the sum of each measure
  total(rows, { x, ys }, span = null) {
    const chosen = within(rows, x, span);
    return { name: [...ys], value: ys.map((y) => chosen.reduce((sum, row) => sum + (row[y] ?? 0), 0)) };
  },

  // the newest rows, the newest first
  newest(rows, { x, columns, keep }, span = null) {
    const chosen = [...within(rows, x, span)].sort((a, b) => timeOf(b[x]) - timeOf(a[x])).slice(0, keep);
    return Object.fromEntries(columns.map((name) => [name, chosen.map((row) => row[name] ?? null)]));
  },

  // the areas under a series, each a polygon down to zero; none where a gap is
  filled({ x, ...values }) {
    const pieces = [];
    let piece = [];
    x.forEach((_, n) => {
      if (Object.values(values).every((each) => Number.isNaN(each[n]))) {
        if (piece.length) pieces.push(piece);
        piece = [];
      } else piece.push(n);
    });
    if (piece.length) pieces.push(piece);
    const around = (column, back) => pieces.flatMap((each, k) => [...(k ? [NaN] : []), ...each.map((n) => column[n]), ...[...each].reverse().map((n) => back(column[n]))]);
    const data = { x: around(x, (at) => at) };
    for (const [name, column] of Object.entries(values)) data[name] = around(column, () => 0);
    return data;
  },

  // how many rows by `step` milliseconds; none is 0 in between. Of a span only steps that lie in it whole: a piece of one is no drop
  count(rows, { x, step, keep }, span = null) {
    const bins = new Map();
    for (const row of within(rows, x, span && wholeSteps(span, step))) {
      const bin = Math.floor(timeOf(row[x]) / step) * step;
      bins.set(bin, (bins.get(bin) ?? 0) + 1);
    }
    const found = ordered(bins.keys());
    const data = { x: [], count: [] };
    if (found.length === 0) return data;
    const last = found[found.length - 1];
    for (let bin = Math.max(found[0], last - (keep - 1) * step); bin <= last; bin += step) {
      data.x.push(bin);
      data.count.push(bins.get(bin) ?? 0);
    }
    return data;
  },
};
