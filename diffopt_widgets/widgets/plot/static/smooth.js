// @ts-check
// The centred mean of a column, kept up as rows arrive; drawing/curves.py computes the same.
import { BLOCK, Column, finite } from "./column.js";

/** How many values a mean has on each side. @param {number} beta weight of the past in an exponential average of the same worth */
export const halfOf = (beta) => Math.floor(beta / (1 - beta) + 0.5);

/** The mean of each value and of up to `half` on both sides: at the end of fewer after it, and at the start, where `first` says
 * that there is none before, of as many after as before. Nothing is subtracted, so a huge value spoils only the means that
 * contain it. @param {number[]} values @param {number} half @param {boolean} first */
export function means(values, half, first) {
  const [n, size] = [values.length, 2 * half + 1];
  const [fromStart, toEnd] = [new Float64Array(n), new Float64Array(n)];
  for (let i = 0; i < n; i++) fromStart[i] = values[i] + (i % size ? fromStart[i - 1] : 0);
  for (let i = n - 1; i >= 0; i--) toEnd[i] = values[i] + ((i + 1) % size && i + 1 < n ? toEnd[i + 1] : 0);
  return Float64Array.from({ length: n }, (_, i) => {
    const a = Math.max(0, i - half);
    const b = Math.min(n - 1, i + (first ? Math.min(half, i) : half));
    const [partA, partB] = [Math.floor(a / size), Math.floor(b / size)];
    const sum = partA < partB ? toEnd[a] + fromStart[b] : a % size ? toEnd[a] : fromStart[b];
    return sum / (b - a + 1);
  });
}

/** Centred mean of a column. Of blocks that are coarse the kernel tells the mean's extremes; next to them it counts as far as it
 * lacks none of their values. */
export class Smoothed {
  /** @param {number} beta 0 to below 1 */
  constructor(beta) {
    this.beta = beta;
    this.column = new Column();
    this.rows = 0;
  }

  /** Take in all rows again. */
  begin() {
    this.rows = 0;
    this.column.chunks = [];
  }

  /** Rows on each side of a range that its means need. */
  get reach() {
    return halfOf(this.beta);
  }

  /** Take in the rows of `source` up to `rows`. A row without a value has none here either.
   * @param {Column} source @param {number} rows @param {(block: number) => boolean} coarse */
  update(source, rows, coarse = () => false) {
    this.column.reserve(rows);
    while (this.rows < rows) {
      let stop = this.rows;
      while (stop < rows && !coarse(Math.floor(stop / BLOCK))) stop = Math.min(rows, nextBlock(stop));
      if (stop > this.rows) this.take(source, this.rows, stop, coarse);
      while (stop < rows && coarse(Math.floor(stop / BLOCK))) stop = Math.min(rows, nextBlock(stop));
      this.rows = stop;
    }
  }

  /** Take in rows from..to, which are not coarse; those before whose means lacked them are taken again.
   * @param {Column} source @param {number} from @param {number} to @param {(block: number) => boolean} coarse */
  take(source, from, to, coarse) {
    const half = this.reach;
    const after = coarse(Math.floor(to / BLOCK));
    let start = from;
    const isCoarse = () => start % BLOCK === 0 && coarse(start / BLOCK - 1);
    for (let known = 0; start > 0 && known < 2 * half && !isCoarse();) if (finite(source.at(--start))) known++;
    /** @type {number[]} */
    const rows = [];
    for (let row = start; row < to; row++) if (finite(source.at(row))) rows.push(row);
    const mean = means(
      Array.from(rows, (row) => source.at(row)),
      half,
      start === 0,
    );
    // From where to where no mean lacks a value of its own. What else there is counts where the kernel has told nothing.
    const lacks = isCoarse();
    const settled = start === 0 ? 0 : (rows[half] ?? to);
    const unsettled = after && half ? (rows[Math.max(0, rows.length - half)] ?? from) : to;
    const begin = lacks || start === 0 ? start : Math.min(settled, from);
    const out = new Float32Array(to - begin).fill(NaN);
    for (const [i, row] of rows.entries()) if (row >= begin) out[row - begin] = mean[i];
    for (let row = begin; row < to; row = nextBlock(row)) {
      const end = Math.min(to, nextBlock(row));
      const told = this.column.low[Math.floor(row / BLOCK)] >= 0;
      const first = told && lacks ? Math.max(row, settled) : row;
      const last = told ? Math.min(end, unsettled) : end;
      if (first < last) this.column.write(first, out.subarray(first - begin, last - begin));
    }
  }
}

/** @param {number} row the first row of the block after its own */
const nextBlock = (row) => BLOCK * (Math.floor(row / BLOCK) + 1);
