// @ts-check
// Where panels lie, and how Plotly is to draw their axes. No page.
import { plotlyText } from "./format.js";
import { halfOf } from "./smooth.js";

/**
 * @typedef {import("./run_rows.js").Axis} Axis
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {{text: string, back: string, line: string, size: number}} Theme
 */

const X_HOVER = { step: "step %{x:,.0f}", time: "%{x:,.2~f} s", samples: "%{x:,.0f} samples" };
export const X_TITLE = { step: "step", time: "training time (s)", samples: "samples seen" };

/** The schedule's own value has an axis of its own, at the right: it is a factor near 1 where the rate may be a millionth.
 * @param {number} axis @param {boolean} [right] */
export const axesOf = (axis, right = false) => ({
  xaxis: axis ? `x${axis + 1}` : "x",
  yaxis: right ? `y${RIGHT + axis}` : axis ? `y${axis + 1}` : "y",
});
/** Most runs whose values are all told under the pointer; of more, those of the nearest. */
const TOLD = 10;
/** A panel of less height than this has room for few ticks, in pixels. */
const LOW = 130;
/** Number of the first panel's axis at the right. */
const RIGHT = 101;

/** Plotly's layout of a picture. @param {Picture} picture
 * @param {{width: number, height: number | null, screen?: number, whole?: number | null, log: Record<string, boolean>, x: Axis, theme: Theme}} view height of one row of
 * panels, or null and the height of the screen; that of all rows, where the page decides it; by panel, whether its axis is logarithmic; what lies along */
export function layout(
  { shown, data, points, smoothing, runs },
  { width, height: panelHeight, screen, whole, log, x, theme },
) {
  const seconds = shown.map((_, i) => data.some((trace) => trace.yaxis === axesOf(i, true).yaxis));
  const room = { scale: theme.size / TYPE, whole };
  const { height, rows, margin, domains } = arrange(
    shown.length,
    width,
    panelHeight,
    seconds.includes(true),
    screen,
    room,
  );
  const inner = (height / rows - margin.t - margin.b) / room.scale;
  const font = { color: theme.text, size: theme.size, family: "system-ui, sans-serif" };
  const common = {
    gridcolor: theme.line.replace(/^rgb\((.*)\)$/, "rgba($1, 0.6)"),
    linecolor: theme.line,
    zeroline: false,
    showline: true,
    showticklabels: points > 0,
  };
  // Points would widen the axis along beyond what there is.
  const ends = data.flatMap(({ x: [first], x: along }) => [first, along[along.length - 1]]).filter(Number.isFinite);
  const [clipmin, clipmax] = [Math.min(...ends), Math.max(...ends)];
  const autorangeoptions = clipmin < clipmax ? { clipmin, clipmax } : undefined;
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
      autorangeoptions,
      title: { text: X_TITLE[x], standoff: 6, font },
      hoverformat: x === "time" ? ",.3~f" : ",.0f",
      nticks: 7,
      spikecolor: theme.text,
      spikethickness: 1,
      spikedash: "dot",
      unifiedhovertitle: { text: X_HOVER[x] },
    };
    axes[`yaxis${n}`] = {
      ...common,
      showticklabels: points > 0 && data.some((trace) => trace.yaxis === axesOf(i).yaxis && trace.x.length > 0), // else −1 to 4
      domain: domains[i].y,
      anchor: `x${n}`,
      type,
      exponentformat: "e",
      minorloglabels: "complete",
      nticks: inner < LOW ? 3 : type === "log" ? 5 : 6,
      rangemode: seconds[i] || constant(data, i) ? "tozero" : "normal",
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
      text: `<b>${plotlyText(panel.title)}</b>${panel.smooth ? smoothingWords(smoothing) : ""}`,
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
    hovermode: runs > TOLD ? "closest" : "x unified",
    hoverlabel: { bgcolor: theme.back, bordercolor: theme.line, font, namelength: -1 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.line, activecolor: theme.text },
    dragmode: "zoom",
    uirevision: "keep",
  };
}

/** What a smoothed line is, in the title of its panel. @param {number} smoothing */
function smoothingWords(smoothing) {
  const half = halfOf(smoothing);
  return half ? ` (mean of ${2 * half + 1})` : "";
}
/** Size of the type for which the margins are made, in pixels. */
export const TYPE = 11;

/** Whether a panel's values are all the same: Plotly would draw 1e-4 in the middle of an axis from -1 to 1, where it looks like
 * zero. @param {import("./picture.js").Trace[]} data @param {number} axis */
function constant(data, axis) {
  const values = data.filter((trace) => trace.yaxis === axesOf(axis).yaxis).flatMap(({ y }) => Array.from(y));
  const known = values.filter(Number.isFinite);
  return known.length > 0 && known.every((value) => value === known[0]);
}

/** What a notebook's own bars take of a screen, together with what stands above the plots of a bench, in pixels. */
const TAKEN = 465;

/** Height of a row of panels, so that all rows are on one screen and no panel is high and narrow.
 * @param {number} width of a panel @param {number} rows @param {number} screen its height */
const fitting = (width, rows, screen) => Math.max(190, Math.min((screen - TAKEN) / rows, 0.95 * width));

/** Where the panels lie in a figure `width` pixels wide: up to four side by side, in as many rows as that takes; the last
 * one spreads over what its row has left.
 * @param {number} count @param {number} width @param {number | null} panelHeight null: what the screen has room for
 * @param {boolean} [right] whether there are axes at the right @param {number} [screen] its height
 * @param {{scale?: number, whole?: number | null}} [room] size of the type in relation to TYPE; height of all rows, where the
 * page decides it */
export function arrange(count, width, panelHeight, right = false, screen = 900, { scale = 1, whole } = {}) {
  const margin = { l: 58 * scale, r: (right ? 54 : 16) * scale, t: 30 * scale, b: 42 * scale };
  const most = width >= 1240 * scale ? 4 : width >= 930 * scale ? 3 : width >= 540 * scale ? 2 : 1;
  const rows = Math.max(1, Math.ceil(count / most));
  const columns = Math.max(1, Math.ceil(count / rows));
  const each = panelHeight === null ? fitting(width / columns, rows, screen) : (columns > 1 ? 1 : 0.8) * panelHeight;
  const height = Math.round(whole ? Math.max(whole, 190 * scale * rows) : each * rows);
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
