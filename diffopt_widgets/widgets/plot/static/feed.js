// @ts-check
// The page's side of the conversation with the kernel: takes rows in, notices what is lost or needed, asks for it.
import { Echo, Patience } from "./asking.js";
import { baseName, RunRows } from "./run_rows.js";

/**
 * @typedef {import("./picture.js").Run} Run
 * @typedef {import("./picture.js").Panel} Panel
 * @typedef {import("./picture.js").Rows} Rows
 * @typedef {import("./column.js").Summary} Summary
 * @typedef {{n?: number, columns?: string[][], offset?: number | null}} Told of rows one by one: how many, which columns have
 *   each row of values, and what a row's number lacks to its step, null where steps come on their own
 * @typedef {Told & {id: number, start: number, blocks?: string[], average?: string, beta?: number}} Part the extremes of
 *   blocks of rows, those of a column's mean, or else rows one by one: what is not told of these is as of those before
 */

/** How often to look whether something is lost or needed, ms. */
const LOOK_EVERY = 200;
/** A live run that was silent for so long is asked about, ms. */
const SILENCE = 2000;
/** Values that are kept one by one, of all runs together: 4 bytes each. Of older rows the kernel is asked again. */
const MOST_VALUES = 24_000_000;

/** @template T @param {DataView} view @param {new (buffer: ArrayBuffer) => T} type @returns {T} */
function typed(view, type) {
  return new type(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer);
}

/** Extremes of blocks as the kernel packs them: of each column least, then greatest values, and in which rows they lie.
 * @param {DataView} values @param {DataView} places @param {number} count @returns {Summary[]} */
function summaries(values, places, count) {
  const [found, rows] = [typed(values, Float32Array), typed(places, Uint8Array)];
  const n = count ? found.length / (2 * count) : 0;
  return Array.from({ length: count }, (_, i) => {
    const [a, b, c] = [2 * i * n, (2 * i + 1) * n, (2 * i + 2) * n];
    const [least, most] = [found.subarray(a, b), found.subarray(b, c)];
    return { least, most, low: rows.subarray(a, b), high: rows.subarray(b, c) };
  });
}

/** Values of columns, one after the other, from those that several may share. @param {string[][]} columns
 * @param {Float32Array} values @param {number} n of each */
function apart(columns, values, n) {
  const found = new Float32Array(n * columns.flat().length);
  let to = 0;
  for (const [i, names] of columns.entries())
    for (const _ of names) found.set(values.subarray(i * n, (i + 1) * n), n * to++);
  return found;
}

/** The runs of a plot and their rows. One for all views of a plot. */
export class Feed {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Map<number, RunRows>} */
    this.stores = new Map();
    /** Called when something to draw has changed. @type {Set<() => void>} */
    this.listeners = new Set();
    /** Runs shown or hidden here, until the kernel agrees. @type {Map<number, boolean>} */
    this.wished = new Map();
    /** Rows that each view needs one by one. @type {Map<object, Rows[]>} */
    this.wanted = new Map();
    this.silence = new Patience(SILENCE);
    this.gap = new Patience(LOOK_EVERY);
    this.finer = new Patience(0, SILENCE);
    this.strangers = new Patience(0, SILENCE);
    this.echo = new Echo((message) => this.send(message));
    this.late = false;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    /** Somebody waits for every row to be here. @type {(() => void)[]} */
    this.waiting = [];
    model.on("change:runs", () => this.runsChanged());
    model.on("change:smoothing change:_panels", () => this.changed());
    model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
      if (message?.k === "rows") this.take(message.parts, buffers);
      if (message?.k === "echo") this.heard(message.q);
    });
    this.ask([{ k: "hello" }]);
    this.runsChanged();
  }

  /** @returns {Run[]} */
  get runs() {
    const runs = /** @type {Run[]} */ (this.model.get("runs") ?? []);
    return runs.map((run) => ({ ...run, visible: this.wished.get(run.id) ?? run.visible }));
  }

  /** @returns {Panel[]} */
  get panels() {
    return this.model.get("_panels");
  }

  /** @param {object} message @param {ArrayBuffer[]} [buffers] */
  send(message, buffers) {
    try {
      this.model.send(message, undefined, buffers);
    } catch {
      // no kernel: what is here is all there is
    }
  }

  /** @param {object[]} questions */
  ask(questions) {
    for (const question of questions) this.send(question);
    this.echo.follow();
  }

  /** The kernel has dealt with what was asked before. @param {number} number of the echo */
  heard(number) {
    this.echo.heard(number);
    this.look();
  }

  /** @param {number} id */
  store(id) {
    let store = this.stores.get(id);
    if (!store) this.stores.set(id, (store = new RunRows()));
    return store;
  }

  /** @param {Part[]} parts @param {DataView[]} buffers */
  take(parts, buffers) {
    const left = [...buffers];
    const next = () => /** @type {DataView} */ (left.shift());
    /** @type {Told} */
    let told = {};
    for (const part of parts) {
      const { id, start, blocks, average, beta = 0 } = part;
      const store = this.store(id);
      if (average) store.summarizeAverage(start, average, beta, summaries(next(), next(), 1)[0]);
      else if (blocks) {
        const ends = typed(next(), Float64Array);
        const count = ends.length / 2;
        const [low, high] = [new Uint8Array(count), new Uint8Array(count).fill(255)];
        const found = summaries(next(), next(), blocks.length);
        const steps = { low, high, least: ends.subarray(0, count), most: ends.subarray(count) };
        store.summarize(start, steps, new Map(blocks.map((name, i) => [name, found[i]])));
      } else {
        told = { ...told, ...part };
        const { n = 0, columns = [], offset = null } = told;
        const steps =
          offset === null
            ? typed(next(), Float64Array)
            : Float64Array.from({ length: n }, (_, i) => start + i + offset);
        store.write(start, steps, columns.flat(), apart(columns, typed(next(), Float32Array), n));
      }
    }
    const known = new Set(this.runs.map((run) => run.id));
    const drawn = new Set(["seconds", ...this.panels.flatMap((panel) => panel.columns.map(({ name }) => name))]);
    const strange = parts.some(
      ({ id, columns = [] }) => !known.has(id) || columns.flat().some((name) => !drawn.has(baseName(name))),
    );
    if (strange && this.strangers.due()) this.ask([{ k: "hello" }]);
    this.shrink();
    this.changed();
  }

  /** Keep the page's memory within bounds, whatever the length of the runs. */
  shrink() {
    const stores = [...this.stores.values()];
    if (stores.reduce((sum, { size }) => sum + size, 0) <= MOST_VALUES) return;
    for (const [id, store] of this.stores) {
      const seen = [...this.wanted.values()].flat().filter((rows) => rows.id === id);
      /** @type {[number, number]} */
      const span = [Math.min(...seen.map(({ from }) => from)), Math.max(...seen.map(({ to }) => to))];
      store.shrink((0.75 * MOST_VALUES) / stores.length, seen.length ? span : null);
    }
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
    if (this.complete) for (const go of this.waiting.splice(0)) go();
    this.attend();
    for (const listener of this.listeners) listener();
  }

  /** Look from time to time, as long as there is something to ask for or to wait for. */
  attend() {
    if (this.complete && !this.finerQuestions.length) {
      clearInterval(this.timer);
      this.timer = undefined;
    } else this.timer ??= setInterval(() => this.look(), LOOK_EVERY);
  }

  /** Whether every run has ended and all of its rows are here. */
  get complete() {
    return this.runs.every((run) => run.total !== null && this.store(run.id).missing.length === 0);
  }

  /** A view needs these rows one by one from now on, and no others. @param {object} view @param {Rows[]} rows */
  want(view, rows) {
    this.wanted.set(view, rows);
    this.attend();
    if (rows.length) this.look();
  }

  /** A view is gone, and with it what it needed. @param {object} view */
  leave(view) {
    this.wanted.delete(view);
    this.attend();
  }

  /** What would show more than is here: rows in sight, and averages of another weight. @returns {{k: string}[]} */
  get finerQuestions() {
    const rows = [...this.wanted.values()]
      .flat()
      .filter(({ id, from, to }) => this.stores.get(id)?.coarseSpan(from, to));
    const beta = this.model.get("smoothing");
    const names = this.panels.filter((panel) => panel.smooth).flatMap((panel) => panel.columns.map(({ name }) => name));
    const averages = beta > 0 ? names : [];
    return [
      ...rows.map((wanted) => ({ k: "detail", ...wanted })),
      ...[...this.stores].flatMap(([id, store]) =>
        averages.filter((name) => store.lacksAverage(name, beta)).map((name) => ({ k: "average", id, name, beta })),
      ),
    ];
  }

  /** Ask for gaps, for what would show more, and whether there is more of runs that have been silent. */
  look() {
    const questions = this.echo.open ? [] : this.questions();
    if (questions.length) this.ask(questions);
    const { late } = this.echo;
    if (late !== this.late) for (const listener of this.listeners) listener();
    this.late = late;
    this.attend();
  }

  /** What it is time to ask. @returns {object[]} */
  questions() {
    const gaps = this.runs.flatMap((run) => this.store(run.id).missing.map(([from, to]) => ({ id: run.id, from, to })));
    const finer = this.finerQuestions;
    const live = this.runs.filter((run) => run.total === null);
    return [
      ...(gaps.length && this.gap.due(gaps) ? gaps.map((gap) => ({ k: "resync", ...gap })) : []),
      ...(finer.length && this.finer.due(finer) ? finer : []),
      ...(live.length && this.silence.due()
        ? live.map(({ id }) => ({ k: "resync", id, from: this.store(id).length, to: null }))
        : []),
    ];
  }

  /** What a view lacks for want of an answer that takes long, in words. @param {object} view */
  lack(view) {
    if (!this.echo.late) return "";
    const rows = this.wanted.get(view) ?? [];
    const stores = this.runs.filter(({ visible }) => visible).map(({ id }) => this.store(id));
    const lacking = [
      ["Lost steps arrive", stores.some(({ missing }) => missing.length > 0)],
      ["More detail arrives", rows.some(({ id, from, to }) => this.stores.get(id)?.coarseSpan(from, to))],
      ["The new smoothing arrives", this.finerQuestions.some(({ k }) => k === "average")],
    ].find(([, lacks]) => lacks);
    return lacking ? `${lacking[0]} when the kernel is free (a running cell can keep it busy)` : "";
  }

  /** Show or hide runs: here at once, in the kernel when it listens. @param {number[]} ids @param {boolean} visible */
  show(ids, visible) {
    for (const id of ids) {
      this.wished.set(id, visible);
      this.send({ k: "visible", id, visible });
    }
    this.changed();
  }

  close() {
    clearInterval(this.timer);
    this.listeners.clear();
  }
}
