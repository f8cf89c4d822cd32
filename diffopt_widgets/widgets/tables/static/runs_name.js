// @ts-check
// Name of a run, which can be edited in place.
import { h, say } from "../../page/static/dom.js";

/** Number of characters that are sent at most: longer than any allowed name, short enough for one message. */
const MOST_SENT = 20_000;

/**
 * A field that looks like plain text until it is used: the text wraps, and is cut after two lines. Enter, or leaving the
 * field, sends the name; Escape restores the old one. A refused name stays as it was typed, with the reason below.
 */
export class NameField {
  /** @param {string} id @param {(name: string) => void} send */
  constructor(id, send) {
    this.send = send;
    this.name = "";
    /** Text that was sent and is not answered yet, or was refused. @type {string | null} */
    this.sent = null;
    this.text = h("span", { class: "dwr-name-text", "aria-hidden": "true" });
    this.input = h("textarea", {
      class: "dwr-name-input",
      rows: 1,
      spellcheck: "false",
      autocomplete: "off",
      input: () => this.typed(),
      focus: () => this.node.classList.add("dwr-open"),
      blur: () => this.leave(),
      keydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    });
    this.wrong = h("div", { class: "dwr-wrong", id: `${id}-wrong`, role: "alert" });
    this.wrong.hidden = true;
    this.node = h("div", { class: "dwr-name" }, this.text, this.input);
  }

  /** Show the run's name, unless another is being typed. @param {string} name */
  show(name) {
    const typing = this.input.value !== this.name;
    this.name = name;
    this.input.setAttribute("aria-label", `Name of ${name}`);
    this.input.title = name;
    if (!typing) this.put(name);
  }

  /** @param {string} text */
  put(text) {
    if (this.input.value !== text) this.input.value = text;
    say(this.text, text || " ");
  }

  typed() {
    say(this.text, this.input.value || " ");
    this.mark("");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault(); // a name has one line
      this.commit();
    }
    if (event.key === "Escape") this.giveUp();
  }

  /** Commit after the mouse button or key is released: an element that moves under a pressed mouse would miss its click. */
  leave() {
    const controller = new AbortController();
    const done = () => {
      controller.abort();
      setTimeout(() => {
        if (document.activeElement === this.input) return;
        this.node.classList.remove("dwr-open");
        this.commit();
      });
    };
    const options = { signal: controller.signal, capture: true };
    for (const end of ["pointerup", "pointercancel", "keyup"]) addEventListener(end, done, options);
  }

  commit() {
    const text = this.input.value;
    if (text === this.name || text === this.sent) return;
    this.sent = text;
    this.send(text.slice(0, MOST_SENT));
  }

  giveUp() {
    this.sent = null;
    this.mark("");
    this.put(this.name);
  }

  /** Handle the kernel's answer: the error of the name, or an empty text. @param {string} wrong */
  answer(wrong) {
    if (this.input.value !== this.sent) return; // the answer is about an earlier text
    if (wrong) this.mark(wrong);
    else this.giveUp();
  }

  /** @param {string} wrong */
  mark(wrong) {
    if (!wrong && this.wrong.hidden) return;
    if (!wrong) this.sent = null;
    say(this.wrong, wrong && `Not renamed: ${wrong}. Escape brings the old name back.`);
    this.wrong.hidden = !wrong;
    this.node.classList.toggle("dwr-refused", Boolean(wrong));
    if (wrong) {
      this.input.setAttribute("aria-invalid", "true");
      this.input.setAttribute("aria-errormessage", this.wrong.id);
    } else {
      this.input.removeAttribute("aria-invalid");
      this.input.removeAttribute("aria-errormessage");
    }
  }
}
