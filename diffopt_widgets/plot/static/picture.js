// @ts-check
// From rows to what Plotly draws: lines, axes and where they lie. No page.
import { thin } from "./store.js";

/**
 * @typedef {import("./store.js").Column} Column
 * @typedef {import("./store.js").RunStore} RunStore
 * @typedef {{id: number, key: string, name: string, color: string, schedule: boolean, visible: boolean, total: number | null}} Run
 * @typedef {{name: string, dash: string, schedule: boolean}} Curve
 * @typedef {{key: string, title: string, scale: string, smooth: boolean, optional: boolean, columns: Curve[]}} Panel
 * @typedef {{text: string, back: string, line: string, size: number}} Theme
 * @typedef {{panel: Panel, axis: number, run: Run, curve: Curve, name: string, group: string, i: number}} Wanted
 * @typedef {Record<string, any> & {x: Float64Array, y: Float32Array}} Trace
 * @typedef {{shown: Panel[], data: Trace[], points: number, smoothed: boolean}} Picture
 * @typedef {{panels: Panel[], runs: Run[], store: (id: number) => RunStore, range: [number, number] | null, width: number,
 *   smoothing: number, expected?: string[]}} Request
 */

/** Points on screen in all; Plotly needs 30 to 60 ms for as many inside JupyterLab. */
const POINTS = 4000;
/** Of a run's groups whose values differ, in turn. */
const GROUP_OPACITY = [1, 0.6, 0.4];

/** The lines of every visible run, thinned to the panel's `width` in pixels and to what the screen can bear. An optional
 * panel is there when it has lines, or when they are expected.
 * @param {Request} request @returns {Picture} */
export function picture({ panels, runs, store, range, width, smoothing, expected = [] }) {
  const visible = runs.filter((run) => run.visible);
  /** @param {Run} run @param {Curve} curve */
  const lines = (run, curve) => (curve.schedule && !run.schedule ? [] : store(run.id).lines(curve.name));
  /** @param {Panel} panel */
  const filled = (panel) => visible.some((run) => panel.columns.some((curve) => lines(run, curve).length));
  const shown = panels.filter((panel) => !panel.optional || expected.includes(panel.key) || filled(panel));
  const wanted = shown.flatMap((panel, axis) =>
    visible.flatMap((run) =>
      panel.columns.flatMap((curve) =>
        lines(run, curve).map(({ name, group }, i) => ({ panel, axis, run, curve, name, group, i })),
      ),
    ),
  );
  const count = wanted.reduce((sum, { panel }) => sum + (panel.smooth && smoothing > 0 ? 2 : 1), 0);
  const buckets = Math.max(40, Math.min(Math.ceil(width), Math.floor(POINTS / (2 * Math.max(1, count)))));
  const data = wanted.flatMap((line) => traces(line, store(line.run.id), range, buckets, smoothing));
  const points = data.reduce((sum, trace) => sum + trace.x.length, 0);
  const empty = shown.map((_, axis) => axis).filter((axis) => !wanted.some((line) => line.axis === axis));
  return { shown, data: [...data, ...empty.map(frame)], points, smoothed: smoothing > 0 };
}

/** What makes Plotly draw the axes of a panel that has no line. @param {number} axis @returns {Trace} */
function frame(axis) {
  const nothing = { x: Float64Array.of(NaN), y: Float32Array.of(NaN), showlegend: false, hoverinfo: "skip" };
  return { type: "scatter", mode: "lines", ...axesOf(axis), ...nothing };
}

/** The schedule's own value has an axis of its own, at the right: it is a factor near 1 where the rate may be a millionth.
 * @param {number} axis @param {boolean} [right] */
const axesOf = (axis, right = false) => ({
  xaxis: axis ? `x${axis + 1}` : "x",
  yaxis: right ? `y${RIGHT + axis}` : axis ? `y${axis + 1}` : "y",
});
/** Number of the first panel's axis at the right. */
const RIGHT = 11;

/** @param {Wanted} wanted @param {RunStore} store @param {[number, number] | null} range @param {number} buckets
 * @param {number} smoothing @returns {Trace[]} */
function traces({ panel, axis, run, curve, name, group, i }, store, range, buckets, smoothing) {
  const main = curve === panel.columns[0];
  const label = [run.name, group, curve.schedule ? "schedule" : main ? "" : curve.name].filter(Boolean).join(" · ");
  const opacity = GROUP_OPACITY[Math.min(i, GROUP_OPACITY.length - 1)];
  const line = { color: run.color, width: curve.dash === "solid" ? 1.8 : 1.1, dash: curve.dash };
  const [lo, hi] = store.rows(range);
  /** @param {Column} column @param {object} style */
  const trace = (column, style) => {
    const rows = thin(column, lo, hi, buckets);
    return {
      type: "scatter",
      mode: hi - lo < 2 ? "markers" : "lines",
      x: Float64Array.from(rows, (row) => store.steps[row]),
      y: Float32Array.from(rows, (row) => column.values[row]),
      ...axesOf(axis, curve.schedule),
      name: escapeHtml(label),
      legendgroup: run.id,
      showlegend: false,
      line,
      opacity,
      ...style,
    };
  };
  const column = /** @type {Column} */ (store.columns.get(name));
  const front = {
    showlegend: axis === 0 && main && i === 0,
    hovertemplate: `%{y:.4~g}<extra>${escapeHtml(label)}</extra>`,
  };
  if (!panel.smooth || smoothing === 0) return [trace(column, front)];
  const faint = { line: { ...line, width: 1 }, opacity: 0.35 * opacity, hoverinfo: "skip" };
  return [trace(column, faint), trace(store.smoothed(name, smoothing), front)];
}

/** Plotly's layout of a picture. @param {Picture} picture
 * @param {{width: number, height: number, log: Record<string, boolean>, theme: Theme}} view height of one row of panels;
 * by panel, whether its axis is logarithmic */
export function layout({ shown, data, points, smoothed }, { width, height: panelHeight, log, theme }) {
  const seconds = shown.map((_, i) => data.some((trace) => trace.yaxis === axesOf(i, true).yaxis));
  const { height, margin, domains } = arrange(shown.length, width, panelHeight, seconds.includes(true));
  const font = { color: theme.text, size: theme.size, family: "system-ui, sans-serif" };
  const common = {
    gridcolor: theme.line.replace(/^rgb\((.*)\)$/, "rgba($1, 0.6)"),
    linecolor: theme.line,
    zeroline: false,
    showline: true,
    showticklabels: points > 0,
  };
  /** @type {Record<string, any>} */
  const axes = {};
  for (const [i, panel] of shown.entries()) {
    const n = i ? String(i + 1) : "";
    const type = log[panel.key] ? "log" : "linear";
    axes[`xaxis${n}`] = {
      ...common,
      domain: domains[i].x,
      anchor: `y${n}`,
      matches: i ? "x" : undefined,
      title: { text: "step", standoff: 6, font },
      hoverformat: ",.0f",
      nticks: 7,
      spikecolor: theme.text,
      spikethickness: 1,
      spikedash: "dot",
      unifiedhovertitle: { text: "step %{x}" },
    };
    // A zoom cannot outlive a change of scale: another uirevision forgets it.
    axes[`yaxis${n}`] = {
      ...common,
      domain: domains[i].y,
      anchor: `x${n}`,
      type,
      exponentformat: "e",
      minorloglabels: "complete",
      nticks: type === "log" ? 5 : 6,
      uirevision: type,
      rangemode: seconds[i] ? "tozero" : "normal",
    };
    if (!seconds[i]) continue;
    axes[`yaxis${RIGHT + i}`] = {
      ...common,
      overlaying: `y${n}`,
      anchor: `x${n}`,
      side: "right",
      rangemode: "tozero",
      showgrid: false,
      tickmode: "auto", // its own ticks, not those of the axis at the left
      nticks: 5,
      title: { text: "schedule (dashed)", standoff: 4, font },
    };
  }
  return {
    width,
    height,
    margin,
    font,
    ...axes,
    annotations: shown.map((panel, i) => ({
      text: `<b>${escapeHtml(panel.title)}</b>${panel.smooth && smoothed ? " (faint: each step)" : ""}`,
      font: { ...font, size: theme.size + 1 },
      xref: "paper",
      yref: "paper",
      x: domains[i].x[0],
      y: domains[i].y[1],
      xanchor: "left",
      yanchor: "bottom",
      yshift: 5,
      showarrow: false,
    })),
    showlegend: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: theme.back,
    hovermode: "x unified",
    hoverlabel: { bgcolor: theme.back, bordercolor: theme.line, font, namelength: -1 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.line, activecolor: theme.text },
    dragmode: "zoom",
    uirevision: "keep",
  };
}

/** Where the panels lie in a figure `width` pixels wide: up to three side by side, in as many rows as that takes; the last
 * one spreads over what its row has left.
 * @param {number} count @param {number} width @param {number} panelHeight @param {boolean} [right] whether there are axes
 * at the right */
export function arrange(count, width, panelHeight, right = false) {
  const margin = { l: 58, r: right ? 54 : 16, t: 30, b: 42 };
  const columns = Math.max(1, Math.min(count, width >= 1100 ? 3 : width >= 600 ? 2 : 1));
  const rows = Math.max(1, Math.ceil(count / columns));
  const height = Math.round((columns > 1 ? 1 : 0.8) * panelHeight * rows);
  const inner = { x: Math.max(1, width - margin.l - margin.r), y: Math.max(1, height - margin.t - margin.b) };
  /** @param {number} i @param {number} parts @param {number} gap as a share @returns {[number, number]} */
  const part = (i, parts, gap) => {
    const each = Math.max(0.02, (1 - (parts - 1) * gap) / parts);
    const from = i * (each + gap);
    return [from, Math.min(1, from + each)];
  };
  const domains = Array.from({ length: count }, (_, i) => {
    const x = part(i % columns, columns, (margin.l + margin.r) / inner.x);
    const [a, b] = part(Math.floor(i / columns), rows, (margin.t + margin.b) / inner.y);
    if (i === count - 1) x[1] = 1;
    return { x, y: /** @type {[number, number]} */ ([1 - b, 1 - a]) };
  });
  return { columns, rows, height, margin, domains, panelWidth: inner.x / columns };
}

/** A number as one writes it: four digits, a power of ten where there would be many zeros. @param {number} value */
export function formatNumber(value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text
    .replace(/\.?0+e/, "e")
    .replace("e+", "e")
    .replaceAll("-", "−");
}

/** Plotly reads some HTML in names; this leaves it to be read as text. @param {string} text */
export const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
