// @ts-check
// Row of several runs: the seeds of a setting, or the runs with one value of an option. It opens to its runs.
import { h, say } from "../../page/static/dom.js";
import { icon } from "./runs_icons.js";
import { groupStatus, range } from "./runs_order.js";
import { COLUMNS, short, underway } from "./runs_text.js";

/** @typedef {import("./runs_order.js").Group} Group @typedef {import("./runs_text.js").Run} Run */
/** @typedef {{tip: import("../../page/static/tip.js").Tip, send(content: object): void, toggle(key: string): void,
 *   stops: boolean}} Owner */

export class GroupRow {
  /** @param {Group} group @param {Owner} owner */
  constructor(group, owner) {
    this.group = group;
    this.owner = owner;
    this.swatch = h("span", { class: "dwr-swatch" });
    this.name = h("span", { class: "dwr-group-name" });
    this.count = h("span", { class: "dwr-count" });
    this.open = h(
      "button",
      { type: "button", class: "dwr-opener", "aria-expanded": "false", click: () => owner.toggle(group.key) },
      h("span", { class: "dwr-arrow", "aria-hidden": "true" }),
      h("span", {}, this.name, " ", this.count),
    );
    this.brief = h("div", { class: "dwr-brief" });
    this.statusText = h("span");
    this.best = h("span", { class: "dwr-mark" });
    this.progress = h("progress", { max: 1 });
    this.status = h("td", { class: "dwr-status" }, this.statusText, " ", this.best, this.progress);
    this.numbers = COLUMNS.map(({ name }) => {
      const [middle, ends] = [h("div"), h("div", { class: "dwr-ends" })];
      return { middle, ends, cell: h("td", { class: `dwr-number dwr-${name}` }, middle, ends) };
    });
    this.eye = h(
      "button",
      { type: "button", class: "dwr-button", click: () => this.show() },
      icon("shown"),
      icon("hidden"),
    );
    const stop = () => this.going.forEach(({ key }) => owner.send({ k: "stop", key }));
    this.stop = h("button", { type: "button", class: "dwr-button", click: stop }, icon("stop"));
    for (const button of [this.eye, this.stop]) owner.tip.attach(button, () => [button.dataset.tip]);
    this.node = h(
      "tr",
      { class: `dwr-group dwr-by-${group.kind}` },
      h("td", { class: "dwr-color" }, this.swatch),
      h("th", { scope: "row", class: "dwr-who" }, this.open, this.brief),
      this.status,
      ...this.numbers.map(({ cell }) => cell),
      h("td", { class: "dwr-actions" }, h("div", {}, this.eye, this.stop)),
    );
  }

  /** Its runs that train or wait. */
  get going() {
    return this.group.runs.filter(underway);
  }

  get visible() {
    return this.group.runs.some((run) => run.visible);
  }

  /** Show the curves of all its runs, or hide them. */
  show() {
    const visible = !this.visible;
    for (const run of this.group.runs)
      if (run.visible !== visible) this.owner.send({ k: "visible", key: run.key, visible });
  }

  /** @param {Group} group @param {boolean} open */
  update(group, open) {
    this.group = group;
    const { name, runs, items, kind } = group;
    const alike = runs.every(({ color }) => color === runs[0].color);
    this.node.classList.toggle("dwr-off", !this.visible);
    this.swatch.hidden = !alike;
    this.swatch.style.setProperty("--dwr-color", runs[0].color);
    say(this.name, name);
    say(this.count, kind === "seeds" ? counted(runs.length, "seed") : counted(items.length, "setting"));
    this.open.setAttribute("aria-expanded", String(open));
    this.open.title = `${open ? "Fold" : "List"} its runs; each number is the median, with the range below it`;
    const best = kind === "seeds" ? runs.find((run) => run.best)?.best : "";
    this.best.replaceChildren(...(best ? ["best", h("span", { class: "dwf-sr" }, `: ${best}`)] : []));
    this.best.hidden = !best;
    this.best.title = best ?? "";
    this.node.classList.toggle("dwr-winner", Boolean(best));
    this.node.classList.toggle(
      "dwr-failed",
      runs.every(({ status }) => status === "failed"),
    );
    const status = groupStatus(runs);
    say(this.statusText, status);
    this.progress.hidden = !runs.some(({ status }) => status === "running" || status === "paused");
    this.progress.value = runs.reduce((sum, run) => sum + run.progress, 0) / runs.length;
    this.progress.setAttribute("aria-label", `Progress of ${name}`);
    COLUMNS.forEach((column, i) => {
      const { middle, ends } = this.numbers[i];
      const found = range(runs, column.field);
      say(middle, column.show({ ...runs[0], [column.field]: found && found[1] }));
      const words = found
        ? [found[0], found[2]].map((value) => column.show({ ...runs[0], [column.field]: value }))
        : [];
      ends.replaceChildren(...(words[0] === words[1] ? [] : [`${words[0]}–`, h("wbr"), words[1]]));
    });
    const field = runs.some((run) => run.eval_after !== null) ? "eval_after" : "final_loss";
    const loss = range(runs, field);
    const kindOfLoss = field === "eval_after" ? "eval loss" : "training loss";
    say(
      this.brief,
      `${best ? "best" : status} · ${kindOfLoss} ${loss ? `${short(loss[1])} (${short(loss[0])} – ${short(loss[2])})` : "–"}`,
    );
    this.stop.hidden = !this.owner.stops || !this.going.length;
    this.stop.setAttribute("aria-label", `Stop the runs of ${name}`);
    this.stop.dataset.tip = "Stop its runs; the others go on";
    this.eye.setAttribute("aria-pressed", String(this.visible));
    this.eye.setAttribute("aria-label", `Show the curves of ${name}`);
    this.eye.dataset.tip = this.visible ? "Shown: hide all its curves" : "Hidden: show all its curves";
  }
}

/** @param {number} n @param {string} noun */
const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
