// @ts-check
// The page's side of the conversation with the kernel: takes rows in, notices what is lost, asks for it.
import { layout, picture } from "./picture.js";
import { RunStore } from "./store.js";

/**
 * @typedef {import("./picture.js").Run} Run
 * @typedef {{id: number, start: number, n: number, columns: string[]}} Part
 */

/** How often to look whether something is lost, ms. */
const LOOK_EVERY = 200;
/** A live run that was silent for so long is asked about, ms. */
const SILENCE = 2000;
/** Longest time between two questions, ms: a busy kernel answers them all when it is free. */
const RAREST = 60_000;

/** @template T @param {DataView} view @param {new (buffer: ArrayBuffer) => T} type @returns {T} */
function typed(view, type) {
  return new type(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer);
}

/** A question that is put ever more rarely while nothing changes. */
class Patience {
  /** @param {number} first */
  constructor(first) {
    this.first = first;
    this.wait = first;
    this.at = 0;
    this.reset();
  }

  reset() {
    this.wait = this.first;
    this.at = performance.now() + this.first;
  }

  /** Whether it is time to ask (and then count it as asked). */
  due() {
    if (performance.now() < this.at) return false;
    this.wait = Math.min(RAREST, 2 * this.wait);
    this.at = performance.now() + this.wait;
    return true;
  }
}

/** The runs of a plot and their rows. One for all views of a plot. */
export class Feed {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Map<number, RunStore>} */
    this.stores = new Map();
    /** Called when something to draw has changed. @type {Set<() => void>} */
    this.listeners = new Set();
    /** Runs shown or hidden here, until the kernel agrees. @type {Map<number, boolean>} */
    this.wished = new Map();
    this.silence = new Patience(SILENCE);
    this.gap = new Patience(LOOK_EVERY);
    this.strangers = new Patience(0);
    this.missing = "";
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    /** Somebody waits for every row to be here. @type {(() => void)[]} */
    this.waiting = [];
    model.on("change:runs", () => this.runsChanged());
    model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
      if (message?.k === "rows") this.take(message.parts, buffers);
    });
    this.send({ k: "hello" });
    this.runsChanged();
  }

  /** @returns {Run[]} */
  get runs() {
    const runs = /** @type {Run[]} */ (this.model.get("runs") ?? []);
    return runs.map((run) => ({ ...run, visible: this.wished.get(run.id) ?? run.visible }));
  }

  /** @param {object} message @param {ArrayBuffer[]} [buffers] */
  send(message, buffers) {
    try {
      this.model.send(message, undefined, buffers);
    } catch {
      // no kernel: what is here is all there is
    }
  }

  /** @param {number} id */
  store(id) {
    let store = this.stores.get(id);
    if (!store) this.stores.set(id, (store = new RunStore()));
    return store;
  }

  /** @param {Part[]} parts @param {DataView[]} buffers */
  take(parts, buffers) {
    for (const [i, part] of parts.entries()) {
      const values = typed(buffers[2 * i + 1], Float32Array);
      this.store(part.id).write(part.start, typed(buffers[2 * i], Float64Array), part.columns, values);
    }
    const known = new Set(this.runs.map((run) => run.id));
    if (parts.some((part) => !known.has(part.id)) && this.strangers.due()) this.send({ k: "hello" });
    this.changed();
  }

  runsChanged() {
    const known = new Set(this.runs.map((run) => run.id));
    for (const id of this.stores.keys()) if (!known.has(id)) this.stores.delete(id);
    for (const { id, visible } of this.model.get("runs") ?? [])
      if (this.wished.get(id) === visible) this.wished.delete(id);
    for (const run of this.runs) if (run.total !== null) this.store(run.id).expect(run.total);
    this.changed();
  }

  changed() {
    this.silence.reset();
    if (this.complete) {
      clearInterval(this.timer);
      this.timer = undefined;
      for (const go of this.waiting.splice(0)) go();
    } else this.timer ??= setInterval(() => this.look(), LOOK_EVERY);
    for (const listener of this.listeners) listener();
  }

  /** Whether every run has ended and all of its rows are here. */
  get complete() {
    return this.runs.every((run) => run.total !== null && this.store(run.id).missing.length === 0);
  }

  /** Ask for gaps, and whether there is more of runs that have been silent. */
  look() {
    const gaps = this.runs.flatMap((run) => this.store(run.id).missing.map(([from, to]) => ({ id: run.id, from, to })));
    const missing = JSON.stringify(gaps);
    if (missing !== this.missing) this.gap.reset();
    this.missing = missing;
    if (gaps.length && this.gap.due()) for (const gap of gaps) this.send({ k: "resync", ...gap });
    const live = this.runs.filter((run) => run.total === null);
    if (live.length && this.silence.due()) {
      for (const run of live) this.send({ k: "resync", id: run.id, from: this.store(run.id).length, to: null });
    }
  }

  /** Show or hide a run: here at once, in the kernel when it listens. @param {number} id */
  toggle(id) {
    const visible = !this.runs.find((run) => run.id === id)?.visible;
    this.wished.set(id, visible);
    this.send({ k: "visible", id, visible });
    this.changed();
  }

  /** What to draw. @param {{range: [number, number] | null, width: number, smoothing: number, expected?: string[]}} view */
  picture(view) {
    return picture({ panels: this.model.get("_panels"), runs: this.runs, store: (id) => this.store(id), ...view });
  }

  /** How to draw it. @param {import("./picture.js").Picture} drawn @param {number} width
   * @param {import("./picture.js").Theme} theme */
  layout(drawn, width, theme) {
    const [height, log] = [this.model.get("height"), this.model.get("log")];
    return layout(drawn, { width, height, log, theme });
  }

  /** The whole plot with a legend, on white. @param {any} Plotly @returns {Promise<string>} data URL of a PNG */
  image(Plotly) {
    const width = 1200;
    const drawn = this.picture({ range: null, width, smoothing: this.model.get("smoothing") });
    const plain = this.layout(drawn, width, { text: "#222", back: "#fff", line: "#ddd", size: 11 });
    const legend = 24 * Math.ceil(this.runs.length / 3);
    const height = plain.height + legend;
    const full = {
      ...plain,
      height,
      margin: { ...plain.margin, b: plain.margin.b + legend },
      paper_bgcolor: "#fff",
      showlegend: true,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
    };
    return Plotly.toImage({ data: drawn.data, layout: full }, { format: "png", width, height, scale: 1 });
  }

  /** Give the kernel the picture that it asked for, once all rows are here. @param {any} Plotly */
  async sendImage(Plotly) {
    if (!this.complete) await new Promise((/** @type {(value?: any) => void} */ go) => this.waiting.push(go));
    const url = await this.image(Plotly);
    const bytes = Uint8Array.from(atob(url.split(",")[1]), (character) => character.charCodeAt(0));
    this.send({ k: "png" }, [bytes.buffer]);
  }

  close() {
    clearInterval(this.timer);
    this.listeners.clear();
  }
}
