// @ts-check
// The plot as a file: a picture, a page that opens offline, or the rows in sight as a table.
import { layout } from "./layout.js";
import { picture, together } from "./picture.js";
import { plotlySource } from "./plotly.js";
import { Zoom } from "./zoom.js";

/**
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./run_rows.js").RunRows} RunRows
 * @typedef {import("./run_rows.js").Interval} Interval
 * @typedef {import("./picture.js").Run} Run
 * @typedef {{smoothing: number, x: import("./run_rows.js").Axis, zoom: import("./zoom.js").Zoom}} Sight what of the plot is seen
 */

const WIDTH = 1200;
/** Of a row of panels. */
const HEIGHT = 300;
/** Most rows of a table that a page makes. */
const MOST_ROWS = 200_000;

/** The plot with a legend, on white. @param {Feed} feed @param {Sight} sight */
export function figure(feed, { smoothing, x, zoom }) {
  const { model, panels, runs } = feed;
  const range = zoom.x;
  const drawn = picture({ panels, runs, store: (id) => feed.store(id), range, width: WIDTH, smoothing, x });
  const theme = { text: "#222", back: "#fff", line: "#ddd", size: 11 };
  const plain = layout(drawn, { width: WIDTH, height: model.get("height") ?? HEIGHT, log: model.get("log"), x, theme });
  zoom.apply(plain, drawn.shown);
  const legend = 24 * Math.ceil(together(runs).length / 4);
  const full = {
    ...plain,
    height: plain.height + legend,
    margin: { ...plain.margin, b: plain.margin.b + legend },
    paper_bgcolor: "#fff",
    showlegend: true,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
  };
  return { data: drawn.data, layout: full };
}

/** @param {any} Plotly @param {Feed} feed @param {Sight} sight @param {"png" | "svg"} format @param {number} scale
 * @returns {Promise<string>} data URL */
export async function image(Plotly, feed, sight, format, scale = 1) {
  const made = figure(feed, sight);
  const { height } = made.layout;
  const svg = await Plotly.toImage(made, { format: "svg", width: WIDTH, height });
  return format === "svg" ? svg : painted(svg, WIDTH * scale, height * scale);
}

/** A drawing as PNG. Plotly's own way loads it from a blob, which a page's Content-Security-Policy may forbid.
 * @param {string} url @param {number} width @param {number} height */
async function painted(url, width, height) {
  const drawing = new Image();
  drawing.src = url;
  await drawing.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(drawing, 0, 0, width, height);
  return canvas.toDataURL("image/png");
}

/** A page that opens offline. @param {Feed} feed @param {Sight} sight */
export async function html(feed, sight) {
  const source = (await plotlySource(feed.model)).replaceAll("</script", "<\\/script");
  const numbers = (/** @type {string} */ _, /** @type {any} */ value) =>
    ArrayBuffer.isView(value) ? Array.from(/** @type {any} */ (value), (v) => Number(v.toPrecision(8))) : value;
  const made = JSON.stringify(figure(feed, sight), numbers).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>diffopt</title><meta name="viewport" content="width=device-width"></head>
<body style="margin:0"><script>${source}</script><div id="plot"></div><script>const made = ${made};
Plotly.newPlot("plot", made.data, made.layout, { displaylogo: false });</script></body></html>
`;
}

/** The rows in sight of runs as text, one line for each, or why there is none; values to 8 digits.
 * @param {Run[]} runs @param {(id: number) => RunRows} store @param {Interval | null} range
 * @param {import("./run_rows.js").Axis} x @returns {string} */
export function csv(runs, store, range, x) {
  const found = runs.flatMap((run) => {
    const [rows, place] = [store(run.id), store(run.id).place(x, run.samples_per_step)];
    if (!run.visible || !place) return [];
    const inside = (/** @type {number} */ row) => !range || (place(row) >= range[0] && place(row) <= range[1]);
    const [lo, hi] = rows.rows(range, place);
    return [{ run, rows, lo, hi, inside }];
  });
  const count = found.reduce((sum, { lo, hi }) => sum + hi - lo, 0);
  const words = `${count.toLocaleString("en")} rows are visible`;
  const instead = "zoom in, or write all of them in Python: plot.to_csv(path)";
  if (!count) throw new Error("There are no rows to save yet");
  if (count > MOST_ROWS || found.some(({ rows, lo, hi }) => rows.coarseSpan(lo, hi)))
    throw new Error(`${words}, too many for a table made here: ${instead}`);
  const names = [...new Set(found.flatMap(({ rows }) => [...rows.columns.keys()]))];
  const quote = (/** @type {string} */ text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const number = (/** @type {number | undefined} */ value) =>
    value === undefined || Number.isNaN(value) ? "" : String(Number(value.toPrecision(8)));
  const lines = [["run", "step", ...names].map(quote).join(",")];
  for (const { run, rows, lo, hi, inside } of found) {
    const columns = names.map((name) => rows.columns.get(name));
    for (let row = lo; row < hi; row++) {
      if (!inside(row)) continue;
      const values = columns.map((column) => number(column?.at(row)));
      lines.push([quote(run.name), number(rows.steps.at(row)), ...values].join(","));
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Give the kernel the picture that it asked for, once all rows are here. @param {any} Plotly @param {Feed} feed */
export async function sendImage(Plotly, feed) {
  if (!feed.complete) await new Promise((/** @type {(value?: any) => void} */ go) => feed.waiting.push(go));
  const [smoothing, x] = [feed.model.get("smoothing"), feed.model.get("x")];
  const url = await image(Plotly, feed, { smoothing, x, zoom: new Zoom() }, "png");
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (character) => character.charCodeAt(0));
  feed.send({ k: "png" }, [bytes.buffer]);
}
