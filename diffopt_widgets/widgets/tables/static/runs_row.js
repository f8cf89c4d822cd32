// @ts-check
// Row of one run in the table.
import { h, say } from "../../page/static/dom.js";
import { icon } from "./runs_icons.js";
import { NameField } from "./runs_name.js";
import { brief, COLUMNS, status, summary, underway, unsaid } from "./runs_text.js";

/** @typedef {import("./runs_text.js").Run} Run */
/** @typedef {{repeat: boolean, continue: boolean, stop: boolean}} Offers */
/** @typedef {{tip: import("../../page/static/tip.js").Tip, send(content: object): void, explain(text: string): void,
 *   removes(): void}} Owner */

/** Row whose nodes stay, so that a change of a number moves neither focus nor caret. */
export class RunRow {
  /** @param {string} id @param {Run} run @param {Offers} offers @param {Owner} owner */
  constructor(id, run, offers, owner) {
    this.run = run;
    this.owner = owner;
    this.offers = offers;
    const { key } = run;
    this.swatch = h("span", { class: "dwr-swatch" });
    this.name = new NameField(id, (name) => owner.send({ k: "rename", key, name }));
    this.differs = h("div", { class: "dwr-differs" });
    this.brief = h("div", { class: "dwr-brief" });
    this.statusText = h("span");
    this.progress = h("progress", { max: 1 });
    this.best = h("span", { class: "dwr-mark" });
    this.status = h("td", { class: "dwr-status" }, this.statusText, " ", this.best, this.progress);
    this.numbers = COLUMNS.map(({ name }) => h("td", { class: `dwr-number dwr-${name}` }));
    this.eye = this.button(["shown", "hidden"], () => owner.send({ k: "visible", key, visible: !this.run.visible }));
    this.again = this.button(["repeat"], () => owner.send({ k: "repeat", key }));
    this.on = this.button(["continue", "stop"], () => owner.send({ k: this.on.dataset.does, key }));
    this.drop = this.button(["remove"], () => {
      owner.removes();
      owner.send({ k: "remove", key });
    });
    this.again.hidden = !offers.repeat;
    const head = h("th", { scope: "row", class: "dwr-who" }, this.name.node, this.name.wrong, this.differs, this.brief);
    const actions = h("td", { class: "dwr-actions" }, h("div", {}, this.eye, this.again, this.on, this.drop));
    this.node = h(
      "tr",
      { "data-key": key },
      h("td", { class: "dwr-color" }, this.swatch),
      head,
      this.status,
      ...this.numbers,
      actions,
    );
    this.update(run);
  }

  /** @param {Parameters<typeof icon>[0][]} icons @param {() => void} act */
  button(icons, act) {
    const click = () => {
      if (button.getAttribute("aria-disabled") === "true") this.owner.explain(button.dataset.tip);
      else act();
    };
    const button = h("button", { type: "button", class: "dwr-button", click }, ...icons.map(icon));
    this.owner.tip.attach(button, () => [button.dataset.tip]);
    return button;
  }

  /** @param {Run} run */
  update(run) {
    this.run = run;
    const { name, message } = run;
    this.node.classList.toggle("dwr-off", !run.visible);
    this.best.replaceChildren(...(run.best ? ["best", h("span", { class: "dwf-sr" }, `: ${run.best}`)] : []));
    this.best.hidden = !run.best;
    this.best.title = run.best;
    this.node.classList.toggle("dwr-winner", Boolean(run.best));
    this.node.classList.toggle("dwr-failed", run.status === "failed");
    this.swatch.style.setProperty("--dwr-color", run.color);
    this.name.show(name);
    say(this.differs, unsaid(run));
    this.differs.title = run.differs;
    say(this.brief, brief(run));
    this.brief.title = summary(run);
    say(this.statusText, status(run));
    this.status.title = message || summary(run);
    this.progress.hidden = run.status !== "running" && run.status !== "paused";
    this.progress.value = run.progress;
    this.progress.setAttribute("aria-label", `Progress of ${name}`);
    COLUMNS.forEach((column, i) => say(this.numbers[i], column.show(run)));
    this.eye.setAttribute("aria-pressed", String(run.visible));
    describe(
      this.eye,
      `Show the curves of ${name}`,
      run.visible ? "Shown: hide its curves" : "Hidden: show its curves",
    );
    describe(this.again, `Repeat ${name}`, "Train again with the same settings");
    const stops = this.offers.stop && underway(run);
    this.on.dataset.does = stops ? "stop" : "continue";
    this.on.hidden = !stops && !this.offers.continue;
    if (stops) describe(this.on, `Stop ${name}`, "Stop this run; the others go on");
    else describe(this.on, `Continue ${name}`, "Continue where it ended", "Cannot be continued", run.cannot_continue);
    describe(this.drop, `Remove ${name}`, "Remove this run", "Cannot be removed", run.cannot_remove);
  }
}

/**
 * Describe a button. One that is disabled stays in reach of the keyboard, so that it can show its reason.
 * @param {HTMLButtonElement} button @param {string} name @param {string} does @param {string} [cannot]
 * @param {string} [why]
 */
function describe(button, name, does, cannot = "", why = "") {
  button.setAttribute("aria-label", name);
  button.setAttribute("aria-disabled", String(Boolean(why)));
  button.dataset.tip = why ? `${cannot}: ${why}` : does;
}
