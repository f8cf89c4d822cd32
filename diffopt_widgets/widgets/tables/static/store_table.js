// @ts-check
// Table of a store's runs in the page. It shows the `rows` of the kernel and sends a message for each action of a person.
import { Tip } from "../../page/static/tip.js";
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { h, hiddenStandIn, ownPrefix, say } from "../../page/static/dom.js";
import { StoredRow } from "./store_row.js";

/** @typedef {import("./store_row.js").Stored} Stored */
/**
 * @typedef {{get(name: string): any, set(name: string, value: any): void, save_changes(): void,
 *   send(content: object): void, on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void}} Model
 */

const HEADS = [
  ["Draw", "dws-tick"],
  ["Run", "dws-who"],
  ["Note", "dws-remark"],
  ["Status", "dws-status"],
  ["Steps", "dws-number dws-steps"],
  ["Train loss", "dws-number"],
  ["Started", "dws-started"],
];

/** One view of the whole table. */
class StoreView {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.prefix = ownPrefix("dws");
    /** @type {Map<string, StoredRow>} */
    this.rows = new Map();
    /** True after a click on a button that will vanish: then the focus moves to Undo. */
    this.removing = false;
    this.root = h("div", { class: "dwr dws dw-themed", "data-lm-suppress-shortcuts": "true" });
    keepKeys(this.root);
    this.build();
    el.append(this.root);
    /** @type {[string, (...args: any[]) => void][]} */
    this.listeners = [
      ["change:notice", () => this.drawNotice()],
      ["change:query", () => this.drawQuery()],
      ["change:rows", () => this.drawRows()],
      ["change:removed", () => this.drawRemoved()],
      ["msg:custom", (message) => message?.k === "named" && this.rows.get(message.key)?.name.answer(message.wrong)],
    ];
    for (const [event, listener] of this.listeners) {
      model.on(event, listener);
      if (event.startsWith("change:")) listener();
    }
  }

  build() {
    const { model } = this;
    this.notice = h("span");
    const dismiss = { type: "button", "aria-label": "Dismiss", click: () => model.send({ k: "dismiss" }) };
    this.noticeBox = h("div", { class: "dwr-notice", role: "alert" }, this.notice, h("button", dismiss, "×"));
    this.query = h("input", {
      type: "text",
      "aria-label": "Search the runs",
      placeholder: "Search names, notes and settings",
      input: () => {
        model.set("query", this.query.value);
        model.save_changes();
      },
    });
    this.count = h("span", { role: "status" });
    const refresh = { type: "button", title: model.get("file"), click: () => model.send({ k: "refresh" }) };
    this.head = h("div", { class: "dws-head" }, this.query, this.count, h("button", refresh, "Refresh"));
    this.body = h("tbody");
    const heads = HEADS.map(([title, look]) => h("th", { scope: "col", class: look }, title));
    const actions = h("th", { scope: "col", class: "dwr-actions" }, h("span", { class: "dwf-sr" }, "Actions"));
    const top = h("thead", {}, h("tr", {}, ...heads, actions));
    this.table = h("div", { class: "dws-scroll" }, h("table", { "aria-label": "Stored runs" }, top, this.body));
    this.empty = h("div", { class: "dwr-empty" });
    say(this.empty, `Runs saved in ${model.get("file")} appear here.`);
    this.gone = h("span", { class: "dwr-gone" });
    const restore = () => {
      this.query.focus(); // the button may vanish
      model.send({ k: "restore" });
    };
    this.undo = h("button", { type: "button", click: restore }, "Undo");
    this.removed = h("div", { class: "dwr-removed" }, this.gone, " ", this.undo);
    const tip = new Tip(this.prefix);
    this.root.append(this.noticeBox, this.head, this.empty, this.table, this.removed, tip.node, hiddenStandIn(model));
    tip.attachTitles(this.root);
  }

  drawQuery() {
    const query = this.model.get("query");
    if (this.query.value !== query && this.query !== document.activeElement) this.query.value = query;
  }

  drawRows() {
    /** @type {Stored[]} */
    const runs = this.model.get("rows");
    const keys = new Set(runs.map(({ key }) => key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      this.removing ||= row.drop === document.activeElement;
      row.node.remove();
      this.rows.delete(key);
    }
    runs.forEach((run, i) => {
      const row =
        this.rows.get(run.key) ??
        new StoredRow(`${this.prefix}-${run.key}`, run, (content) => this.model.send(content));
      this.rows.set(run.key, row);
      row.update(run);
      const there = this.body.children[i];
      if (there !== row.node) this.body.insertBefore(row.node, there ?? null);
    });
    this.table.hidden = !runs.length;
    this.empty.hidden = runs.length > 0 || this.model.get("query") !== "";
    const none = this.model.get("query") ? "No run has these words" : "No runs yet";
    say(this.count, runs.length ? `${runs.length} run${runs.length > 1 ? "s" : ""}` : none);
    this.drawRemoved();
  }

  drawRemoved() {
    const name = this.model.get("removed");
    say(this.gone, `Deleted ${name}`);
    this.removed.hidden = !name;
    this.undo.setAttribute("aria-label", `Undo: bring ${name} back`);
    if (name && this.removing) this.undo.focus();
    if (name) this.removing = false;
  }

  drawNotice() {
    const notice = this.model.get("notice");
    say(this.notice, notice);
    this.noticeBox.hidden = !notice;
  }

  dispose() {
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    this.root.remove();
  }
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const view = new StoreView(model, el);
  return () => view.dispose();
}

export default withKernel({ render });
