// @ts-check
// The form in the page. It knows kinds of controls, never optimizers or options: the kernel describes these in `panel`
// and their present state in `state`, and the page sends the typed texts.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { breakable, drawing, h, hiddenStandIn, ownPrefix, say } from "../../page/static/dom.js";
import { Exchange } from "./exchange.js";
import { Finder } from "./finder.js";
import { Handover } from "./handover.js";
import { Menu } from "./menu.js";
import { Outbox } from "./outbox.js";
import { Presets } from "./presets.js";
import { Row } from "./row.js";
import { Sums } from "./sums.js";
import { Tip } from "../../page/static/tip.js";

/** @typedef {import("./row.js").Control} Control */
/** @typedef {import("./row.js").Marks} Marks */
/** @typedef {{title: string, controls: string[], picture?: boolean, fold?: boolean}} Section */
/** @typedef {{section: Section, count: HTMLElement}} Fold */
/**
 * @typedef {{optimizer: string, title: string, summary: string, latex: string, mathml: string[],
 *   links: {title: string, url: string}[], presets: {key: string, title: string, why: string}[],
 *   sections: Section[], controls: Record<string, Control>}} Panel
 */
/**
 * @typedef {{presets: string[], undo: string, seen: [string, number] | [],
 *   pasted: import("./exchange.js").Pasted, controls: Record<string, Marks>}} State
 */
/**
 * @typedef {{get(name: string): any, on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void, send(content: object): void,
 *   set(name: string, value: any): void, save_changes(): void}} Model
 */

const KERNEL_PATIENCE = 1500;

/** Least space beside a formula, in pixels. */
const MARGIN = 10;

/** What is left of a name without case and signs. @param {string} name */
const letters = (name) => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

/** One view of the form in the page. */
class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.prefix = ownPrefix("dwf");
    this.page = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
    /** The optimizer whose panel is drawn; typed texts belong to its options. */
    this.optimizer = "";
    this.outbox = new Outbox((content) => {
      model.send({ ...content, page: this.page, panel: this.optimizer });
      clearTimeout(this.patience);
      this.patience = setTimeout(() => this.wait(), KERNEL_PATIENCE);
    });
    this.tip = new Tip(this.prefix);
    this.presets = new Presets(this.outbox, this.tip);
    this.exchange = new Exchange(model, this.outbox, this.prefix);
    this.sums = new Sums();
    this.menu = new Menu(this.prefix, (optimizer) => this.choose(optimizer));
    this.finder = new Finder(this.prefix, {
      ask: () => model.send({ k: "index" }), // it has no number, because the state does not answer it
      place: () => ({ optimizer: model.get("panel").optimizer, titles: this.menu.titles, missing: this.menu.missing }),
      go: (optimizer, name) => this.goTo(optimizer, name),
    });
    /** The option to show once its optimizer has arrived. @type {{optimizer: string, name: string} | undefined} */
    this.target = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
    this.waits = false;
    /** The state that the rows show. @type {State | undefined} */
    this.shown = undefined;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Fold[]} */
    this.folds = [];
    /** @type {Record<string, boolean>} */
    this.open = {};
    this.root = h("div", { class: "dwf dw-themed", "data-lm-suppress-shortcuts": "true" });
    keepKeys(this.root);
    // A user who presses Run next expects these texts to count, so they must reach the kernel before that.
    this.send = () => this.outbox.flush();
    this.root.addEventListener("focusout", this.send);
    document.addEventListener("click", this.send, true); // also where the focus was not here, as in a window behind others
    this.build();
    el.append(this.root);
    this.fittedTo = 0; // the width to which the formula was fitted
    this.fitter = new ResizeObserver(() => this.formula.clientWidth !== this.fittedTo && this.fit());
    this.fitter.observe(this.formula);
    this.receive = (/** @type {any} */ content) => content?.k === "index" && this.finder.fill(content.options);
    model.on("msg:custom", this.receive);
    /** @type {[string, () => void][]} */
    this.listeners = [
      ["change:menu", () => this.drawMenu()],
      ["change:panel", () => this.drawPanel()],
      ["change:state", () => this.shown === model.get("state") || this.drawState()],
      ["change:preview", () => this.drawPicture()],
      ["change:notice", () => this.drawNotice()],
      ["change:aside", () => this.drawAside()],
      ["change:code", () => this.exchange.draw()],
      ["change:json", () => this.exchange.draw()],
    ];
    for (const [, listener] of this.listeners) listener();
    this.listeners.push(["change:json", () => this.tellMarimo()]);
    for (const [event, listener] of this.listeners) model.on(event, listener);
  }

  build() {
    const { prefix, outbox } = this;
    this.notice = h("span");
    const dismiss = {
      type: "button",
      class: "dwf-icon",
      "aria-label": "Dismiss",
      click: () => outbox.command({ k: "dismiss" }),
    };
    this.noticeBox = h(
      "div",
      { class: "dwf-notice", role: "alert", hidden: true },
      this.notice,
      h("button", dismiss, "×"),
    );
    const unfold = () => this.fold.setAttribute("aria-expanded", String(this.fold.ariaExpanded !== "true"));
    this.asideWords = h("span");
    const take = () => {
      this.tip.hide();
      outbox.command({ k: "take" });
    };
    this.take = h("button", { type: "button", class: "dwf-take", click: take }, "Take these settings into the form");
    this.tip.attach(this.take, () => [this.model.get("aside").button]);
    this.aside = h("div", { class: "dwf-aside" }, h("span", { role: "status" }, this.asideWords), this.take);
    // Only the stylesheet of a narrow bench shows this button, and folds what follows it.
    this.fold = h("button", { type: "button", class: "dwf-fold", "aria-expanded": "false", click: unfold }, "Options");
    this.key = h("code", { class: "dwf-name" });
    this.summary = h("p", { class: "dwf-summary" });
    this.formula = h("div", { class: "dwf-formula" });
    this.links = h("p", { class: "dwf-links" });
    this.body = h("div", { class: "dwf-body", tabindex: -1 });
    this.picture = h("div", { class: "dwf-picture" });
    this.root.append(
      h(
        "div",
        { class: "dwf-head" },
        this.noticeBox,
        h(
          "div",
          { class: "dwf-choose" },
          h("label", { for: `${prefix}-optimizer` }, "Optimizer"),
          this.menu.select,
          this.key,
          this.finder.node,
        ),
        this.menu.absence,
      ),
      h(
        "div",
        { class: "dwf-rest" },
        this.fold,
        this.aside,
        h("div", { class: "dwf-about" }, this.summary, this.formula, this.links),
        this.presets.node,
        this.body,
        h("div", { class: "dwf-foot" }, this.sums.node, this.exchange.node),
      ),
      this.finder.popup,
      this.tip.node,
      hiddenStandIn(this.model),
    );
  }

  /** @param {string} optimizer */
  choose(optimizer) {
    this.target = undefined;
    this.outbox.command({ k: "choose", optimizer });
  }

  /** Show an option, and switch to its optimizer if needed. @param {string} optimizer @param {string} name */
  goTo(optimizer, name) {
    if (this.model.get("panel").optimizer === optimizer) return this.rows.get(name)?.show();
    this.choose(optimizer);
    this.target = { optimizer, name };
  }

  drawMenu() {
    this.menu.draw(this.model.get("menu"));
    this.menu.show(this.model.get("panel").optimizer);
    this.finder.forget();
  }

  drawPanel() {
    /** @type {Panel} */
    const panel = this.model.get("panel");
    this.outbox.flush(); // the texts belong to the options of the previous optimizer
    const handover = new Handover(this.root, this.rows);
    for (const row of this.rows.values()) row.dispose();
    this.optimizer = panel.optimizer;
    this.menu.show(panel.optimizer);
    this.key.replaceChildren(...breakable(panel.optimizer));
    this.key.hidden = letters(panel.title) === letters(panel.optimizer); // one of the two is enough
    say(this.summary, panel.summary);
    const equations = panel.mathml.map((equation) => drawing(equation, "application/xml"));
    const drawn = equations.length && equations.every(Boolean) ? equations : [h("code", {}, panel.latex)];
    this.formula.replaceChildren(.../** @type {Element[]} */ (drawn));
    this.formula.hidden = !panel.latex;
    const links = panel.links.flatMap(({ title, url }, i) => [
      i ? " · " : "",
      h("a", { href: /^https?:/.test(url) ? url : "#", target: "_blank", rel: "noopener noreferrer" }, title),
    ]);
    this.links.replaceChildren(...links);
    this.presets.draw(panel.presets);
    this.tip.hide();
    this.rows = new Map(
      Object.values(panel.controls).map((control) => [
        control.name,
        new Row(control, this.outbox, this.prefix, this.tip),
      ]),
    );
    this.folds = [];
    this.body.replaceChildren(...panel.sections.map((section) => this.drawSection(section)));
    handover.texts(this.rows);
    this.drawState();
    handover.focus(this.rows, this.body);
    this.fit();
    const { target } = this;
    if (target?.optimizer !== panel.optimizer) return;
    this.target = undefined;
    queueMicrotask(() => this.rows.get(target.name)?.show()); // after the state, which may grey the control
  }

  /** Draw a section that folds. @param {Section} section */
  drawSection(section) {
    const rows = section.controls.map((name) => /** @type {Row} */ (this.rows.get(name)).node);
    const count = h("span", { class: "dwf-count" });
    this.folds.push({ section, count });
    const toggle = (/** @type {any} */ event) => (this.open[section.title] = event.target.open);
    const open = this.open[section.title] ?? !section.fold;
    const summary = h("summary", {}, section.title, " ", count);
    return h("details", { class: "dwf-section", open, toggle }, summary, section.picture && this.picture, ...rows);
  }

  drawState() {
    if (this.model.get("panel").optimizer !== this.optimizer) return; // its rows follow: panel and state arrive together, in either order
    /** @type {State} */
    const state = this.model.get("state");
    this.shown = state;
    if (state.seen[0] === this.page && state.seen[1] !== undefined) this.outbox.seen(state.seen[1]);
    if (!this.outbox.waiting) {
      clearTimeout(this.patience);
      if (this.waits) this.exchange.tell("");
      this.waits = false;
    }
    for (const [name, row] of this.rows) if (state.controls[name]) row.update(state.controls[name]);
    this.presets.update(state);
    this.exchange.wrong = this.sums.draw(state.controls, this.rows, this.folds);
    this.exchange.answer(state.pasted, this.page);
  }

  drawPicture() {
    const picture = drawing(this.model.get("preview"), "image/svg+xml");
    this.picture.replaceChildren(...(picture ? [picture] : []));
  }

  /** Say that other settings are in use, and offer them. */
  drawAside() {
    const { words = "", button = "", unused = false } = this.model.get("aside");
    this.root.classList.toggle("dwf-unused", unused);
    this.aside.hidden = !words;
    say(this.asideWords, words);
    if (!button && this.take === document.activeElement) this.body.focus({ preventScroll: true });
    this.take.hidden = !button;
    say(this.fold, unused ? "Options (not in use)" : "Options");
  }

  drawNotice() {
    const notice = this.model.get("notice");
    say(this.notice, notice);
    this.noticeBox.hidden = !notice;
  }

  /** Marimo runs the cells that use a widget once the page has changed one of its traits. */
  tellMarimo() {
    const root = this.root.getRootNode();
    if (!(root instanceof ShadowRoot && root.host.localName.startsWith("marimo"))) return;
    this.model.set("told", this.model.get("told") + 1);
    this.model.save_changes();
  }

  wait() {
    if (!this.outbox.waiting) return;
    this.waits = true;
    this.exchange.tell("Waiting for the kernel, which is busy…");
  }

  /** Draw all equations smaller when one alone is too wide; a box that scrolls would be harder to read. */
  fit() {
    const { formula } = this;
    this.fittedTo = formula.clientWidth;
    const equations = /** @type {HTMLElement[]} */ ([...formula.children]);
    for (const equation of equations) if (equation.style.fontSize) equation.style.fontSize = "";
    const widths = equations.map((drawn) => Math.max(drawn.scrollWidth, drawn.getBoundingClientRect().width));
    const room = (this.fittedTo - 2 * MARGIN) / Math.max(1, ...widths);
    if (room >= 1 || room <= 0) return;
    for (const equation of equations) equation.style.fontSize = `${Math.max(60, Math.floor(room * 100))}%`;
  }

  dispose() {
    document.removeEventListener("click", this.send, true);
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    for (const row of this.rows.values()) row.dispose();
    this.model.off("msg:custom", this.receive);
    this.tip.hide();
    this.outbox.flush();
    clearTimeout(this.patience);
    this.fitter.disconnect();
    this.root.remove();
  }
}

/** @param {{model: Model, el: HTMLElement}} place */
function render({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default withKernel({ render });
