// @ts-check
// Table of runs in the page. It shows the `rows` of the kernel and sends a message for each action of a person.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { h, hiddenStandIn, ownPrefix, say } from "../../page/static/dom.js";
import { Tip } from "../../page/static/tip.js";
import { Compare } from "./runs_compare.js";
import { RunRow } from "./runs_row.js";
import { COLUMNS, withRow } from "./runs_text.js";

/** @typedef {import("./runs_text.js").Run} Run */
/**
 * @typedef {{get(name: string): any, set(name: string, value: any): void, send(content: object): void,
 *   on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void}} Model
 */

/** One view of the whole table. */
class RunsView {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.prefix = ownPrefix("dwr");
    /** @type {Map<string, RunRow>} */
    this.rows = new Map();
    /** Action of a button that will vanish, after which the focus must move. @type {"" | "removed" | "restored"} */
    this.moving = "";
    this.tip = new Tip(this.prefix);
    this.compare = new Compare(`${this.prefix}-compare`);
    this.root = h("div", { class: "dwr dw-themed", "data-lm-suppress-shortcuts": "true" });
    keepKeys(this.root);
    this.build();
    const offers = model.get("offers");
    this.root.style.setProperty(
      "--dwr-buttons",
      String(2 + Number(offers.repeat) + Number(offers.continue || offers.stop)),
    );
    el.append(this.root);
    /** @type {[string, (...args: any[]) => void][]} */
    this.listeners = [
      ["change:notice", () => this.drawNotice()],
      ["change:rows", () => this.drawRows()],
      ["change:removed", () => this.drawRemoved()],
      ["change:outcome", () => this.drawOutcome()],
      ["change:comparison", () => this.drawComparison()],
      ["msg:custom", (message) => message?.k === "named" && this.rows.get(message.key)?.name.answer(message.wrong)],
    ];
    for (const [event, listener] of this.listeners) {
      model.on(event, listener);
      if (event.startsWith("change:")) listener();
    }
  }

  build() {
    const { prefix, model } = this;
    this.notice = h("span");
    const dismiss = { type: "button", "aria-label": "Dismiss", click: () => model.send({ k: "dismiss" }) };
    this.noticeBox = h("div", { class: "dwr-notice", role: "alert" }, this.notice, h("button", dismiss, "×"));
    this.body = h("tbody");
    const heads = COLUMNS.map(({ name, title, about }) =>
      h("th", { scope: "col", class: `dwr-number dwr-${name}`, title: about }, title),
    );
    this.table = h(
      "table",
      { class: "dwr-runs", "aria-label": "Runs" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", { class: "dwr-color" }),
          h("th", { scope: "col", class: "dwr-who" }, "Run"),
          h("th", { scope: "col", class: "dwr-status" }, "Status"),
          ...heads,
          h("th", { scope: "col", class: "dwr-actions" }, h("span", { class: "dwf-sr" }, "Actions")),
        ),
      ),
      this.body,
    );
    this.empty = h("p", { class: "dwr-empty" }, "Runs appear here");
    this.gone = h("span", { class: "dwr-gone" });
    this.undo = h("button", { type: "button", click: () => this.restore() }, "Undo");
    this.removed = h("div", { class: "dwr-removed" }, this.gone, " ", this.undo);
    this.why = h("span", { class: "dwr-why", role: "status" });
    this.toggle = h(
      "button",
      {
        type: "button",
        "aria-expanded": "false",
        "aria-controls": `${prefix}-compare`,
        click: () => this.openComparison(this.compare.node.hidden),
      },
      "Compare settings",
    );
    this.outcome = h("p", { class: "dwr-outcome" });
    this.foot = h("div", { class: "dwr-foot" }, this.toggle, this.removed, this.why);
    this.root.append(this.noticeBox, this.table, this.empty, this.outcome, this.foot, this.compare.node, this.tip.node);
    this.tip.attachTitles(this.root);
    this.root.append(hiddenStandIn(model));
  }

  drawRows() {
    /** @type {Run[]} */
    const runs = this.model.get("rows");
    const keys = new Set(runs.map(({ key }) => key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.rows.delete(key);
    }
    runs.forEach((run, i) => {
      const row = this.rows.get(run.key) ?? this.addRow(run);
      if (row.run !== run) row.update(run);
      const there = this.body.children[i];
      if (there !== row.node) this.body.insertBefore(row.node, there ?? null);
    });
    this.table.hidden = !runs.length;
    this.empty.hidden = Boolean(runs.length);
    this.toggle.hidden = runs.length < 2;
    if (runs.length < 2) this.openComparison(false);
    this.drawRemoved();
    this.drawComparison();
  }

  /** @param {Run} run */
  addRow(run) {
    const row = new RunRow(`${this.prefix}-run-${run.key}`, run, this.model.get("offers"), {
      tip: this.tip,
      send: (content) => this.ask(content),
      explain: (text) => say(this.why, `${this.rows.get(run.key)?.run.name} – ${text.toLowerCase()}.`),
      removes: () => (this.moving = "removed"),
    });
    this.rows.set(run.key, row);
    if (this.moving === "restored") queueMicrotask(() => this.arrive(row));
    return row;
  }

  drawOutcome() {
    const words = this.model.get("outcome");
    say(this.outcome, words);
    this.outcome.hidden = !words;
  }

  drawRemoved() {
    const name = this.model.get("removed");
    say(this.gone, `Removed ${name}`);
    this.gone.title = name;
    this.removed.hidden = !name;
    this.undo.setAttribute("aria-label", `Undo: bring ${name} back`);
    this.foot.hidden = !name && !this.model.get("rows").length;
    if (name && this.moving === "removed") {
      this.moving = "";
      this.undo.focus();
    }
  }

  /** Focus the button of a restored run where Undo has vanished. @param {RunRow} row */
  arrive(row) {
    this.moving = "";
    if (this.removed.hidden) row.drop.focus();
  }

  drawComparison() {
    this.compare.show(this.model.get("comparison"), this.model.get("rows"));
  }

  /** @param {boolean} open */
  openComparison(open) {
    this.compare.node.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    this.compare.fit();
  }

  restore() {
    this.moving = "restored";
    this.ask({ k: "restore" });
  }

  /** @param {object} content */
  ask(content) {
    say(this.why, "");
    this.model.send(content);
  }

  drawNotice() {
    const notice = this.model.get("notice");
    say(this.notice, notice);
    this.noticeBox.hidden = !notice;
  }

  dispose() {
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    this.compare.dispose();
    this.tip.hide();
    this.root.remove();
  }
}

/** Put a single row that the kernel sends during training into the model, so that every view, also a later one, shows it.
 * @param {{model: Model}} context */
function initialize({ model }) {
  const update = (/** @type {any} */ message) => {
    if (message?.k === "row") model.set("rows", withRow(model.get("rows"), message.row));
  };
  model.on("msg:custom", update);
  return () => model.off("msg:custom", update);
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const view = new RunsView(model, el);
  return () => view.dispose();
}

export default withKernel({ initialize, render });
