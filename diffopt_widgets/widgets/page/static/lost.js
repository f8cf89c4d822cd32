// @ts-check
// A widget whose kernel is gone: one line says so, its controls are off, and what is drawn stays.

const RESTARTED = "The kernel was restarted; run the cell again. What is shown here is from before.";
const ENDED = "The kernel does not answer any more; run the cell again. What is shown here is from before.";

/** Whole bench or run bar that a widget belongs to, or the widget itself. @param {HTMLElement} el @returns {HTMLElement} */
const whole = (el) => el.closest(".dw-bench") ?? el.closest(".dw-run-bar") ?? el;

/** Say that the kernel is gone, and switch off all controls but those of plots and of present mode, which need no kernel. @param {HTMLElement} el @param {string} words */
export function showLost(el, words) {
  const root = whole(el);
  if (root.classList.contains("dw-is-lost")) return;
  root.classList.add("dw-is-lost");
  const line = document.createElement("p");
  line.className = "dw-lost";
  line.setAttribute("role", "alert");
  line.textContent = words;
  root.prepend(line);
  for (const control of root.querySelectorAll("button, input, select, textarea")) {
    if (control.closest(".dw-plot, .dw-present-switch, .dw-present-leave")) continue;
    /** @type {any} */ (control).disabled = true;
    if (control.hasAttribute("aria-pressed")) control.setAttribute("aria-pressed", "false");
  }
}

/** The model with a `send` that tells of a kernel that is gone instead of throwing. @param {any} model @param {() => void} lost */
const heard = (model, lost) =>
  new Proxy(model, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== "function") return value;
      if (name !== "send") return value.bind(target);
      return (/** @type {any[]} */ ...content) => {
        try {
          return value.apply(target, content);
        } catch {
          lost();
        }
      };
    },
  });

/**
 * A widget that tells when its kernel is gone. JupyterLab says so to its models when a kernel is restarted; where a host says
 * nothing, the first message that cannot be sent shows it.
 * @template {{initialize?: (place: any) => any, render: (place: any) => any}} W
 * @param {W} widget @returns {W}
 */
export const withKernel = (widget) => ({
  ...widget,
  ...(widget.initialize && {
    initialize: (/** @type {any} */ place) =>
      widget.initialize?.({ ...place, model: heard(place.model, () => undefined) }),
  }),
  async render(/** @type {any} */ place) {
    const lost = () => showLost(place.el, RESTARTED);
    place.model.on("comm_live_update", lost);
    const close = await widget.render({ ...place, model: heard(place.model, () => showLost(place.el, ENDED)) });
    return () => {
      place.model.off("comm_live_update", lost);
      close?.();
    };
  },
});
