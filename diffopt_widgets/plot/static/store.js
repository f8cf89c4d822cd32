// @ts-check
// What the live plot knows: the rows of runs, kept by index, thinned to pixels, smoothed. No page, no Plotly.

/** Rows per block of the index of least and greatest values. */
const BLOCK = 256;

/** @param {number} value */
const finite = (value) => value - value === 0;

/** One column of values by row. A row without a value is NaN. */
export class Column {
  constructor() {
    this.values = new Float32Array(0);
    /** Row of the least and of the greatest finite value of each block; -1 where it has none. */
    this.low = new Int32Array(0);
    this.high = new Int32Array(0);
  }

  /** Make room for this many rows. @param {number} rows */
  reserve(rows) {
    if (rows <= this.values.length) return;
    let capacity = Math.max(4 * BLOCK, this.values.length);
    while (capacity < rows) capacity *= 2;
    const values = new Float32Array(capacity).fill(NaN, this.values.length);
    values.set(this.values);
    const low = new Int32Array(capacity / BLOCK).fill(-1, this.low.length);
    const high = new Int32Array(capacity / BLOCK).fill(-1, this.high.length);
    low.set(this.low);
    high.set(this.high);
    Object.assign(this, { values, low, high });
  }

  /** @param {number} start @param {ArrayLike<number>} values */
  write(start, values) {
    this.reserve(start + values.length);
    this.values.set(values, start);
    this.reindex(start, start + values.length);
  }

  /** Bring the blocks that hold rows start..stop up to date. @param {number} start @param {number} stop */
  reindex(start, stop) {
    for (let block = Math.floor(start / BLOCK); block * BLOCK < stop; block++) {
      [this.low[block], this.high[block]] = this.scan(block * BLOCK, (block + 1) * BLOCK);
    }
  }

  /** Rows of the least and the greatest finite value among rows from..to, row by row; -1 where there is none.
   * @param {number} from @param {number} to @returns {[number, number]} */
  scan(from, to) {
    const y = this.values;
    let low = -1;
    let high = -1;
    for (let i = from; i < to; i++) {
      if (!finite(y[i])) continue;
      if (low < 0 || y[i] < y[low]) low = i;
      if (high < 0 || y[i] > y[high]) high = i;
    }
    return [low, high];
  }

  /** The same as scan(), by whole blocks where there are some.
   * @param {number} from @param {number} to @returns {[number, number]} */
  extremes(from, to) {
    const first = Math.ceil(from / BLOCK);
    const last = Math.floor(to / BLOCK);
    if (last <= first) return this.scan(from, to);
    const y = this.values;
    let [low, high] = this.scan(from, first * BLOCK);
    /** @param {number} a @param {number} b */
    const merge = (a, b) => {
      if (a >= 0 && (low < 0 || y[a] < y[low])) low = a;
      if (b >= 0 && (high < 0 || y[b] > y[high])) high = b;
    };
    for (let block = first; block < last; block++) merge(this.low[block], this.high[block]);
    merge(...this.scan(last * BLOCK, to));
    return [low, high];
  }
}

/**
 * Which rows of lo..hi to draw: all when they are few, else the first, the last, and of each of `buckets` equal parts the
 * least and the greatest value; of a part without any value one row, so that the line breaks there.
 * @param {Column} column @param {number} lo @param {number} hi @param {number} buckets @returns {Int32Array} ascending rows
 */
export function thin(column, lo, hi, buckets) {
  const n = Math.max(0, hi - lo);
  if (n <= 2 * buckets) return Int32Array.from({ length: n }, (_, i) => lo + i);
  const rows = new Int32Array(2 * buckets + 2);
  let k = 0;
  /** @param {number} row */
  const keep = (row) => {
    if (k === 0 || rows[k - 1] < row) rows[k++] = row;
  };
  keep(lo);
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = lo + Math.floor((bucket * n) / buckets);
    const [low, high] = column.extremes(from, lo + Math.floor(((bucket + 1) * n) / buckets));
    keep(low < 0 ? from : Math.min(low, high));
    if (low >= 0) keep(Math.max(low, high));
  }
  keep(hi - 1);
  return rows.slice(0, k);
}

/** Exponential moving average of a column, corrected for its start from zero, kept up as rows arrive. */
export class Smoothed {
  /** @param {number} beta weight of the past, 0 to below 1 */
  constructor(beta) {
    this.beta = beta;
    this.column = new Column();
    this.rows = 0;
    this.sum = 0;
    this.weight = 0;
  }

  /** Take in the rows of `source` up to `rows`. A row without a value has none here either.
   * @param {Column} source @param {number} rows */
  update(source, rows) {
    if (rows <= this.rows) return;
    this.column.reserve(rows);
    const out = this.column.values;
    for (let i = this.rows; i < rows; i++) {
      const value = source.values[i];
      if (finite(value)) {
        this.sum = this.beta * this.sum + (1 - this.beta) * value;
        this.weight = this.beta * this.weight + (1 - this.beta);
        out[i] = this.sum / this.weight;
      } else out[i] = NaN;
    }
    this.column.reindex(this.rows, rows);
    this.rows = rows;
  }
}

/** First index of the ascending `values[0..n]` that is not below `value`. @param {ArrayLike<number>} values
 * @param {number} n @param {number} value */
export function lowerBound(values, n, value) {
  let a = 0;
  let b = n;
  while (a < b) {
    const middle = (a + b) >> 1;
    if (values[middle] < value) a = middle + 1;
    else b = middle;
  }
  return a;
}

/** `applied_lr[unet]` is a column of `applied_lr`. @param {string} name */
export const baseName = (name) => name.split("[", 1)[0];

/** The rows of one run. Messages may come late, twice or never: rows are kept by their index. */
export class RunStore {
  constructor() {
    /** One more than the greatest row known to exist. */
    this.length = 0;
    this.steps = new Float64Array(0);
    /** @type {Map<string, Column>} */
    this.columns = new Map();
    /** Rows known to exist that have not come, as ascending [from, to). @type {[number, number][]} */
    this.missing = [];
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
    this.expect(start, steps[0]);
    this.grow(start + n);
    this.steps.set(steps, start);
    this.arrived(start, start + n);
    for (const [i, name] of names.entries()) {
      let column = this.columns.get(name);
      if (!column) this.columns.set(name, (column = new Column()));
      column.write(start, values.subarray(i * n, (i + 1) * n));
    }
    for (const column of this.columns.values()) column.reserve(this.length);
    for (const [name, average] of this.averages) if (start < average.rows) this.averages.delete(name);
    this.compareGroups(start, start + n, names);
  }

  /** Rows up to `length` exist; those that have not come are missing. `nextStep` is the step of row `length`.
   * @param {number} length @param {number} [nextStep] */
  expect(length, nextStep) {
    const from = this.length;
    if (length <= from) return;
    this.grow(length);
    // Steps between, so that the row of a step is found by halving while the true ones are on their way.
    const before = from ? this.steps[from - 1] : 0;
    const each = nextStep === undefined ? 1 : (nextStep - before) / (length - from + 1);
    for (let i = from; i < length; i++) this.steps[i] = before + each * (i - from + 1);
    for (const column of this.columns.values()) column.reserve(length);
    const last = this.missing.at(-1);
    if (last && last[1] === from) last[1] = length;
    else this.missing.push([from, length]);
  }

  /** @param {number} length */
  grow(length) {
    if (length > this.steps.length) {
      const steps = new Float64Array(Math.max(1024, 2 ** Math.ceil(Math.log2(length))));
      steps.set(this.steps);
      this.steps = steps;
    }
    this.length = Math.max(this.length, length);
  }

  /** @param {number} start @param {number} stop */
  arrived(start, stop) {
    this.missing = this.missing.flatMap(([from, to]) => {
      /** @type {[number, number][]} */
      const left = [
        [from, Math.min(to, start)],
        [Math.max(from, stop), to],
      ];
      return left.filter(([a, b]) => a < b);
    });
  }

  /** @param {number} start @param {number} stop @param {string[]} names */
  compareGroups(start, stop, names) {
    /** @type {Map<string, Column>} */
    const first = new Map();
    for (const name of names) {
      const base = baseName(name);
      const column = /** @type {Column} */ (this.columns.get(name));
      const other = first.get(base);
      if (!other) first.set(base, column);
      else if (!this.split.has(base)) {
        for (let i = start; i < stop; i++) {
          if (column.values[i] !== other.values[i] && (finite(column.values[i]) || finite(other.values[i]))) {
            this.split.add(base);
            break;
          }
        }
      }
    }
  }

  /** What to draw for a column: itself, or one of its groups when they all agree, or every group.
   * @param {string} base @returns {{name: string, group: string}[]} */
  lines(base) {
    const names = [...this.columns.keys()].filter((name) => baseName(name) === base);
    if (!this.split.has(base)) return names.slice(0, 1).map((name) => ({ name, group: "" }));
    return names.map((name) => ({ name, group: name.slice(base.length + 1, -1) }));
  }

  /** The column's moving average. @param {string} name @param {number} beta @returns {Column} */
  smoothed(name, beta) {
    let average = this.averages.get(name);
    if (!average || average.beta !== beta) this.averages.set(name, (average = new Smoothed(beta)));
    average.update(/** @type {Column} */ (this.columns.get(name)), this.length);
    return average.column;
  }

  /** Rows to look at for the steps of `range`, one more on either side; all without a range.
   * @param {[number, number] | null} range @returns {[number, number]} */
  rows(range) {
    if (!range) return [0, this.length];
    const lo = lowerBound(this.steps, this.length, range[0]) - 1;
    const hi = lowerBound(this.steps, this.length, range[1]) + 2;
    return [Math.max(0, lo), Math.min(this.length, hi)];
  }
}
