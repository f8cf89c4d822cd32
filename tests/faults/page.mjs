// The page's side of live plots without a browser, for connection.py: each line that comes holds what reaches the pages and how
// much time passes, and each line that goes what the pages send.
import { mock } from "node:test";
import { createInterface } from "node:readline";
import { Feed } from "../../diffopt_widgets/widgets/plot/static/feed.js";

let now = 0;
mock.method(performance, "now", () => now);
mock.timers.enable({ apis: ["setInterval"] });

const pages = new Map();
let sent = [];

const view = (text) => {
  const bytes = Buffer.from(text, "base64");
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

/** One page with one plot. */
class Page {
  constructor(name, state) {
    this.state = state;
    this.handlers = [];
    this.feed = new Feed({
      get: (trait) => this.state[trait],
      on: (names, act) => names.split(" ").forEach((event) => this.handlers.push([event, act])),
      send: (content) => sent.push({ page: name, content }),
    });
  }

  fire(event, ...content) {
    for (const [name, act] of this.handlers) if (name === event) act(...content);
  }

  take({ state, content, buffers = [] }) {
    if (content) return this.fire("msg:custom", content, buffers.map(view));
    Object.assign(this.state, state);
    for (const name of Object.keys(state)) this.fire(`change:${name}`);
  }

  /** What it has of each run: how many rows, which are missing, the steps and the losses. */
  rows() {
    return this.feed.runs.map(({ id, key, total }) => {
      const { length, missing, steps, columns } = this.feed.store(id);
      const loss = columns.get("loss");
      const values = Array.from({ length }, (_, row) => [steps.at(row), loss ? loss.at(row) : null]);
      return { key, total, length, missing, values };
    });
  }
}

const acts = {
  open: ({ page, state }) => pages.set(page, new Page(page, state)),
  close({ page }) {
    pages.get(page).feed.close();
    pages.delete(page);
  },
  message: ({ page, message }) => pages.get(page)?.take(message),
  pass({ ms }) {
    now += ms;
    mock.timers.tick(ms);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  for (const act of asked) if (act.k !== "rows") acts[act.k](act);
  const rows = asked.filter(({ k }) => k === "rows").map(({ page }) => pages.get(page).rows());
  process.stdout.write(`${JSON.stringify({ sent, rows })}\n`);
  sent = [];
}
