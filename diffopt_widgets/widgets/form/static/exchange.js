// @ts-check
// Copying settings as code or as JSON, and pasting them.
import { h, say } from "../../page/static/dom.js";
import { sendable } from "./outbox.js";

/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {{get(name: string): any}} Source */
/** @typedef {"code" | "json"} Kind */
/** The answer to a pasted text: the page, the number of its message, the faults. @typedef {[string, number, string[]] | []} Pasted */

const LABELS = { code: "The settings as code", json: "The settings as JSON" };

export class Exchange {
  /** @param {Source} source @param {Outbox} outbox @param {string} prefix */
  constructor(source, outbox, prefix) {
    this.source = source;
    this.outbox = outbox;
    this.wrong = false; // true while the form holds a text that is wrong
    /** Number of the paste that waits for an answer. @type {number | undefined} */
    this.asked = undefined;
    /** Kind of text in the box. @type {Kind} */
    this.kind = "code";
    this.status = h("span", { class: "dwf-status", role: "status" });
    this.box = h("textarea", { class: "dwf-code", readonly: true, hidden: true });
    this.makePaste(prefix);
    const button = (/** @type {string} */ words, /** @type {() => void} */ click, more = {}) =>
      h("button", { type: "button", click, ...more }, words);
    this.show = button("Show code", () => this.toggleCode(), { "aria-expanded": "false" });
    this.open = button("Paste settings", () => this.togglePaste(), { "aria-expanded": "false" });
    const copies = [
      button("Copy as code", () => this.copy("code")),
      this.show,
      button("Copy settings", () => this.copy("json")),
      this.open,
    ];
    this.node = h(
      "div",
      { class: "dwf-exchange" },
      h("div", { class: "dwf-buttons" }, ...copies, this.status),
      this.box,
      this.paste,
    );
  }

  /** @param {string} prefix */
  makePaste(prefix) {
    const id = `${prefix}-paste`;
    this.area = h("textarea", {
      class: "dwf-code",
      id,
      rows: 6,
      spellcheck: "false",
      "aria-describedby": `${id}-faults`,
      keydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.togglePaste(false),
    });
    this.faults = h("div", { class: "dwf-error", id: `${id}-faults`, role: "alert" });
    this.paste = h(
      "div",
      { class: "dwf-paste", hidden: true },
      h("label", { for: id }, "Settings as JSON, or as Settings(…)"),
      this.area,
      this.faults,
      h(
        "div",
        { class: "dwf-buttons" },
        h("button", { type: "button", click: () => this.apply() }, "Apply"),
        h("button", { type: "button", click: () => this.togglePaste(false) }, "Cancel"),
      ),
    );
  }

  /** Show the new settings of the kernel. */
  draw() {
    const text = this.source.get(this.kind);
    this.box.value = text;
    this.box.rows = text.split("\n").length;
    this.box.setAttribute("aria-label", LABELS[this.kind]);
    this.tell("");
  }

  /** @param {string} words */
  tell(words) {
    say(this.status, words);
  }

  toggleCode() {
    const open = this.box.hidden || this.kind !== "code";
    this.reveal("code", open);
  }

  /** @param {Kind} kind @param {boolean} open */
  reveal(kind, open) {
    this.kind = kind;
    this.draw();
    this.box.hidden = !open;
    const code = open && kind === "code";
    this.show.setAttribute("aria-expanded", String(code));
    say(this.show, code ? "Hide code" : "Show code");
  }

  /** Copy the settings that the kernel knows, once it has the texts typed last. @param {Kind} kind */
  async copy(kind) {
    if (!(await this.outbox.known()))
      return this.tell("Not copied: the kernel is busy and has not received the last edits");
    const wrong = this.wrong ? " with the last valid values" : "";
    try {
      await navigator.clipboard.writeText(this.source.get(kind)); // there is no clipboard on plain http
      this.tell(`Copied${wrong}`);
    } catch {
      this.reveal(kind, true);
      this.box.focus();
      this.box.select();
      this.tell(`Selected${wrong}: press Ctrl+C (⌘C) to copy`);
    }
  }

  togglePaste(open = this.paste.hidden) {
    this.paste.hidden = !open;
    this.open.setAttribute("aria-expanded", String(open));
    this.tell("");
    if (open) {
      this.area.focus();
      this.area.select(); // a paste replaces the text that was left there
    } else {
      this.asked = undefined;
      this.open.focus();
    }
  }

  apply() {
    this.complain([]);
    this.asked = this.outbox.command({ k: "paste", text: sendable(this.area.value) });
  }

  /** Show the answer to the pasted text. @param {Pasted} pasted @param {string} own id of this page */
  answer([page, number, faults], own) {
    if (page !== own || number !== this.asked || !faults) return;
    this.asked = undefined;
    if (faults.length) {
      this.complain(faults);
      this.area.focus();
    } else {
      this.area.value = "";
      this.togglePaste(false);
      queueMicrotask(() => this.tell("Pasted; Undo takes it back")); // after the new settings have cleared the status
    }
  }

  /** @param {string[]} faults */
  complain(faults) {
    const items = faults.map((fault) => h("li", {}, fault));
    this.faults.replaceChildren(...(items.length ? [h("ul", {}, ...items)] : []));
    if (items.length) this.area.setAttribute("aria-invalid", "true");
    else this.area.removeAttribute("aria-invalid");
  }
}
