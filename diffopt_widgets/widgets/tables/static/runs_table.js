// @ts-check
// Table of runs in the page. It shows the `rows` of the kernel and sends a message for each action of a person.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { h, hiddenStandIn, ownPrefix, say } from "../../page/static/dom.js";
import { Tip } from "../../page/static/tip.js";
import { Compare } from "./runs_compare.js";
import { GroupRow } from "./runs_group.js";
import { entries, groupings, isGroup, listed } from "./runs_order.js";
import { RunRow } from "./runs_row.js";
import { COLUMNS, withRow } from "./runs_text.js";

/** @typedef {import("./runs_text.js").Run} Run */
/**
 * @typedef {{get(name: string): any, set(name: string, value: any): void, send(content: object): void,
 *   on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void}} Model
 */

/** Fewest rows that can be filtered and grouped: fewer are seen at a glance. */
const FILTERED = 8;

/** One view of the whole table. */
class RunsView {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.prefix = ownPrefix("dwr");
    /** @type {Map<string, RunRow>} */
    this.rows = new Map();
    /** @type {Map<string, GroupRow>} */
    this.groups = new Map();
    /** Keys of the groups whose runs are listed. @type {Set<string>} */
    this.opened = new Set();
    /** @type {import("./runs_order.js").Sorting} */
    this.sorting = null;
    /** Places of the rows, which they keep while somebody is in one of them. @type {Map<string, number>} */
    this.rank = new Map();
    /** @type {{name: string, title: string, button: HTMLButtonElement, node: HTMLElement}[]} */
    this.heads = [];
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
    this.body = h("tbody", {
      focusout: () => setTimeout(() => this.sorting && !this.busy && this.drawRows()),
    });
    const columns = [{ name: "who", title: "Run" }, { name: "status", title: "Status" }, ...COLUMNS];
    this.heads = columns.map(({ name, title, ...rest }) => {
      const button = h(
        "button",
        { type: "button", class: "dwr-sort", "data-told": true, click: () => this.sortBy(name) },
        title,
        h("span", { class: "dwr-arrow", "aria-hidden": "true" }),
      );
      const number = "about" in rest;
      const node = h(
        "th",
        {
          scope: "col",
          "aria-label": title,
          class: number ? `dwr-number dwr-${name}` : `dwr-${name}`,
          title: number && rest.about,
        },
        button,
      );
      return { name, title, button, node };
    });
    this.typed = h("input", {
      type: "search",
      class: "dwr-typed",
      placeholder: "Filter by name or setting",
      "aria-label": "List only the runs whose name or settings have these words",
      input: () => this.drawRows(),
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape" || !this.typed.value) return;
        event.stopPropagation();
        this.typed.value = "";
        this.drawRows();
      },
    });
    this.option = h("select", { change: () => this.drawRows() });
    this.by = h("label", { class: "dwr-by" }, "Group by ", this.option);
    this.count = h("span", { class: "dwr-matches", role: "status" });
    this.tools = h("div", { class: "dwr-tools" }, this.typed, this.by, this.count);
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
          ...this.heads.map(({ node }) => node),
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
    this.drawSorting();
    this.root.append(
      this.noticeBox,
      this.tools,
      this.table,
      this.empty,
      this.outcome,
      this.foot,
      this.compare.node,
      this.tip.node,
    );
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
    const many = entries(runs).length;
    this.drawTools(runs, many);
    const sorting = many > 1 ? this.sorting : null;
    const keep = sorting && this.busy ? this.rank : null;
    const chosen = { typed: this.tools.hidden ? "" : this.typed.value, option: this.option.value, sorting, rank: keep };
    const list = listed(runs, chosen);
    /** @type {HTMLElement[]} */
    const nodes = [];
    if (!keep) this.rank.clear();
    for (const run of runs) {
      const row = this.rows.get(run.key);
      if (row && row.run !== run) row.update(run);
    }
    this.place(list, 0, nodes);
    nodes.forEach((node, i) => {
      const there = this.body.children[i];
      if (there !== node) this.body.insertBefore(node, there ?? null);
    });
    for (const node of [...this.body.children].slice(nodes.length)) node.remove();
    for (const { button } of this.heads) button.disabled = many < 2;
    const found = list.reduce((sum, item) => sum + (isGroup(item) ? item.runs.length : 1), 0);
    say(this.count, chosen.typed.trim() ? `${found || "None"} of ${runs.length} runs` : "");
    this.table.hidden = !runs.length;
    this.empty.hidden = Boolean(runs.length);
    this.toggle.hidden = runs.length < 2;
    if (runs.length < 2) this.openComparison(false);
    this.drawRemoved();
    this.drawComparison();
  }

  /** Whether somebody is in a row, which then must not move. */
  get busy() {
    return this.body.contains(document.activeElement);
  }

  /** Add the nodes of these rows, and of those that are listed below them. @param {import("./runs_order.js").Item[]} list
   * @param {number} depth @param {HTMLElement[]} nodes */
  place(list, depth, nodes) {
    for (const item of list) {
      if (!this.rank.has(item.key)) this.rank.set(item.key, this.rank.size);
      if (!isGroup(item)) {
        const row = this.rows.get(item.key) ?? this.addRow(item);
        row.node.dataset.depth = String(depth);
        nodes.push(row.node);
        continue;
      }
      let group = this.groups.get(item.key);
      if (!group) {
        group = new GroupRow(item, {
          tip: this.tip,
          send: (content) => this.ask(content),
          toggle: (key) => this.open(key),
          stops: this.model.get("offers").stop,
        });
        this.groups.set(item.key, group);
      }
      const open = this.opened.has(item.key);
      group.update(item, open);
      group.node.dataset.depth = String(depth);
      nodes.push(group.node);
      if (open) this.place(item.items, depth + 1, nodes);
    }
  }

  /** List the runs of a group, or fold them. @param {string} key */
  open(key) {
    if (!this.opened.delete(key)) this.opened.add(key);
    this.drawRows();
  }

  /** Show what helps with many rows. @param {Run[]} runs @param {number} many number of rows */
  drawTools(runs, many) {
    const options = groupings(runs);
    this.tools.hidden = many < FILTERED;
    this.by.hidden = !options.length;
    const names = ["", ...options];
    if (names.join("\n") === this.option.dataset.names) return;
    const chosen = this.option.value;
    this.option.dataset.names = names.join("\n");
    this.option.replaceChildren(...names.map((name) => h("option", { value: name }, name || "–")));
    this.option.value = names.includes(chosen) ? chosen : "";
  }

  /** Sort by a column: upwards, downwards, not at all. @param {string} name */
  sortBy(name) {
    const again = this.sorting?.name === name ? this.sorting : null;
    this.sorting = again?.down ? null : { name, down: Boolean(again) };
    this.drawSorting();
    this.drawRows();
  }

  drawSorting() {
    for (const { name, title, button, node } of this.heads) {
      const down = this.sorting && this.sorting.name === name ? this.sorting.down : null;
      node.setAttribute("aria-sort", down === null ? "none" : down ? "descending" : "ascending");
      button.setAttribute("aria-label", `Sort by ${title}`); // another button of the bench is Run
      button.dataset.next = down === null ? "up" : down ? "none" : "down";
    }
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
