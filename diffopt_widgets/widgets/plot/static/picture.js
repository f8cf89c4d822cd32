// @ts-check
// From rows to what Plotly draws: the lines of every panel, thinned. No page.
import { BLOCK, finite, thin } from "./column.js";
import { plotlyText, formatNumber } from "./format.js";
import { axesOf } from "./layout.js";

/**
 * @typedef {import("./column.js").Column} Column
 * @typedef {import("./run_rows.js").RunRows} RunRows
 * @typedef {import("./run_rows.js").Axis} Axis
 * @typedef {import("./run_rows.js").Interval} Interval
 * @typedef {{id: number, key: string, name: string, color: string, dash: string, schedule: boolean, visible: boolean, total: number | null,
 *   details: Record<string, string>, group: string, setting: string, samples_per_step: number | null}} Run
 * @typedef {{name: string, dash: string, schedule: boolean}} Curve
 * @typedef {{key: string, title: string, scale: string, smooth: boolean, optional: boolean, sparse: boolean,
 *   unless: string, columns: Curve[]}} Panel
 * @typedef {{panel: Panel, axis: number, run: Run, seeds: Run[], curve: Curve, name: string, group: string, i: number}} Wanted a line of
 *   `run`, or of all its `seeds` together
 * @typedef {Record<string, any> & {x: Float64Array, y: Float32Array}} Trace
 * @typedef {{id: number, from: number, to: number}} Rows rows of a run
 * @typedef {{shown: Panel[], data: Trace[], points: number, smoothing: number, runs: number, detail: Rows[]}} Picture what to draw,
 *   how many runs these are, several seeds of a setting counted once, and of which rows more should be known for it
 * @typedef {{panels: Panel[], runs: Run[], store: (id: number) => RunRows, range: Interval | null, width: number,
 *   smoothing: number, x?: Axis, expected?: string[], picked?: number | null, scale?: number}} Request `picked`: the run that stands out;
 *   `scale` widens the lines
 * @typedef {{range: Interval | null, x: Axis, buckets: number, smoothing: number, picked: number | null, scale: number,
 *   faintly: boolean}} View
 */

/** Points on screen in all; Plotly needs 30 to 60 ms for as many inside JupyterLab. */
const POINTS = 4000;
/** Fewer values of a sparse column than this are drawn as points too. */
const MARKED = 100;
/** Most runs whose single values are drawn faintly beside their means. */
const FAINT_RUNS = 12;
/** Of the runs beside the one that stands out. */
const FADED = 0.15;
/** Of the range of several seeds; `curves.py` has the same. */
const BAND_OPACITY = 0.18;
/** Of a run's groups whose values differ, in turn. */
const GROUP_OPACITY = [1, 0.6, 0.4];

/** Runs that are drawn and listed as one: those that differ by their seed only, in the place of the first; every other alone.
 * @param {Run[]} runs @returns {Run[][]} */
export function together(runs) {
  /** @type {Map<string | number, Run[]>} */
  const sets = new Map();
  for (const run of runs) {
    const key = run.setting || run.id;
    const set = sets.get(key);
    if (set) set.push(run);
    else sets.set(key, [run]);
  }
  return [...sets.values()];
}

/** @param {Run[]} seeds drawn as one */
export const nameOf = (seeds) =>
  seeds.length > 1 ? `${seeds[0].setting} (${seeds.length} seeds)` : (seeds[0]?.name ?? "");

/** The lines of every visible run, thinned to the panel's `width` in pixels and to what the screen can bear. An optional
 * panel is there when it has lines, or when they are expected. Of a run that has the column `unless`, a panel has no lines; where it
 * has some, it stands in for the panel that begins with that column, if that one has none.
 * @param {Request} request @returns {Picture} */
export function picture({
  panels,
  runs,
  store,
  range,
  width,
  smoothing,
  x = "step",
  expected = [],
  picked = null,
  scale = 1,
}) {
  const visible = runs.filter((run) => run.visible && store(run.id).place(x, run.samples_per_step));
  /** @param {Run} run @param {Panel} panel @param {Curve} curve */
  const lines = (run, panel, curve) => {
    const rows = store(run.id);
    if (panel.unless && rows.lines(panel.unless).length) return [];
    if (curve.schedule && !(run.schedule && rows.lines(panel.columns[0].name).length)) return [];
    return rows.lines(curve.name);
  };
  /** @param {Panel} panel */
  const filled = (panel) => visible.some((run) => panel.columns.some((curve) => lines(run, panel, curve).length));
  const standingIn = panels.filter((panel) => panel.unless && filled(panel)).map((panel) => panel.unless);
  /** @param {Panel} panel */
  const empty = (panel) =>
    panel.optional ? !expected.includes(panel.key) : standingIn.includes(panel.columns[0].name);
  const shown = panels.filter((panel) => filled(panel) || !empty(panel));
  const sets = together(visible);
  /** The lines of the run that has most of them: its groups may differ where those of another seed do not.
   * @param {Run[]} seeds @param {Panel} panel @param {Curve} curve */
  const linesOf = (seeds, panel, curve) =>
    seeds.map((run) => lines(run, panel, curve)).reduce((most, one) => (one.length > most.length ? one : most));
  const wanted = shown.flatMap((panel, axis) =>
    sets.flatMap((seeds) =>
      panel.columns.flatMap((curve) =>
        linesOf(seeds, panel, curve).map(({ name, group }, i) => {
          const having = seeds.filter((run) => store(run.id).columns.has(name));
          return { panel, axis, run: having[0], seeds: having, curve, name, group, i };
        }),
      ),
    ),
  );
  /** @param {Wanted} line */
  const parts = ({ panel, seeds }) => (seeds.length > 1 || (panel.smooth && smoothing > 0) ? 2 : 1);
  const count = wanted.reduce((sum, line) => sum + parts(line), 0);
  const buckets = Math.max(40, Math.min(Math.ceil(width), Math.floor(POINTS / (2 * Math.max(1, count)))));
  const view = { range, x, buckets, smoothing, picked, scale, faintly: sets.length <= FAINT_RUNS };
  const drawn = wanted.map((line) =>
    line.seeds.length > 1 ? band(line, store, view) : traces(line, store(line.run.id), view),
  );
  // Over bands and single values lie the means and medians of all.
  const data = [...drawn.flatMap((line) => line.slice(0, -1)), ...drawn.map((line) => line[line.length - 1])];
  const points = data.reduce((sum, trace) => sum + trace.x.length, 0);
  const blank = shown.map((_, axis) => axis).filter((axis) => !wanted.some((line) => line.axis === axis));
  const detail = visible.flatMap((run) => lacking(run, store(run.id), range, x, buckets));
  return { shown, data: [...data, ...blank.map(frame)], points, smoothing, runs: sets.length, detail };
}

/** Rows in sight that would show more than the extremes of their blocks, and those on both sides that their means need.
 * @param {Run} run @param {RunRows} store @param {Interval | null} range @param {Axis} x @param {number} buckets
 * @returns {Rows[]} */
function lacking(run, store, range, x, buckets) {
  const [lo, hi] = store.rows(range, store.place(x, run.samples_per_step) ?? undefined);
  if (hi - lo >= buckets * BLOCK) return [];
  const reach = Math.max(0, ...[...store.averages.values()].map((average) => average.reach));
  const span = store.coarseSpan(lo, hi) && store.coarseSpan(Math.max(0, lo - reach), hi + reach);
  return span ? [{ id: run.id, from: span[0], to: span[1] }] : [];
}

/** What makes Plotly draw the axes of a panel that has no line. @param {number} axis @returns {Trace} */
function frame(axis) {
  const nothing = { x: Float64Array.of(NaN), y: Float32Array.of(NaN), showlegend: false, hoverinfo: "skip" };
  return { type: "scatter", mode: "lines", ...axesOf(axis), ...nothing };
}

/** @param {Wanted} wanted @param {RunRows} store
 * @param {View} view @returns {Trace[]} */
function traces(
  { panel, axis, run, curve, name, group, i },
  store,
  { range, x, buckets, smoothing, picked, scale, faintly },
) {
  const main = curve === panel.columns[0];
  const label = [run.name, group, curve.schedule ? "schedule" : main ? "" : curve.name].filter(Boolean).join(" · ");
  const opacity =
    GROUP_OPACITY[Math.min(i, GROUP_OPACITY.length - 1)] * (picked === null || picked === run.id ? 1 : FADED);
  const own = curve.dash === "solid";
  const line = { color: run.color, width: scale * (own ? 1.8 : 1.1), dash: own ? run.dash : curve.dash };
  const place = /** @type {(row: number) => number} */ (store.place(x, run.samples_per_step));
  const [lo, hi] = store.rows(range, place);
  const column = /** @type {Column} */ (store.columns.get(name));
  /** @param {Column} drawn @param {object} style */
  const trace = (drawn, style) => {
    let rows = thin(drawn, lo, hi, buckets, store.isCoarse);
    if (panel.sparse) rows = rows.filter((row) => !Number.isNaN(drawn.at(row)));
    const few = rows.length < 2 || (panel.sparse && rows.length < MARKED);
    return {
      type: "scatter",
      mode: few ? "lines+markers" : "lines",
      marker: { color: run.color, size: 5 * scale },
      x: filled(new Float64Array(rows.length), rows, place),
      y: filled(new Float32Array(rows.length), rows, (row) => drawn.at(row)),
      text: drawn === column ? undefined : Array.from(rows, (row) => told(column.at(row), drawn.at(row))),
      ...axesOf(axis, curve.schedule),
      name: plotlyText(label),
      legendgroup: run.id,
      showlegend: false,
      line,
      opacity,
      ...style,
    };
  };
  /** @param {string} value */
  const front = (value) => ({
    showlegend: axis === 0 && main && i === 0,
    hovertemplate: `${value}<extra>${plotlyText(label + (main ? differing(run) : ""))}</extra>`,
  });
  if (!panel.smooth || smoothing === 0) return [trace(column, front("%{y:.7~g}"))];
  const faint = { line: { ...line, width: scale, dash: "solid" }, opacity: 0.35 * opacity, hoverinfo: "skip" };
  const mean = trace(store.smoothed(name, smoothing), front("%{text}"));
  return faintly ? [trace(column, faint), mean] : [mean];
}

/** The median of several seeds with the range of their values. A row is the same step in all of them. The thinned range is that of
 * all rows, the median that of one row of each part. @param {Wanted} wanted @param {(id: number) => RunRows} store
 * @param {View} view @returns {Trace[]} */
function band(wanted, store, { range, x, buckets, smoothing, picked, scale, faintly }) {
  const { panel, axis, run, seeds, curve, name, group, i } = wanted;
  const main = curve === panel.columns[0];
  const smooth = panel.smooth && smoothing > 0;
  const members = seeds.map(({ id, samples_per_step }) => {
    const rows = store(id);
    const place = /** @type {(row: number) => number} */ (rows.place(x, samples_per_step));
    const column = /** @type {Column} */ (rows.columns.get(name));
    return { rows, place, span: rows.rows(range, place), column: smooth ? rows.smoothed(name, smoothing) : column };
  });
  const longest = members.reduce((most, one) => (one.rows.length > most.rows.length ? one : most));
  const [lo, hi] = [Math.min(...members.map(({ span }) => span[0])), Math.max(...members.map(({ span }) => span[1]))];
  /** By part: its first row, the row before the next part, and the row that stands for it. @type {[number, number, number][]} */
  const parts = [];
  if (panel.sparse) {
    const rows = new Set(
      members.flatMap(({ column, rows }) => [...thin(column, lo, Math.min(hi, rows.length), buckets)]),
    );
    for (const row of [...rows].sort((a, b) => a - b)) parts.push([row, row + 1, row]);
  } else {
    const most = Math.min(faintly ? 2 * buckets : buckets, hi - lo);
    // Whole blocks, of which the extremes are known, wherever that does not halve the parts.
    const blocks = Math.floor((hi - lo) / BLOCK);
    const [count, grid] = 2 * blocks > most ? [Math.min(most, blocks), BLOCK] : [most, 1];
    const edge = (/** @type {number} */ part) =>
      part === count ? hi : part ? grid * Math.floor((lo + (part * (hi - lo)) / count) / grid) : lo;
    for (let part = 0; part < count; part++) {
      const [from, to] = [edge(part), edge(part + 1)];
      parts.push([from, to, part === count - 1 ? to - 1 : part ? (from + to - 1) >> 1 : from]);
    }
  }
  const n = parts.length;
  const [along, middle] = [new Float64Array(n), new Float32Array(n)];
  const [least, most] = [new Float32Array(n), new Float32Array(n)];
  const [values, places] = [new Float64Array(members.length), new Float64Array(members.length)];
  /** Range of the seeds at the row that stands for a part, to be read under the pointer. @type {[number, number][]} */
  const ends = [];
  let size = 0;
  for (const [from, to, row] of parts) {
    let [count, low, high] = [0, Infinity, -Infinity];
    for (const { rows, column, place } of members) {
      if (row >= rows.length) continue;
      const value = near(column, row, rows);
      if (!finite(value)) continue;
      values[count] = value;
      places[count++] = x === "time" ? place(row) : 0;
      const [a, b] = to - from > 1 ? column.extremes(from, Math.min(to, rows.length)) : [row, row];
      low = Math.min(low, a < 0 ? value : near(column, a, rows));
      high = Math.max(high, b < 0 ? value : near(column, b, rows));
    }
    if (!count && panel.sparse) continue;
    along[size] = x === "time" && count ? median(places, count) : longest.place(row);
    // A seed that ended early may have been the slower one; the line does not turn back there.
    if (size && along[size] < along[size - 1]) along[size] = along[size - 1];
    ends.push(count ? [Math.min(...values.subarray(0, count)), Math.max(...values.subarray(0, count))] : [NaN, NaN]);
    middle[size] = count ? median(values, count) : NaN;
    least[size] = count ? low : NaN;
    most[size++] = count ? high : NaN;
  }
  const label = [nameOf(seeds), group, curve.schedule ? "schedule" : main ? "" : curve.name]
    .filter(Boolean)
    .join(" · ");
  const here = picked === null || seeds.some(({ id }) => id === picked);
  const opacity = GROUP_OPACITY[Math.min(i, GROUP_OPACITY.length - 1)] * (here ? 1 : FADED);
  const own = curve.dash === "solid";
  const common = { type: "scatter", ...axesOf(axis, curve.schedule), legendgroup: run.id };
  /** @type {Trace} */
  const line = {
    ...common,
    mode: size < 2 || (panel.sparse && size < MARKED) ? "lines+markers" : "lines",
    marker: { color: run.color, size: 5 * scale },
    x: along.subarray(0, size),
    y: middle.subarray(0, size),
    customdata: ends,
    name: plotlyText(label),
    showlegend: axis === 0 && main && i === 0,
    line: { color: run.color, width: scale * (own ? 1.8 : 1.1), dash: own ? run.dash : curve.dash },
    opacity,
    hovertemplate: `%{y:.5~g} (%{customdata[0]:.4~g} to %{customdata[1]:.4~g})<extra>${plotlyText(label)}</extra>`,
  };
  if (!main || !least.subarray(0, size).some((low, k) => most[k] > low)) return [line];
  const look = { mode: "lines", line: { width: 0, color: run.color }, fill: "toself", fillcolor: run.color };
  const outline = around(line.x, least, most);
  return [
    { ...common, ...look, ...outline, opacity: BAND_OPACITY * opacity, showlegend: false, hoverinfo: "skip" },
    line,
  ];
}

/** The value of a row; where only the extremes of its block are known, the one between them.
 * @param {Column} column @param {number} row @param {RunRows} rows */
function near(column, row, rows) {
  const value = column.at(row);
  const block = Math.floor(row / BLOCK);
  return Number.isNaN(value) && rows.isCoarse(block) ? (column.least[block] + column.most[block]) / 2 : value;
}

/** The median of the first `count` values, which are sorted by this. @param {Float64Array} values @param {number} count */
function median(values, count) {
  for (let i = 1; i < count; i++) {
    const value = values[i];
    let k = i;
    for (; k > 0 && values[k - 1] > value; k--) values[k] = values[k - 1];
    values[k] = value;
  }
  return (values[(count - 1) >> 1] + values[count >> 1]) / 2;
}

/** The outline of a band, each unbroken part of it on its own. @param {Float64Array} x @param {Float32Array} low
 * @param {Float32Array} high */
function around(x, low, high) {
  /** @type {[number, number][]} */
  const points = [];
  for (let from = 0; from < x.length; from++) {
    if (Number.isNaN(low[from])) continue;
    let to = from;
    while (to < x.length && !Number.isNaN(low[to])) to++;
    if (points.length) points.push([NaN, NaN]);
    for (let k = from; k < to; k++) points.push([x[k], high[k]]);
    for (let k = to - 1; k >= from; k--) points.push([x[k], low[k]]);
    from = to;
  }
  return { x: Float64Array.from(points, ([along]) => along), y: Float32Array.from(points, ([, up]) => up) };
}

/** An array with a value for each row; many times as fast as `from`. @template {Float32Array | Float64Array} T
 * @param {T} array @param {Int32Array} rows @param {(row: number) => number} value @returns {T} */
function filled(array, rows, value) {
  for (let i = 0; i < rows.length; i++) array[i] = value(rows[i]);
  return array;
}

/** The value of a step, where it is known, and the average there. @param {number} value @param {number} average */
function told(value, average) {
  const mean = `mean ${formatNumber(average)}`;
  return Number.isNaN(value) ? mean : `${formatNumber(value, 7)} (${mean})`;
}

/** The settings in which a run differs, where its name does not tell them. @param {Run} run */
export function differing(run) {
  const parts = run.name.split(/[ ·,]+/);
  const untold = Object.entries(run.details ?? {}).filter(
    ([name, value]) => !run.name.includes(`${name} ${value}`) && !parts.includes(value),
  );
  return untold.length ? ` (${untold.map((words) => words.join(" ")).join(", ")})` : "";
}
