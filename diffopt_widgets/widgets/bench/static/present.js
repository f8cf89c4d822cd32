// @ts-check
// Present mode: the bench fills the screen, its type is large, and letters do what a lecturer needs.
import { withKernel } from "../../page/static/lost.js";
import { h } from "../../page/static/dom.js";

/** Whether letters are text here. @param {EventTarget | null} target */
const takesText = (target) =>
  target instanceof Element &&
  target.matches("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=button])");

/** All that is beside an element anywhere in the page. @param {Element} element @returns {Element[]} */
function beside(element) {
  const { parentNode } = element;
  if (!parentNode || element === document.body) return [];
  const others = [...parentNode.children].filter((other) => other !== element);
  const outer = parentNode instanceof ShadowRoot ? parentNode.host : /** @type {Element} */ (parentNode);
  return [...others, ...beside(outer)];
}

const LOOKS = { role: "dialog", "aria-modal": "true", "aria-label": "Bench in present mode", tabindex: "-1" };

/** The bench of one view, as it stands in the page. */
class Stage {
  /** @param {HTMLElement} bench @param {HTMLElement} help line below the bench @param {() => void} leave */
  constructor(bench, help, leave) {
    this.bench = bench;
    this.leave = leave;
    this.on = false;
    this.help = help;
    this.resizes = new ResizeObserver(() => this.fit());
    this.full = () => document.fullscreenElement !== this.bench && this.popped === false && this.leave();
    /** False while the browser's full screen shows the bench, true while it lies over the page. */
    this.popped = true;
    /** What lies behind it. @type {Element[]} */
    this.behind = [];
  }

  /** @param {boolean} on */
  set(on) {
    if (on === this.on) return;
    this.on = on;
    if (on) void this.begin();
    else this.end();
  }

  async begin() {
    const { bench } = this;
    const place = /** @type {HTMLElement} */ (bench.parentElement);
    place.style.minHeight = `${place.offsetHeight}px`; // the page behind does not move
    bench.classList.add("dw-present");
    bench.append(this.help);
    if (bench.classList.contains("dw-is-lost"))
      for (const letter of this.help.querySelectorAll("button:not(.dw-present-leave)"))
        letter.toggleAttribute("disabled", true);
    // With the tabindex a click between two controls does not take the keys to the notebook.
    for (const [name, value] of Object.entries(LOOKS)) bench.setAttribute(name, value);
    this.behind = beside(bench).filter((other) => !other.hasAttribute("inert"));
    for (const other of this.behind) other.toggleAttribute("inert", true);
    bench.dataset.lmSuppressShortcuts = "true";
    for (const part of bench.querySelectorAll(".dw-part-bar, .dw-part-menu, .dw-plot-bar")) this.resizes.observe(part);
    this.resizes.observe(bench);
    document.addEventListener("fullscreenchange", this.full);
    await this.fill();
    if (!this.on) return;
    bench.focus({ preventScroll: true });
    bench.scrollTop = 0;
    this.fit();
  }

  /** Fill the screen, which needs a click or a key, or else the window. */
  async fill() {
    const { bench } = this;
    this.popped = true;
    if (document.fullscreenEnabled && navigator.userActivation?.isActive) {
      try {
        await bench.requestFullscreen();
        this.popped = false;
        if (!this.on) this.end();
        return;
      } catch {
        // the page lies in a frame that may not, or a person has forbidden it
      }
    }
    if (!this.on) return;
    bench.popover = "manual"; // above everything, whatever box of the notebook it stands in
    bench.showPopover?.();
  }

  end() {
    const { bench } = this;
    this.resizes.disconnect();
    document.removeEventListener("fullscreenchange", this.full);
    if (document.fullscreenElement === bench) void document.exitFullscreen();
    if (bench.popover) bench.hidePopover?.();
    bench.removeAttribute("popover");
    for (const name in LOOKS) bench.removeAttribute(name);
    for (const other of this.behind) other.removeAttribute("inert");
    delete bench.dataset.lmSuppressShortcuts;
    bench.classList.remove("dw-present");
    bench.style.removeProperty("--dw-plot-height");
    bench.parentElement?.style.removeProperty("min-height");
    this.help.remove();
    dispatchEvent(new Event("resize"));
  }

  /** The Tab key goes round in the bench. @param {boolean} backwards */
  keepFocus(backwards) {
    if (!this.on || this.bench.contains(document.activeElement)) return;
    const last = /** @type {HTMLElement} */ (this.help.lastElementChild);
    (backwards ? last : this.bench).focus({ preventScroll: true });
  }

  /** Give the plots all height that is left. */
  fit() {
    const { bench, help } = this;
    const area = bench.querySelector(".dw-plot-area");
    if (!this.on || !area) return;
    const above = area.getBoundingClientRect().top - bench.getBoundingClientRect().top + bench.scrollTop;
    const height = `${Math.max(1, Math.floor(bench.clientHeight - above - help.offsetHeight))}px`;
    if (bench.style.getPropertyValue("--dw-plot-height") === height) return;
    bench.style.setProperty("--dw-plot-height", height);
    dispatchEvent(new Event("resize")); // which plots listen to
  }
}

/**
 * A notebook may have been saved in present mode. Only a kernel brings the mode back, so that a page without one is not covered.
 * @param {{model: any}} place
 */
function initialize({ model }) {
  if (!model.get("on")) return;
  const answered = (/** @type {any} */ content) => "on" in content && model.set("on", content.on);
  model.on("msg:custom", answered);
  model.set("on", false);
  model.send({ ask: "on" });
  return () => model.off("msg:custom", answered);
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  /** @type {Stage | undefined} */
  let stage;
  const controller = new AbortController();
  const { signal } = controller;
  const change = (/** @type {boolean} */ on) => {
    if (on === model.get("on")) return;
    model.set("on", on);
    model.save_changes();
  };
  const leave = () => {
    change(false);
    button.focus({ preventScroll: true });
  };
  const button = h(
    "button",
    { type: "button", class: "dw-present-button", "aria-keyshortcuts": "F", click: () => change(!model.get("on")) },
    "Present",
  );
  const own = h("div", { class: "dw-themed dw-present-switch" }, button);
  el.append(own);
  /** What a key does, which a finger presses. @param {string} key @param {string} does @param {() => void} click */
  const entry = (key, does, click) => h("button", { type: "button", click }, h("kbd", {}, key), ` ${does}`);
  const entries = model
    .get("letters")
    .map((/** @type {string[]} */ [letter, does]) =>
      entry(letter.toUpperCase(), does, () => model.send({ press: letter })),
    );
  const keys = { class: "dw-themed dw-present-keys", role: "group", "aria-label": "Keys of present mode" };
  const out = entry("Esc", "leave", leave);
  out.classList.add("dw-present-leave"); // which needs no kernel
  const help = h("div", keys, ...entries, out);
  const draw = () => {
    const on = model.get("on");
    button.setAttribute("aria-pressed", String(on));
    button.title = on
      ? "Back to the notebook (key Escape)"
      : "Show it to a class: large type, plots fill the screen (key F)";
    stage?.set(on);
  };

  /** Whether a key meant something here. @param {KeyboardEvent} event @param {Stage} stage */
  const pressed = ({ key, target }, stage) => {
    if (!stage.on) return key.toLowerCase() === "f" && !takesText(target) && (change(true), true);
    if (key === "Escape") {
      const inside = target instanceof Element && target !== stage.bench;
      if (inside && takesText(target)) {
        setTimeout(() => stage.bench.focus({ preventScroll: true })); // the first one is the field's, the next one leaves
        return false;
      }
      if (inside && target.closest("details[open].dw-plot-save")) return false;
      leave();
      return true;
    }
    const letter = key.toLowerCase();
    if (takesText(target) || !model.get("letters").some((/** @type {string[]} */ [known]) => known === letter))
      return false;
    model.send({ press: letter });
    return true;
  };
  /** @param {KeyboardEvent} event */
  const listen = (event) => {
    if (!stage || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const inside = stage.bench.contains(/** @type {Node} */ (event.target));
    if (!inside && !stage.on) return;
    if (stage.on && event.key === "Tab") setTimeout(() => stage?.keepFocus(event.shiftKey));
    const known = !event.repeat && pressed(event, stage);
    if (known) event.preventDefault();
    // No key goes to the notebook that is behind.
    if (known || (!inside && event.target === document.body)) event.stopImmediatePropagation();
  };
  window.addEventListener("keydown", listen, { signal, capture: true });

  const placed = new ResizeObserver(() => {
    if (!el.isConnected) return; // the widget is put into its bench after this
    placed.disconnect();
    const bench = /** @type {HTMLElement | null} */ (el.closest(".dw-bench"));
    if (!bench) return own.remove(); // shown without a bench, it has nothing to switch
    stage = new Stage(bench, help, leave);
    draw();
  });
  draw();
  placed.observe(own);
  model.on("change:on", draw);
  return () => {
    model.off("change:on", draw);
    controller.abort();
    placed.disconnect();
    stage?.set(false);
  };
}

export default withKernel({ initialize, render });
