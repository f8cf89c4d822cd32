// @ts-check
// From rows to what Plotly draws: the lines of every panel, thinned. No page.
import { BLOCK, thin } from "./column.js";
import { plotlyText, formatNumber } from "./format.js";
import { axesOf } from "./layout.js";

/**
 * @typedef {import("./column.js").Column} Column
 * @typedef {import("./run_rows.js").RunRows} RunRows
 * @typedef {import("./run_rows.js").Axis} Axis
 * @typedef {import("./run_rows.js").Interval} Interval
 * @typedef {{id: number, key: string, name: string, color: string, dash: string, schedule: boolean, visible: boolean, total: number | null,
 *   details: Record<string, string>, group: string, samples_per_step: number | null}} Run
 * @typedef {{name: string, dash: string, schedule: boolean}} Curve
 * @typedef {{key: string, title: string, scale: string, smooth: boolean, optional: boolean, sparse: boolean,
 *   unless: string, columns: Curve[]}} Panel
 * @typedef {{panel: Panel, axis: number, run: Run, curve: Curve, name: string, group: string, i: number}} Wanted
 * @typedef {Record<string, any> & {x: Float64Array, y: Float32Array}} Trace
 * @typedef {{id: number, from: number, to: number}} Rows rows of a run
 * @typedef {{shown: Panel[], data: Trace[], points: number, smoothing: number, runs: number, detail: Rows[]}} Picture what to draw,
 *   how many runs these are, and of which rows more should be known for it
 * @typedef {{panels: Panel[], runs: Run[], store: (id: number) => RunRows, range: Interval | null, width: number,
 *   smoothing: number, x?: Axis, expected?: string[], picked?: number | null, scale?: number}} Request `picked`: the run that stands out;
 *   `scale` widens the lines
 */

/** Points on screen in all; Plotly needs 30 to 60 ms for as many inside JupyterLab. */
const POINTS = 4000;
/** Fewer values of a sparse column than this are drawn as points too. */
const MARKED = 100;
/** Most runs whose single values are drawn faintly beside their means. */
const FAINT_RUNS = 12;
/** Of the runs beside the one that stands out. */
const FADED = 0.15;
/** Of a run's groups whose values differ, in turn. */
const GROUP_OPACITY = [1, 0.6, 0.4];

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
  const wanted = shown.flatMap((panel, axis) =>
    visible.flatMap((run) =>
      panel.columns.flatMap((curve) =>
        lines(run, panel, curve).map(({ name, group }, i) => ({ panel, axis, run, curve, name, group, i })),
      ),
    ),
  );
  const count = wanted.reduce((sum, { panel }) => sum + (panel.smooth && smoothing > 0 ? 2 : 1), 0);
  const buckets = Math.max(40, Math.min(Math.ceil(width), Math.floor(POINTS / (2 * Math.max(1, count)))));
  const view = { range, x, buckets, smoothing, picked, scale, faintly: visible.length <= FAINT_RUNS };
  const drawn = wanted.map((line) => traces(line, store(line.run.id), view));
  // Over one run's single values lie the means of all.
  const data = [...drawn.flatMap((line) => line.slice(0, -1)), ...drawn.map((line) => line[line.length - 1])];
  const points = data.reduce((sum, trace) => sum + trace.x.length, 0);
  const blank = shown.map((_, axis) => axis).filter((axis) => !wanted.some((line) => line.axis === axis));
  const detail = visible.flatMap((run) => lacking(run, store(run.id), range, x, buckets));
  return { shown, data: [...data, ...blank.map(frame)], points, smoothing, runs: visible.length, detail };
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
 * @param {{range: Interval | null, x: Axis, buckets: number, smoothing: number, picked: number | null, scale: number, faintly: boolean}} view @returns {Trace[]} */
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
