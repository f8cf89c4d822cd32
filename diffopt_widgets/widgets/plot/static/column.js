// @ts-check
// One column of a run: its values by row where the page has them, else the extremes of each block; thinned to pixels.

/** Rows per block of the index of extremes; the kernel summarizes by the same blocks. */
export const BLOCK = 256;
/** Rows that are allocated at once. */
export const CHUNK = 16 * BLOCK;

/** @typedef {Float32Array | Float64Array} Values */
/** @typedef {Float32ArrayConstructor | Float64ArrayConstructor} Kind */
/** By block: in which of its rows the least and the greatest finite value lie (from 0; 255 and NaN where there is none), and
 * those values. @typedef {{low: Uint8Array, high: Uint8Array, least: Values, most: Values}} Summary */

/** @param {number} value */
export const finite = (value) => value - value === 0;

/** A larger copy, its new part filled. @template {Values | Int32Array | Uint8Array} T
 * @param {T} old @param {number} length @param {number} rest @returns {T} */
export function grown(old, length, rest) {
  const made = new /** @type {any} */ (old.constructor)(length).fill(rest, old.length);
  made.set(old);
  return made;
}

/** One column of values by row. A row without a value is NaN, and so is one of which only the block's extremes are known. */
export class Column {
  /** @param {Kind} kind */
  constructor(kind = Float32Array) {
    this.kind = kind;
    /** By CHUNK rows, where rows have come one by one. @type {(Values | undefined)[]} */
    this.chunks = [];
    /** Row of the least and of the greatest finite value of each block, -1 where it has none; and those values. */
    this.low = new Int32Array(0);
    this.high = new Int32Array(0);
    this.least = /** @type {Values} */ (new kind(0));
    this.most = /** @type {Values} */ (new kind(0));
  }

  /** Make room for this many rows. @param {number} rows */
  reserve(rows) {
    const blocks = Math.ceil(rows / BLOCK);
    if (blocks <= this.low.length) return;
    const capacity = Math.max(16, 2 ** Math.ceil(Math.log2(blocks)));
    this.low = grown(this.low, capacity, -1);
    this.high = grown(this.high, capacity, -1);
    this.least = grown(this.least, capacity, NaN);
    this.most = grown(this.most, capacity, NaN);
  }

  /** @param {number} row */
  at(row) {
    const value = this.chunks[Math.floor(row / CHUNK)]?.[row % CHUNK];
    if (value !== undefined && !Number.isNaN(value)) return value;
    const block = Math.floor(row / BLOCK);
    if (this.low[block] === row) return this.least[block];
    return this.high[block] === row ? this.most[block] : NaN;
  }

  /** The value of a row, between those that are known of its block in a column that only rises. @param {number} row */
  between(row) {
    const value = this.at(row);
    const block = Math.floor(row / BLOCK);
    if (!Number.isNaN(value) || !(this.low[block] >= 0)) return value;
    const [from, to, low, high] = [this.low[block], this.high[block], this.least[block], this.most[block]];
    return to === from ? low : low + ((high - low) * (row - from)) / (to - from);
  }

  /** @param {number} start @param {ArrayLike<number>} values */
  write(start, values) {
    const stop = start + values.length;
    this.reserve(stop);
    for (let row = start; row < stop;) {
      const number = Math.floor(row / CHUNK);
      const end = Math.min(stop, (number + 1) * CHUNK);
      const chunk = (this.chunks[number] ??= new this.kind(CHUNK).fill(NaN));
      for (; row < end; row++) chunk[row % CHUNK] = values[row - start];
    }
    this.reindex(start, stop);
  }

  /** Blocks of which only this is known. @param {number} first number of the first block @param {Summary} summary */
  summarize(first, { low, high, least, most }) {
    this.reserve((first + low.length) * BLOCK);
    for (let i = 0; i < low.length; i++) {
      const none = Number.isNaN(least[i]);
      this.low[first + i] = none ? -1 : (first + i) * BLOCK + low[i];
      this.high[first + i] = none ? -1 : (first + i) * BLOCK + high[i];
    }
    this.least.set(least, first);
    this.most.set(most, first);
  }

  /** Bring the blocks that hold rows start..stop up to date. @param {number} start @param {number} stop */
  reindex(start, stop) {
    for (let block = Math.floor(start / BLOCK); block * BLOCK < stop; block++) {
      const [low, high] = this.scan(block * BLOCK, (block + 1) * BLOCK);
      [this.least[block], this.most[block]] = low < 0 ? [NaN, NaN] : [this.at(low), this.at(high)];
      [this.low[block], this.high[block]] = [low, high];
    }
  }

  /** Rows of the least and the greatest finite value among rows from..to, row by row; -1 where there is none.
   * @param {number} from @param {number} to @returns {[number, number]} */
  scan(from, to) {
    let [low, high, least, most] = [-1, -1, Infinity, -Infinity];
    /** @param {number} row @param {number} value */
    const take = (row, value) => {
      if (low < 0 || value < least || (value === least && row < low)) [low, least] = [row, value];
      if (high < 0 || value > most || (value === most && row < high)) [high, most] = [row, value];
    };
    for (let row = from; row < to;) {
      const block = Math.floor(row / BLOCK);
      const end = Math.min(to, (block + 1) * BLOCK);
      const chunk = this.chunks[Math.floor(row / CHUNK)];
      // What is known of the block counts where its row has not come.
      for (const known of [this.low[block], this.high[block]]) {
        if (known >= row && known < end && finite(this.at(known))) take(known, this.at(known));
      }
      if (chunk) {
        for (let i = row % CHUNK, last = i + end - row; i < last; i++, row++) {
          const value = chunk[i];
          if ((value < least || value > most) && finite(value)) take(row, value);
        }
      }
      row = end;
    }
    return [low, high];
  }

  /** The same as scan(), by whole blocks where there are some.
   * @param {number} from @param {number} to @returns {[number, number]} */
  extremes(from, to) {
    const first = Math.ceil(from / BLOCK);
    const last = Math.floor(to / BLOCK);
    if (last <= first) return this.scan(from, to);
    const { low: lows, high: highs, least: leasts, most: mosts } = this;
    let [low, high] = this.scan(from, first * BLOCK);
    let [least, most] = [low < 0 ? NaN : this.at(low), high < 0 ? NaN : this.at(high)];
    for (let i = first; i < last; i++) {
      if (lows[i] >= 0 && (low < 0 || leasts[i] < least)) [low, least] = [lows[i], leasts[i]];
      if (highs[i] >= 0 && (high < 0 || mosts[i] > most)) [high, most] = [highs[i], mosts[i]];
    }
    if (last * BLOCK < to) {
      const [a, b] = this.scan(last * BLOCK, to);
      if (a >= 0 && (low < 0 || this.at(a) < least)) low = a;
      if (b >= 0 && (high < 0 || this.at(b) > most)) high = b;
    }
    return [low, high];
  }

  /** Let go of the rows of a chunk; the extremes of its blocks stay. @param {number} number */
  forget(number) {
    this.chunks[number] = undefined;
  }
}

/**
 * Which rows of lo..hi to draw: all when they are few, else the first, the last, and of each of `buckets` equal parts the
 * least and the greatest value; of a part without any value one row, so that the line breaks there. Of blocks that are
 * `coarse`, only the rows whose values are known.
 * @param {Column} column @param {number} lo @param {number} hi @param {number} buckets
 * @param {(block: number) => boolean} coarse @returns {Int32Array} ascending rows
 */
export function thin(column, lo, hi, buckets, coarse = () => false) {
  const n = Math.max(0, hi - lo);
  const few = n <= 2 * buckets;
  const rows = new Int32Array(few ? n : 2 * buckets + 2);
  let k = 0;
  /** @param {number} row */
  const keep = (row) => {
    if (k > 0 && rows[k - 1] >= row) return;
    const block = Math.floor(row / BLOCK);
    const unknown = coarse(block) && column.low[block] >= 0 && Number.isNaN(column.at(row));
    if (!unknown) rows[k++] = row;
  };
  if (few) for (let row = lo; row < hi; row++) keep(row);
  else {
    // Parts that end where blocks do are found from the blocks alone.
    const grid = n < buckets * BLOCK ? 1 : BLOCK;
    /** @param {number} bucket */
    const edge = (bucket) => {
      if (bucket === buckets) return hi;
      return bucket ? grid * Math.floor((lo + (bucket * n) / buckets) / grid) : lo;
    };
    keep(lo);
    for (let bucket = 0; bucket < buckets; bucket++) {
      const from = edge(bucket);
      const [low, high] = column.extremes(from, edge(bucket + 1));
      keep(low < 0 ? from : Math.min(low, high));
      if (low >= 0) keep(Math.max(low, high));
    }
    keep(hi - 1);
  }
  return rows.slice(0, k);
}

/** First row of 0..n whose `value` is not below `wanted`; values rise with the row. @param {(row: number) => number} value
 * @param {number} n @param {number} wanted */
export function lowerBound(value, n, wanted) {
  let a = 0;
  let b = n;
  while (a < b) {
    const middle = (a + b) >> 1;
    if (value(middle) < wanted) a = middle + 1;
    else b = middle;
  }
  return a;
}
