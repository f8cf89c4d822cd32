// @ts-check
// What part of the plot is in sight: one range along, for all panels, and one up for each that was zoomed. No page.

/**
 * @typedef {import("./run_rows.js").Interval} Interval
 * @typedef {import("./picture.js").Panel} Panel
 */

/** Plotly's names of the axes of the panels, each with a key that stays when panels come and go.
 * @param {Record<string, any>} layout @param {Panel[]} shown @returns {[string, string][]} key, name */
function upright(layout, shown) {
  return shown.flatMap(({ key }, i) => {
    const left = i ? `yaxis${i + 1}` : "yaxis";
    const right = Object.keys(layout).find((name) => layout[name]?.overlaying === (i ? `y${i + 1}` : "y"));
    /** @type {[string, string][]} */
    const names = [[key, left]];
    return right ? [...names, [`${key} right`, right]] : names;
  });
}

/** @param {any} axis @returns {Interval | null} */
const rangeOf = (axis) => (axis?.autorange === false && axis.range ? axis.range.map(Number) : null);

export class Zoom {
  constructor() {
    /** Along; null for all. @type {Interval | null} */
    this.x = null;
    /** @type {Map<string, {range: Interval, type: string}>} */
    this.y = new Map();
  }

  get any() {
    return this.x !== null || this.y.size > 0;
  }

  clear() {
    this.x = null;
    this.y.clear();
  }

  /** Take over what somebody did in Plotly. @param {Record<string, any>} layout @param {Panel[]} shown */
  read(layout, shown) {
    this.x = rangeOf(layout.xaxis);
    this.y.clear();
    for (const [key, name] of upright(layout, shown)) {
      const range = rangeOf(layout[name]);
      if (range) this.y.set(key, { range, type: layout[name].type ?? "linear" });
    }
  }

  /** Put it into a layout that says nothing of it; what was zoomed on another scale is forgotten.
   * @param {Record<string, any>} layout @param {Panel[]} shown */
  apply(layout, shown) {
    const x = this.x;
    if (x) for (const i of shown.keys()) Object.assign(layout[i ? `xaxis${i + 1}` : "xaxis"], fixed(x));
    for (const [key, name] of upright(layout, shown)) {
      const zoomed = this.y.get(key);
      if (!zoomed) continue;
      if (zoomed.type === (layout[name].type ?? "linear")) Object.assign(layout[name], fixed(zoomed.range));
      else this.y.delete(key);
    }
  }

  /** What a key does to a panel: arrows pan, + and − zoom along, 0 and Home show all. Whether it does anything.
   * @param {string} key @param {number} panel its place among those shown
   * @param {Record<string, any>} layout as Plotly has it now @param {Panel[]} shown */
  press(key, panel, layout, shown) {
    const along = PAN_X[key] ?? 0;
    const up = PAN_Y[key] ?? 0;
    const scale = SCALE[key] ?? 1;
    if (key === "0" || key === "Home") this.clear();
    else if (along || scale !== 1) this.x = moved(layout.xaxis.range.map(Number), along, scale);
    else if (up) {
      const axis = layout[panel ? `yaxis${panel + 1}` : "yaxis"];
      this.y.set(shown[panel].key, { range: moved(axis.range.map(Number), up, 1), type: axis.type ?? "linear" });
    } else return false;
    return true;
  }
}

/** @type {Record<string, number>} */
const PAN_X = { ArrowLeft: -0.15, ArrowRight: 0.15 };
/** @type {Record<string, number>} */
const PAN_Y = { ArrowDown: -0.15, ArrowUp: 0.15 };
/** @type {Record<string, number>} */
const SCALE = { "+": 0.7, "=": 0.7, "-": 1 / 0.7, _: 1 / 0.7 };

/** @param {Interval} range */
const fixed = (range) => ({ range: [...range], autorange: false });

/** @param {Interval} range @param {number} by as a share of it @param {number} scale about its middle @returns {Interval} */
function moved([a, b], by, scale) {
  const [middle, half] = [(a + b) / 2 + by * (b - a), ((b - a) / 2) * scale];
  return [middle - half, middle + half];
}
