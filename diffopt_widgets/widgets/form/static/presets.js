// @ts-check
// Buttons for presets, and Undo.
import { h, say } from "../../page/static/dom.js";

/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("../../page/static/tip.js").Tip} Tip */
/** @typedef {{key: string, title: string, why: string}} Preset */

export class Presets {
  /** @param {Outbox} outbox @param {Tip} tip */
  constructor(outbox, tip) {
    this.outbox = outbox;
    this.tip = tip;
    this.loaded = ""; // the preset that was loaded last; of two equal ones it is the one in use
    /** The presets that the controls show. @type {string[]} */
    this.shown = [];
    this.undone = ""; // name of the change that Undo takes back
    /** @type {Map<string, {button: any, title: string}>} */
    this.found = new Map();
    this.buttons = h("div", { class: "dwf-buttons", role: "group", "aria-label": "Load defaults" });
    this.inUse = h("summary", { class: "dwf-in-use" });
    this.whys = h("dl");
    const why = h("details", { class: "dwf-why" }, this.inUse, this.whys);
    this.undo = this.explained(
      "Undo",
      "dwf-undo",
      () => this.undone && outbox.command({ k: "undo" }),
      () => this.words,
    );
    this.node = h("div", { class: "dwf-presets" }, h("span", {}, "Load defaults"), this.buttons, this.undo, why);
  }

  /** Make a button with a tip.
   * @param {string} title @param {string} name @param {() => void} click @param {() => string} words */
  explained(title, name, click, words) {
    const button = h("button", { type: "button", class: name, click }, title);
    this.tip.attach(button, () => [words()]);
    return button;
  }

  /** @param {Preset[]} presets */
  draw(presets) {
    this.found = new Map();
    for (const { key, title, why } of presets) {
      const load = () => {
        this.loaded = key;
        this.outbox.command({ k: "load", preset: key });
      };
      this.found.set(key, { title, button: this.explained(title, "dwf-preset", load, () => why) });
    }
    this.buttons.replaceChildren(...[...this.found.values()].map(({ button }) => button));
    this.whys.replaceChildren(...presets.flatMap(({ title, why }) => [h("dt", {}, title), h("dd", {}, why)]));
  }

  /** @param {{presets: string[], undo: string}} state */
  update({ presets, undo }) {
    this.shown = presets;
    for (const [key, { button }] of this.found) button.setAttribute("aria-pressed", String(presets.includes(key)));
    this.undone = undo;
    // Not `disabled`: the button would lose the focus of a user who undoes everything by the keyboard.
    this.undo.setAttribute("aria-disabled", String(!undo));
    this.undo.setAttribute("aria-label", this.words);
    this.drawInUse();
  }

  get words() {
    return this.undone ? `Undo: ${this.undone}` : "Undo: nothing to take back";
  }

  /** Name the preset in use, in one line, so that nothing moves when a value is typed; the details unfold below it. */
  drawInUse() {
    const key = this.shown.includes(this.loaded) ? this.loaded : this.shown[0];
    const same = this.shown.filter((other) => other !== key).map((other) => this.found.get(other)?.title);
    const more = same.length ? `, the same as ${same.join(" and ")} here` : "";
    say(this.inUse, `In use: ${this.found.get(key)?.title ?? "your own values"}${more}`);
  }
}
