// @ts-check
// What plain widgets lack: they let the notebook take their keys, a button that is switched off while it is used loses the
// focus, a field that is wrong only looks so, and a button overtakes what was typed before it was pressed: a field keeps its
// text back while an earlier one is not answered.
import { keepKeys } from "../../page/static/keep_keys.js";

/** A button that can be used, in the same row as this one. @param {Element} button */
const neighbour = (button) =>
  /** @type {HTMLElement | null} */ (button.parentElement?.querySelector("button:not(:disabled)") ?? null);

/** Say of a wrong field what its colour says. @param {Element} field */
function tell(field) {
  field.querySelector(":scope > input")?.setAttribute("aria-invalid", String(field.classList.contains("dw-wrong")));
}

/** Guard a box as long as it is shown. @param {any} model @param {HTMLElement} box @param {AbortSignal} signal */
function guard(model, box, signal) {
  box.dataset.lmSuppressShortcuts = "true";
  keepKeys(box);
  /** What had the focus last, unless it was left on purpose. @type {Element | undefined} */
  let last;
  box.addEventListener("focusin", ({ target }) => (last = /** @type {Element} */ (target)), { signal });
  const press = (/** @type {MouseEvent} */ { target }) => {
    if (!(/** @type {Element} */ (target).closest("button"))) return;
    const texts = /** @type {NodeListOf<HTMLInputElement>} */ (box.querySelectorAll("input[type=text]"));
    model.send({ texts: [...texts].map(({ value }) => value) });
  };
  box.addEventListener("click", press, { signal, capture: true }); // so before the button's own message
  const leave = (/** @type {FocusEvent} */ { target }) => {
    if (!(/** @type {Element} */ (target).matches(":disabled"))) last = undefined;
  };
  box.addEventListener("focusout", leave, { signal });
  const move = () => {
    if (!last?.matches(":disabled")) return;
    const { activeElement: here } = document;
    if (here !== last && here !== document.body) last = undefined;
    else neighbour(last)?.focus(); // where there is none yet, one is switched on in a moment
  };
  const watch = new MutationObserver((changes) => {
    move();
    for (const { target } of changes) tell(/** @type {Element} */ (target));
  });
  watch.observe(box, { subtree: true, attributeFilter: ["disabled", "class"] });
  for (const field of box.querySelectorAll(".dw-wrong")) tell(field);
  signal.addEventListener("abort", () => watch.disconnect());
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  el.style.display = "none";
  const controller = new AbortController();
  const begin = () => {
    if (controller.signal.aborted) return;
    if (el.parentElement) guard(model, el.parentElement, controller.signal);
    else requestAnimationFrame(begin); // it is put into its box after this
  };
  begin();
  return () => controller.abort();
}

export default { render };
