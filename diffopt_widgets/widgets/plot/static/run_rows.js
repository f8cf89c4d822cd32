// @ts-check
// What the live plot knows of one run: which rows have come, one by one or by the extremes of blocks. No page, no Plotly.
import { BLOCK, CHUNK, Column, finite, grown, lowerBound } from "./column.js";
import { Smoothed } from "./smooth.js";

/**
 * @typedef {import("./column.js").Summary} Summary
 * @typedef {"step" | "time" | "samples"} Axis
 * @typedef {[number, number]} Interval from the first to before the last
 */

/** `applied_lr[unet]` is a column of `applied_lr`. @param {string} name */
export const baseName = (name) => name.split("[", 1)[0];

/** The rows of one run. Messages may come late, twice or never: rows are kept by their index. */
export class RunRows {
  constructor() {
    /** One more than the greatest row known to exist. */
    this.length = 0;
    this.steps = new Column(Float64Array);
    /** @type {Map<string, Column>} */
    this.columns = new Map();
    /** Rows known to exist that have not come, ascending. @type {Interval[]} */
    this.missing = [];
    /** By block, 1 where only its extremes are known. */
    this.summaries = new Uint8Array(0);
    this.isCoarse = (/** @type {number} */ block) => this.summaries[block] === 1;
    /** Grouped columns whose groups differ in some row. @type {Set<string>} */
    this.split = new Set();
    /** @type {Map<string, Smoothed>} */
    this.averages = new Map();
  }

  /** Rows start.. of the columns `names`, whose values lie one column after the other.
   * @param {number} start @param {Float64Array} steps @param {string[]} names @param {Float32Array} values */
  write(start, steps, names, values) {
    const n = steps.length;
    if (n === 0) return;
    this.come(start, start + n, steps[0]);
    this.steps.write(start, steps);
    for (const [i, name] of names.entries()) this.column(name).write(start, values.subarray(i * n, (i + 1) * n));
    for (let block = Math.ceil(start / BLOCK); (block + 1) * BLOCK <= start + n; block++) this.summaries[block] = 0;
    this.compareGroups(start, start + n, names);
  }

  /** The extremes of whole blocks, from row `start` on.
   * @param {number} start @param {Summary} steps the first and the last of each block
   * @param {Map<string, Summary>} columns */
  summarize(start, steps, columns) {
    const [first, count] = [start / BLOCK, steps.least.length];
    // What came row by row is not known less well now.
    const known = Array.from({ length: count }, (_, i) => this.isExact(first + i));
    this.come(start, start + count * BLOCK, steps.least[0]);
    this.steps.summarize(first, steps);
    for (const [name, summary] of columns) this.column(name).summarize(first, summary);
    for (const [i, exact] of known.entries()) this.summaries[first + i] = exact ? 0 : 1;
    this.compareSummaries(columns);
  }

  /** Whether all rows of a block have come one by one. @param {number} block */
  isExact(block) {
    const [from, to] = [block * BLOCK, (block + 1) * BLOCK];
    return to <= this.length && !this.isCoarse(block) && !this.missing.some(([a, b]) => a < to && from < b);
  }

  /** The extremes of a column's mean, for the blocks of which no more is known.
   * @param {number} start @param {string} name @param {number} beta @param {Summary} summary */
  summarizeAverage(start, name, beta, summary) {
    let average = this.averages.get(name);
    if (average?.beta !== beta) this.averages.set(name, (average = new Smoothed(beta)));
    average.column.summarize(start / BLOCK, summary);
    average.begin();
  }

  /** @param {string} name */
  column(name) {
    let column = this.columns.get(name);
    if (!column) this.columns.set(name, (column = new Column()));
    column.reserve(this.length);
    return column;
  }

  /** Rows from..to are here now. @param {number} from @param {number} to @param {number} step of the first of them */
  come(from, to, step) {
    this.expect(from, step);
    this.grow(to);
    this.missing = this.missing.flatMap(([a, b]) => {
      /** @type {Interval[]} */
      const left = [
        [a, Math.min(b, from)],
        [Math.max(a, to), b],
      ];
      return left.filter(([first, last]) => first < last);
    });
    for (const average of this.averages.values()) if (from < average.rows) average.begin();
  }

  /** Rows up to `length` exist; those that have not come are missing. `nextStep` is the step of row `length`.
   * @param {number} length @param {number} [nextStep] */
  expect(length, nextStep) {
    const from = this.length;
    if (length <= from) return;
    // Steps between, so that the row of a step is found by halving while the true ones are on their way.
    const before = from ? this.steps.between(from - 1) : 0;
    const each = nextStep === undefined ? 1 : (nextStep - before) / (length - from + 1);
    /** @param {number} row */
    const guess = (row) => before + each * (row - from + 1);
    this.grow(length);
    const [first, last] = [Math.ceil(from / BLOCK), Math.floor(length / BLOCK)];
    if (first < last) {
      const blocks = Array.from({ length: last - first }, (_, i) => (first + i) * BLOCK);
      this.steps.summarize(first, {
        low: new Uint8Array(blocks.length),
        high: new Uint8Array(blocks.length).fill(BLOCK - 1),
        least: Float64Array.from(blocks, guess),
        most: Float64Array.from(blocks, (row) => guess(row + BLOCK - 1)),
      });
    }
    for (let row = from; row < length; row++) {
      if (row === first * BLOCK && first < last) row = last * BLOCK;
      if (row < length) this.steps.write(row, [guess(row)]);
    }
    const end = this.missing.at(-1);
    if (end && end[1] === from) end[1] = length;
    else this.missing.push([from, length]);
  }

  /** @param {number} length */
  grow(length) {
    this.length = Math.max(this.length, length);
    const blocks = Math.ceil(this.length / BLOCK);
    if (blocks > this.summaries.length) this.summaries = grown(this.summaries, 2 * blocks, 0);
    this.steps.reserve(this.length);
    for (const column of this.columns.values()) column.reserve(this.length);
  }

  /** @param {number} start @param {number} stop @param {string[]} names */
  compareGroups(start, stop, names) {
    for (const [base, column, other] of this.pairs(names)) {
      for (let row = start; row < stop; row++) {
        const [a, b] = [column.at(row), other.at(row)];
        if (a !== b && (finite(a) || finite(b))) {
          this.split.add(base);
          break;
        }
      }
    }
  }

  /** @param {Map<string, Summary>} columns */
  compareSummaries(columns) {
    for (const [base, , , name, first] of this.pairs([...columns.keys()])) {
      const [a, b] = [/** @type {Summary} */ (columns.get(name)), /** @type {Summary} */ (columns.get(first))];
      const differs = [
        [a.least, b.least],
        [a.most, b.most],
      ].some(([x, y]) => x.some((value, i) => value !== y[i] && finite(value || y[i])));
      if (differs) this.split.add(base);
    }
  }

  /** Of grouped columns that are not known to differ: each but the first, and the first.
   * @param {string[]} names @returns {[string, Column, Column, string, string][]} */
  pairs(names) {
    /** @type {Map<string, string>} */
    const firsts = new Map();
    /** @type {[string, Column, Column, string, string][]} */
    const found = [];
    for (const name of names) {
      const base = baseName(name);
      const first = firsts.get(base);
      if (first === undefined) firsts.set(base, name);
      else if (!this.split.has(base)) found.push([base, this.column(name), this.column(first), name, first]);
    }
    return found;
  }

  /** What to draw for a column: itself, or one of its groups when they all agree, or every group.
   * @param {string} base @returns {{name: string, group: string}[]} */
  lines(base) {
    const names = [...this.columns.keys()].filter((name) => baseName(name) === base);
    if (!this.split.has(base)) return names.slice(0, 1).map((name) => ({ name, group: "" }));
    return names.map((name) => ({ name, group: name.slice(base.length + 1, -1) }));
  }

  /** The column's centred mean. While the kernel has not told a new one of coarse blocks, the old one is drawn.
   * @param {string} name @param {number} beta @returns {Column} */
  smoothed(name, beta) {
    let average = this.averages.get(name);
    if (!average || (average.beta !== beta && !this.lacksAverage(name, beta)))
      this.averages.set(name, (average = new Smoothed(beta)));
    average.update(/** @type {Column} */ (this.columns.get(name)), this.length, this.isCoarse);
    return average.column;
  }

  /** Whether the kernel has to tell the average of coarse blocks. @param {string} name @param {number} beta */
  lacksAverage(name, beta) {
    const average = this.averages.get(name);
    return average !== undefined && average.beta !== beta && this.summaries.includes(1);
  }

  /** Where rows lie on an axis; null when that is not known of this run.
   * @param {Axis} axis @param {number | null} [samplesPerStep] @returns {((row: number) => number) | null} */
  place(axis, samplesPerStep) {
    if (axis === "step") return (row) => this.steps.between(row);
    if (axis === "samples") return samplesPerStep ? (row) => samplesPerStep * this.steps.between(row) : null;
    const seconds = this.columns.get("seconds");
    return seconds ? (row) => seconds.between(row) : null;
  }

  /** Rows to look at for a range of an axis, one more on either side; all without a range.
   * @param {Interval | null} range @param {(row: number) => number} [place] @returns {Interval} */
  rows(range, place = (row) => this.steps.between(row)) {
    if (!range) return [0, this.length];
    const lo = lowerBound(place, this.length, range[0]) - 1;
    const hi = lowerBound(place, this.length, range[1]) + 2;
    return [Math.max(0, lo), Math.min(this.length, hi)];
  }

  /** The blocks among rows lo..hi of which only extremes are known, as rows of their span; null when there are none.
   * @param {number} lo @param {number} hi @returns {Interval | null} */
  coarseSpan(lo, hi) {
    let [from, to] = [-1, -1];
    for (let block = Math.floor(lo / BLOCK); block * BLOCK < hi; block++) {
      if (!this.isCoarse(block)) continue;
      if (from < 0) from = block;
      to = block + 1;
    }
    return from < 0 ? null : [from * BLOCK, to * BLOCK];
  }

  /** How many values are kept one by one. */
  get size() {
    const columns = [this.steps, ...this.columns.values(), ...[...this.averages.values()].map(({ column }) => column)];
    return columns.reduce((sum, column) => sum + CHUNK * column.chunks.filter(Boolean).length, 0);
  }

  /** Keep only the extremes of the oldest rows, chunk by chunk, until no more than `most` values are kept one by one; the
   * newest rows and those of `spared` stay. @param {number} most @param {Interval | null} spared */
  shrink(most, spared) {
    const each = CHUNK * (1 + this.columns.size + this.averages.size);
    let over = this.size - most;
    const last = Math.floor((this.missing[0]?.[0] ?? this.length) / CHUNK) - 1;
    for (let number = 0; number < last && over > 0; number++) {
      const [from, to] = [number * CHUNK, (number + 1) * CHUNK];
      if (!this.steps.chunks[number] || (spared && from < spared[1] && spared[0] < to)) continue;
      for (const column of [this.steps, ...this.columns.values()]) column.forget(number);
      this.summaries.fill(1, from / BLOCK, to / BLOCK);
      over -= each;
    }
    for (const average of this.averages.values()) average.begin();
  }
}
