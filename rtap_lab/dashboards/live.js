// The browser side of a live chart: one WebSocket per page and hub, rows reduced to a Bokeh source.

const hubs = (globalThis.__rtapHubs ??= new Map());

class HubConnection {
  constructor(url, token) {
    this.url = url;
    this.token = token;
    this.feeds = new Map(); // "channel/source" -> {have, epoch, listeners}
    this.wait = 300;
    this.open();
  }

  open() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.wait = 300;
      this.socket.send(JSON.stringify({ type: "authorize", token: this.token }));
      for (const key of this.feeds.keys()) this.ask(key);
      this.tell("live");
    };
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data), Date.now());
    this.socket.onclose = (event) => {
      if (event.code === 4401) {
        this.expired = true; // coming back with this token is of no use
        return this.tell("expired");
      }
      this.tell("away");
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 2, 5000);
    };
  }

  // A chart that was drawn later brings a token that is good for longer.
  renew(token) {
    if (parseInt(token) <= parseInt(this.token)) return;
    this.token = token;
    if (this.expired) this.open();
    this.expired = false;
  }

  ask(key) {
    const [channel, source] = key.split("/");
    if (this.socket.readyState === WebSocket.OPEN)
      this.socket.send(JSON.stringify({ type: "subscribe", channel, source }));
  }

  subscribe(channel, source, listener) {
    const key = `${channel}/${source}`;
    if (!this.feeds.has(key)) this.feeds.set(key, { have: -1, rows: [], listeners: new Set() });
    const feed = this.feeds.get(key);
    feed.listeners.add(listener);
    if (feed.have >= 0) listener.rows(feed.rows, true, feed.firstRow);
    else this.ask(key);
    listener.state(this.expired ? "expired" : this.socket.readyState === WebSocket.OPEN ? "live" : "away");
    return () => {
      feed.listeners.delete(listener);
      if (feed.listeners.size === 0) {
        this.feeds.delete(key);
        if (this.socket.readyState === WebSocket.OPEN)
          this.socket.send(JSON.stringify({ type: "unsubscribe", channel, source }));
      }
    };
  }

  tell(state) {
    for (const feed of this.feeds.values()) for (const each of feed.listeners) each.state(state);
  }

  receive(message, now) {
    const key = `${message.channel}/${message.source}`;
    const feed = this.feeds.get(key);
    if (!feed) return;
    if (message.type === "snapshot") {
      feed.have = message.seq;
      feed.rows = message.rows;
      feed.firstRow = message.first_row ?? "";
      for (const each of feed.listeners) each.rows(feed.rows, true, feed.firstRow);
    } else if (message.type === "update" && message.seq > feed.have) {
      if (message.prev_seq !== feed.have) return this.ask(key); // a gap: begin again
      feed.have = message.seq;
      feed.rows = feed.rows.concat(message.rows).slice(-2000);
      for (const each of feed.listeners) each.rows(message.rows, false);
    }
  }
}

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

  const show = () => {
    const words = { live: "live", away: "hub is away, trying again", expired: "this picture is from an earlier day: load it again", connecting: "connecting" };
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
    rows(rows, snapshot, words) {
      if (snapshot) firstRow = words || "no job answers this query yet";
      if (snapshot) reduction.clear();
      reduction.add(rows);
      received = snapshot ? rows.length : received + rows.length;
      show();
      if (!dirty) {
        dirty = true;
        setTimeout(() => requestAnimationFrame(paint), 80); // at most about ten times a second
      }
    },
    state(now) {
      state = now;
      show();
    },
  };
  show();
  if (!model.url) {
    badge.textContent = "a static picture";
    return;
  }
  if (!hubs.has(model.url)) hubs.set(model.url, new HubConnection(model.url, model.token));
  hubs.get(model.url).renew(model.token);
  return hubs.get(model.url).subscribe(model.channel, model.source, listener);
}
