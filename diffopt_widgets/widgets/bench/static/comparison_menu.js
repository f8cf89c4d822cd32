// @ts-check
// Buttons of ready comparisons, and a text on what to look for in the one under the mouse.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { h, say } from "../../page/static/dom.js";

/** @typedef {{key: string, title: string, look_for: string}} Item */

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const text = h("p", { class: "dw-look-for", "aria-live": "polite" });
  /** @type {Map<string, {button: any, item: Item}>} */
  const buttons = new Map();
  /** Comparison that a finger has tapped last. */
  let tapped = "";
  const rest = () => say(text, buttons.get(model.get("pressed"))?.item.look_for ?? model.get("about"));
  for (const item of /** @type {Item[]} */ (model.get("items"))) {
    const look = () => say(text, item.look_for);
    const click = (/** @type {PointerEvent} */ { pointerType }) => {
      // A finger cannot point without pressing: its first tap only reads.
      if (pointerType === "touch" && tapped !== item.key) tapped = item.key;
      else model.send({ choose: item.key });
    };
    const blur = () => {
      tapped = "";
      rest();
    };
    const listeners = { click, mouseenter: look, focus: look, mouseleave: rest, blur };
    buttons.set(item.key, { button: h("button", { type: "button", ...listeners }, item.title), item });
  }
  const row = h("div", { class: "dw-menu-buttons", role: "group", "aria-label": "Ready comparisons" });
  row.append(...[...buttons.values()].map(({ button }) => button));
  const mark = () => {
    for (const [key, { button }] of buttons) button.setAttribute("aria-pressed", String(key === model.get("pressed")));
    rest();
  };
  mark();
  model.on("change:pressed", mark);
  // Every text takes up its room, invisibly, so that a change of text moves nothing from under the mouse.
  const texts = [model.get("about"), ...[...buttons.values()].map(({ item }) => item.look_for)];
  const rooms = texts.map((line) => h("span", { class: "dw-look-room", "aria-hidden": "true", "data-text": line }));
  const root = h("div", { class: "dw-themed dw-menu" }, row, h("div", { class: "dw-look" }, text, ...rooms));
  keepKeys(root);
  el.append(root);
  return () => {
    model.off("change:pressed", mark);
    root.remove();
  };
}

export default withKernel({ render });
