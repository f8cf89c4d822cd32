// @ts-check
// Two lines, with the controls to fix and those that differ from the defaults, and the counts beside each section.
import { h, say } from "../../page/static/dom.js";

/** @typedef {import("./row.js").Control} Control */
/** @typedef {import("./row.js").Marks} Marks */
/** @typedef {import("./row.js").Row} Row */
/** @typedef {import("./form.js").Fold} Fold */

export class Sums {
  constructor() {
    this.wrong = h("div", { class: "dwf-sum dwf-error", "aria-live": "polite" });
    this.differs = h("div", { class: "dwf-sum" });
    this.node = h("div", { class: "dwf-sums" }, this.wrong, this.differs);
  }

  /**
   * Draw the lines and the counts; return whether anything is wrong.
   * @param {Record<string, Marks>} controls @param {Map<string, Row>} rows @param {Fold[]} folds
   */
  draw(controls, rows, folds) {
    const present = [...rows.values()].filter((row) => controls[row.control.name]);
    const wrong = present.filter((row) => controls[row.control.name].error);
    const changed = present.filter((row) => controls[row.control.name].changed);
    const value = (/** @type {Row} */ row) => shown(row.control, controls[row.control.name].text);
    this.wrong.replaceChildren(...list("To correct: ", wrong, (row) => row.control.title));
    const difference = list("Differs from the defaults: ", changed, (row) => `${row.control.name} ${value(row)}`);
    this.differs.replaceChildren(...(difference.length ? difference : ["Everything is at its default."]));
    for (const { section, count } of folds) {
      const inside = (/** @type {Row[]} */ some) => some.filter((row) => section.controls.includes(row.control.name));
      const parts = section.fold ? [`${section.controls.length}`] : [];
      if (inside(changed).length) parts.push(`${inside(changed).length} changed`);
      if (inside(wrong).length) parts.push(`${inside(wrong).length} wrong`);
      say(count, parts.length ? `(${parts.join(", ")})` : "");
    }
    return wrong.length > 0;
  }
}

/** Make links to rows. @param {string} start @param {Row[]} rows @param {(row: Row) => string} words */
function list(start, rows, words) {
  const jump = (/** @type {Row} */ row) =>
    h("button", { type: "button", class: "dwf-jump", click: () => row.show() }, words(row));
  return rows.length ? [start, ...rows.flatMap((row, i) => [i ? ", " : "", jump(row)])] : [];
}

/** Format a text as its control shows it. @param {Control} control @param {string} text */
function shown({ kind, choices, placeholder }, text) {
  if (kind === "bool") return text === "true" ? "on" : "off";
  const brief = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  return choices?.find((choice) => choice.value === text)?.label ?? (brief || placeholder || "empty");
}
