// @ts-check
// The settings of the shown runs side by side.
import { h } from "../../page/static/dom.js";

/** @typedef {import("./runs_text.js").Run} Run */
/** @typedef {{name: string, title: string, values: (string | null)[], unusual: boolean[]}} Line */
/** @typedef {{keys: string[], lines: Line[]}} Comparison */

/** Width of a column, and of the column with the names of the settings, in em. */
const COLUMN = 7.1;
const TITLES = 11.5;

/** Table that opens below the runs. Where its columns do not fit, the values of each setting are listed below it. */
export class Compare {
  /** @param {string} id */
  constructor(id) {
    this.everything = h("input", { type: "checkbox", change: () => this.draw() });
    this.body = h("div");
    this.node = h(
      "div",
      { class: "dwr-compare", id, role: "region", "aria-label": "Settings side by side" },
      h("label", { class: "dwr-everything" }, this.everything, " all settings"),
      this.body,
    );
    this.node.hidden = true;
    /** @type {Comparison} */
    this.comparison = { keys: [], lines: [] };
    /** @type {Run[]} */
    this.runs = [];
    this.fitter = new ResizeObserver(() => this.fit());
    this.fitter.observe(this.node);
  }

  /** @param {Comparison} comparison @param {Run[]} rows */
  show(comparison, rows) {
    const runs = comparison.keys.map((key) => rows.find((run) => run.key === key)).filter((run) => run !== undefined);
    if (runs.length !== comparison.keys.length) return; // rows and comparison arrive together, in either order
    const look = (/** @type {Run[]} */ list) =>
      JSON.stringify(list.map(({ key, name, setting, color }) => [key, setting || name, color]));
    if (comparison === this.comparison && look(runs) === look(this.runs)) return; // only numbers changed
    this.comparison = comparison;
    this.runs = runs.map((run) => ({ ...run, name: run.setting || run.name }));
    this.draw();
  }

  draw() {
    const { keys, lines } = this.comparison;
    const listed = this.everything.checked ? lines : lines.filter(({ unusual }) => unusual.includes(true));
    if (keys.length < 2) this.body.replaceChildren(h("p", {}, "Show two runs or more to compare them."));
    else if (!listed.length) this.body.replaceChildren(h("p", {}, "The shown runs have the same settings."));
    else this.body.replaceChildren(this.table(listed));
    this.fit();
  }

  /** @param {Line[]} lines */
  table(lines) {
    const heads = this.runs.map((run) =>
      h("th", { scope: "col", role: "columnheader" }, swatch(run), h("span", { title: run.name }, run.name)),
    );
    const first = h("th", { scope: "col", role: "columnheader" }, "Setting");
    return h(
      "table",
      { role: "table" }, // roles are written out, because a browser drops them where the table is laid out as blocks
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, first, ...heads)),
      h("tbody", { role: "rowgroup" }, ...lines.map((line) => this.line(line))),
    );
  }

  /** @param {Line} line */
  line({ name, title, values, unusual }) {
    const differs = unusual.includes(true);
    return h(
      "tr",
      { role: "row", class: differs && "dwr-differing" },
      h(
        "th",
        { scope: "row", role: "rowheader" },
        title,
        " ",
        h("code", {}, name),
        differs && h("span", { class: "dwf-sr" }, " (differs)"),
      ),
      ...values.map((value, i) =>
        h(
          "td",
          { role: "cell", class: unusual[i] && "dwr-unusual", title: this.runs[i].name },
          swatch(this.runs[i]),
          h(
            "span",
            { class: "dwr-value", title: value === null && "This run's optimizer has no such option" },
            value ?? "–",
          ),
          h("span", { class: "dwr-whose", "aria-hidden": "true" }, this.runs[i].name), // shown where there are no columns
        ),
      ),
    );
  }

  fit() {
    const room = this.node.clientWidth / parseFloat(getComputedStyle(this.node).fontSize);
    this.node.classList.toggle("dwr-stacked", room > 0 && room < TITLES + COLUMN * this.runs.length);
  }

  dispose() {
    this.fitter.disconnect();
  }
}

/** @param {Run} run */
function swatch({ color }) {
  const node = h("span", { class: "dwr-swatch" });
  node.style.setProperty("--dwr-color", color);
  return node;
}
