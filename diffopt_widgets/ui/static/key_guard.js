// @ts-check
// Plain widgets let the notebook take their keys, and a button that is switched off while it is used loses the focus.
import { contain } from "./form_dom.js";

/** A button that can be used, in the same row as this one. @param {Element} button */
const neighbour = (button) =>
  /** @type {HTMLElement | null} */ (button.parentElement?.querySelector("button:not(:disabled)") ?? null);

/** Guard a box as long as it is shown. @param {HTMLElement} box @param {AbortSignal} signal */
function guard(box, signal) {
  box.dataset.lmSuppressShortcuts = "true";
  box.addEventListener("keydown", contain, { signal });
  /** A button that was switched off while it had the focus, and has no neighbour yet. @type {Element | undefined} */
  let left;
  const watch = new MutationObserver((changes) => {
    const { activeElement: here } = document;
    const off = changes.map(({ target }) => /** @type {Element} */ (target)).find((target) => target === here);
    if (off?.matches(":disabled")) left = off;
    else if (here !== document.body) left = undefined; // somebody has gone elsewhere
    const next = left && neighbour(left);
    if (!next) return;
    left = undefined;
    next.focus();
  });
  watch.observe(box, { subtree: true, attributeFilter: ["disabled"] });
  signal.addEventListener("abort", () => watch.disconnect());
}

/** @param {{el: HTMLElement}} place */
function render({ el }) {
  el.style.display = "none";
  const controller = new AbortController();
  const begin = () => {
    if (controller.signal.aborted) return;
    if (el.parentElement) guard(el.parentElement, controller.signal);
    else requestAnimationFrame(begin); // it is put into its box after this
  };
  begin();
  return () => controller.abort();
}

export default { render };
