// @ts-check
// Row of one run of a store.
import { h, say } from "../../page/static/dom.js";
import { icon } from "./runs_icons.js";
import { NameField } from "./runs_name.js";
import { short } from "./runs_text.js";

/** @typedef {{key: string, name: string, note: string, status: string, message: string, steps: number,
 *   loss: number | null, started: string, shown: boolean}} Stored */

/** Date that does not break over two lines. @param {string} date */
const unbroken = (date) => date.replaceAll("-", "\u2011").replaceAll(" ", "\u00a0");

/** Row whose nodes stay, so that a change of a number moves neither focus nor caret. */
export class StoredRow {
  /** @param {string} id @param {Stored} run @param {(content: object) => void} send */
  constructor(id, run, send) {
    const { key } = run;
    this.run = run;
    this.tick = h("input", { type: "checkbox", change: () => send({ k: "draw", key, shown: this.tick.checked }) });
    this.name = new NameField(id, (name) => send({ k: "rename", key, name }));
    this.note = h("input", {
      type: "text",
      class: "dws-note",
      placeholder: "Note",
      maxlength: 2000,
      change: () => send({ k: "note", key, note: this.note.value }),
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") this.note.value = this.run.note;
      },
    });
    this.brief = h("div", { class: "dws-brief" });
    this.status = h("td", { class: "dws-status" });
    this.steps = h("td", { class: "dws-number dws-steps" });
    this.loss = h("td", { class: "dws-number" });
    this.started = h("td", { class: "dws-started" });
    this.drop = h(
      "button",
      { type: "button", class: "dwr-button", title: "Delete this run", click: () => send({ k: "remove", key }) },
      icon("remove"),
    );
    this.node = h(
      "tr",
      { "data-key": key },
      h("td", { class: "dws-tick" }, this.tick),
      h("th", { scope: "row" }, this.name.node, this.name.wrong, this.brief),
      h("td", {}, this.note),
      this.status,
      this.steps,
      this.loss,
      this.started,
      h("td", { class: "dwr-actions" }, h("div", {}, this.drop)),
    );
    this.update(run);
  }

  /** @param {Stored} run */
  update(run) {
    if (this.note.value === this.run.note || this.note !== document.activeElement) this.note.value = run.note;
    this.run = run;
    this.tick.checked = run.shown;
    this.tick.setAttribute("aria-label", `Draw ${run.name}`);
    this.name.show(run.name);
    this.note.setAttribute("aria-label", `Note on ${run.name}`);
    this.note.title = run.note;
    const steps = run.steps.toLocaleString("en-US");
    say(this.brief, `${run.status} · ${steps} steps · training loss ${short(run.loss)} · ${unbroken(run.started)}`);
    this.brief.title = run.message;
    say(this.status, run.status);
    this.status.title = run.message;
    say(this.steps, steps);
    say(this.loss, short(run.loss));
    say(this.started, run.started);
    this.drop.setAttribute("aria-label", `Delete ${run.name}`);
  }
}
