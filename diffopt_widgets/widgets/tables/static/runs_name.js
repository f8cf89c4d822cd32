// @ts-check
// The name of a run, which one can change where it stands.
import { h, say } from "../../page/static/dom.js";

/** Longer than any name may be, and short enough for one message. */
const MOST_SENT = 20_000;

/**
 * A field that looks like plain text until it is used: the text wraps, and is cut after two lines. Enter and leaving the
 * field send the name, Escape gives up. What the kernel refuses stays as it was typed, with the reason below.
 */
export class NameField {
  /** @param {string} id @param {(name: string) => void} send */
  constructor(id, send) {
    this.send = send;
    this.name = "";
    /** What was sent, until the answer comes; and what was refused. @type {string | null} */
    this.asked = null;
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

  /** Only when the mouse or the key that led away is let go: what moved under a pressed mouse would miss its click. */
  leave() {
    const waiting = new AbortController();
    const done = () => {
      waiting.abort();
      setTimeout(() => {
        if (document.activeElement === this.input) return;
        this.node.classList.remove("dwr-open");
        this.commit();
      });
    };
    const options = { signal: waiting.signal, capture: true };
    for (const end of ["pointerup", "pointercancel", "keyup"]) addEventListener(end, done, options);
  }

  commit() {
    const text = this.input.value;
    if (text === this.name || text === this.asked) return;
    this.asked = text;
    this.send(text.slice(0, MOST_SENT));
  }

  giveUp() {
    this.asked = null;
    this.mark("");
    this.put(this.name);
  }

  /** The kernel's answer: what is wrong with the name, or nothing. @param {string} wrong */
  answer(wrong) {
    if (this.input.value !== this.asked) return; // it is about a text that is no longer there
    if (wrong) this.mark(wrong);
    else this.giveUp();
  }

  /** @param {string} wrong */
  mark(wrong) {
    if (!wrong && this.wrong.hidden) return;
    if (!wrong) this.asked = null;
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
