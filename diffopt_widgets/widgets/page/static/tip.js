// @ts-check
// A short line that floats beside what one looks at, and moves nothing.
import { h } from "./dom.js";

const HOVER_PAUSE = 300; // a mouse that only passes by asks for nothing
const LINGER = 150; // time to move the mouse from the thing to its tip
const TIP_GAP = 4;

export class Tip {
  /** @param {string} prefix */
  constructor(prefix) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {HTMLElement | undefined} */
    this.anchor = undefined;
    this.node = h("div", {
      class: "dwf-tip",
      role: "tooltip",
      id: `${prefix}-tip`,
      hidden: true,
      pointerenter: () => clearTimeout(this.timer),
      pointerleave: () => this.later(() => this.hide(), LINGER),
    });
    this.escape = (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.hide();
  }

  /**
   * Show a tip while the mouse or the keyboard is on an element; a finger that taps it does not ask for one.
   * @param {HTMLElement} anchor @param {() => string[]} lines none when there is nothing to say now
   */
  attach(anchor, lines) {
    anchor.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse")
        this.later(() => this.show(anchor, lines()), this.node.hidden ? HOVER_PAUSE : 0);
    });
    anchor.addEventListener("pointerleave", () => this.later(() => this.hide(), LINGER));
    anchor.addEventListener("focus", () => anchor.matches(":focus-visible") && this.show(anchor, lines()));
    anchor.addEventListener("blur", () => this.hide());
    anchor.addEventListener("click", () => this.hide());
  }

  /** Show what the mouse would be told of an element that is no control, or a button with `data-told`, to a finger that taps it.
   * @param {HTMLElement} root */
  attachTitles(root) {
    root.addEventListener("click", (event) => {
      const { pointerType, target } = /** @type {PointerEvent} */ (event);
      const told = /** @type {Element} */ (target).closest("[title]");
      const control = /** @type {Element} */ (target).closest(
        "a, button:not([data-told]), input, select, summary, textarea",
      );
      if (pointerType !== "touch") return;
      if (told instanceof HTMLElement && told.title && !control) this.show(told, told.title.split("\n"));
      else this.hide();
    });
  }

  /** @param {() => void} act @param {number} pause */
  later(act, pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(act, pause);
  }

  /** @param {HTMLElement} anchor @param {string[]} lines */
  show(anchor, lines) {
    this.hide();
    if (!lines.length || !anchor.isConnected) return;
    this.anchor = anchor;
    this.node.replaceChildren(...lines.map((line) => h("div", {}, line)));
    this.node.hidden = false;
    anchor.setAttribute("aria-describedby", this.node.id);
    document.addEventListener("keydown", this.escape, true);
    this.place(anchor);
  }

  /** Below the element, or above it at the end of the widget; never wider than the widget. @param {HTMLElement} anchor */
  place(anchor) {
    const frame = /** @type {HTMLElement} */ (this.node.parentElement).getBoundingClientRect();
    const box = anchor.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.node;
    const below = box.bottom - frame.top + TIP_GAP;
    const above = box.top - frame.top - height - TIP_GAP;
    this.node.style.left = `${Math.max(0, Math.min(box.left - frame.left, frame.width - width))}px`;
    this.node.style.top = `${below + height > frame.height && above > 0 ? above : below}px`;
  }

  hide() {
    clearTimeout(this.timer);
    this.node.hidden = true;
    this.anchor?.removeAttribute("aria-describedby");
    this.anchor = undefined;
    document.removeEventListener("keydown", this.escape, true);
  }
}
