// @ts-check
// The menu of optimizers. One that cannot run here is greyed, with the reason, and can still be looked at.
import { h, say } from "../../page/static/dom.js";

/** @typedef {{key: string, title: string, mark?: string, why?: string}} Optimizer */

export class Menu {
  /** @param {string} prefix @param {(optimizer: string) => void} choose */
  constructor(prefix, choose) {
    this.select = h("select", {
      id: `${prefix}-optimizer`,
      class: "dwf-optimizer",
      change: () => choose(this.select.value),
    });
    /** Reason why the shown optimizer cannot run here. */
    this.absence = h("p", { class: "dwf-absence", role: "status", hidden: true });
    /** Titles of the optimizers. @type {Map<string, string>} */
    this.titles = new Map();
    /** Reasons why optimizers cannot run here. @type {Map<string, string>} */
    this.missing = new Map();
  }

  /** @param {{family: string, optimizers: Optimizer[]}[]} menu */
  draw(menu) {
    const all = menu.flatMap(({ optimizers }) => optimizers);
    this.titles = new Map(all.map(({ key, title, mark }) => [key, mark ? `${title} – ${mark}` : title]));
    this.missing = new Map(all.flatMap(({ key, why }) => (why ? [[key, why]] : [])));
    const option = (/** @type {Optimizer} */ { key, why }) =>
      h("option", { value: key, class: why && "dwf-missing", title: why }, this.titles.get(key));
    this.select.replaceChildren(
      ...menu.map(({ family, optimizers }) => h("optgroup", { label: family }, ...optimizers.map(option))),
    );
  }

  /** @param {string} optimizer */
  show(optimizer) {
    this.select.value = optimizer;
    const why = this.missing.get(optimizer) ?? "";
    say(this.absence, why);
    this.absence.hidden = !why;
    this.select.classList.toggle("dwf-missing", Boolean(why));
  }
}
