// @ts-check
// Keyboard support that plain widgets lack. Without it the notebook takes their keys; a button that is disabled while it is
// used loses the focus; an invalid field is marked by its colour only; and a click on a button overtakes the text that was
// typed before it, since a field does not send its text until an earlier one is answered.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";

/** First enabled button in the same row as this one. @param {Element} button */
const neighbour = (button) =>
  /** @type {HTMLElement | null} */ (button.parentElement?.querySelector("button:not(:disabled)") ?? null);

/** Mark an invalid field for screen readers too. @param {Element} field */
function markInvalid(field) {
  field.querySelector(":scope > input")?.setAttribute("aria-invalid", String(field.classList.contains("dw-wrong")));
}

/** Guard a box as long as it is shown. @param {any} model @param {HTMLElement} box @param {AbortSignal} signal */
function guard(model, box, signal) {
  box.dataset.lmSuppressShortcuts = "true";
  keepKeys(box);
  /** Element that had the focus last, unless a person moved the focus away. @type {Element | undefined} */
  let last;
  box.addEventListener("focusin", ({ target }) => (last = /** @type {Element} */ (target)), { signal });
  const press = (/** @type {MouseEvent} */ { target }) => {
    if (!(/** @type {Element} */ (target).closest("button"))) return;
    const texts = /** @type {NodeListOf<HTMLInputElement>} */ (box.querySelectorAll("input[type=text]"));
    model.send({ texts: [...texts].map(({ value }) => value) });
  };
  box.addEventListener("click", press, { signal, capture: true }); // before the button's own message
  const leave = (/** @type {FocusEvent} */ { target }) => {
    if (!(/** @type {Element} */ (target).matches(":disabled"))) last = undefined;
  };
  box.addEventListener("focusout", leave, { signal });
  const move = () => {
    if (!last?.matches(":disabled")) return;
    const { activeElement: here } = document;
    if (here !== last && here !== document.body) last = undefined;
    else neighbour(last)?.focus(); // if there is none yet, one is enabled in a moment
  };
  const watch = new MutationObserver((changes) => {
    move();
    for (const { target } of changes) markInvalid(/** @type {Element} */ (target));
  });
  watch.observe(box, { subtree: true, attributeFilter: ["disabled", "class"] });
  for (const field of box.querySelectorAll(".dw-wrong")) markInvalid(field);
  signal.addEventListener("abort", () => watch.disconnect());
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  el.style.display = "none";
  const controller = new AbortController();
  const begin = () => {
    if (controller.signal.aborted) return;
    if (el.parentElement) guard(model, el.parentElement, controller.signal);
    else requestAnimationFrame(begin); // the widget is put into its box after this
  };
  begin();
  return () => controller.abort();
}

/**
 * Let go of models that are about to be closed and have no view any more. JupyterLab holds closed models for as long as the
 * kernel lives, and with them their last views: as listeners of these, and as the result of the model's last step. What a
 * closed model held is let go of too.
 * @param {any} manager @param {string[]} ids
 */
function release(manager, ids) {
  for (const id of ids) {
    const found = manager.get_model(id)?.then((/** @type {any} */ model) => {
      // With "destroy" anywidget lets go of its own.
      for (const event of Object.keys(model._events ?? {})) if (!/^(comm:|destroy$)/.test(event)) model.off(event);
      model.state_change = Promise.resolve();
      model.once("destroy", () => (model.attributes = model._previousAttributes = model.changed = {}));
    });
    found?.catch(() => {}); // it is gone already
  }
}

/** @param {{model: any}} place */
function initialize({ model }) {
  const take = (/** @type {any} */ content) => content?.release && release(model.widget_manager, content.release);
  model.on("msg:custom", take);
  return () => model.off("msg:custom", take);
}

export default withKernel({ initialize, render });
