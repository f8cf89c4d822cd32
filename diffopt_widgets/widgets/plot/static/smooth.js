// @ts-check
// The moving average of a column, kept up as rows arrive.
import { BLOCK, Column, finite } from "./column.js";

/** What is left of the weight of rows this long ago does not show in 32 bits. */
const NEGLIGIBLE = 1e-7;

/** Exponential moving average of a column, corrected for its start from zero. Of blocks that are coarse the kernel tells the
 * average's extremes; behind them it begins anew, and counts once what was before is forgotten. */
export class Smoothed {
  /** @param {number} beta weight of the past, 0 to below 1 */
  constructor(beta) {
    this.beta = beta;
    this.column = new Column();
    this.rows = 0;
    this.sum = 0;
    this.weight = 0;
    /** Row before which the average still lacks what came before a coarse block. */
    this.settled = 0;
  }

  /** Take in all rows again. */
  begin() {
    this.rows = this.sum = this.weight = this.settled = 0;
    this.column.chunks = [];
  }

  /** Rows before a range that its averages need. */
  get before() {
    return this.beta > 0 ? Math.ceil(Math.log(NEGLIGIBLE) / Math.log(this.beta)) : 0;
  }

  /** Take in the rows of `source` up to `rows`. A row without a value has none here either.
   * @param {Column} source @param {number} rows @param {(block: number) => boolean} coarse */
  update(source, rows, coarse = () => false) {
    this.column.reserve(rows);
    while (this.rows < rows) {
      const block = Math.floor(this.rows / BLOCK);
      const stop = Math.min(rows, (block + 1) * BLOCK);
      if (coarse(block)) {
        this.sum = this.weight = 0;
        this.settled = BLOCK * Math.ceil((stop + this.before) / BLOCK);
      } else {
        const out = this.averages(source, this.rows, stop);
        if (stop > this.settled || !(this.column.low[block] >= 0)) this.column.write(this.rows, out);
      }
      this.rows = stop;
    }
  }

  /** @param {Column} source @param {number} from @param {number} to */
  averages(source, from, to) {
    const out = new Float32Array(to - from).fill(NaN);
    for (let row = from; row < to; row++) {
      const value = source.at(row);
      if (!finite(value)) continue;
      this.sum = this.beta * this.sum + (1 - this.beta) * value;
      this.weight = this.beta * this.weight + (1 - this.beta);
      out[row - from] = this.sum / this.weight;
    }
    return out;
  }
}
