// @ts-check
// How much state the optimizer will keep: a line, what it is told for, and a bar for each optimizer.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { breakable, h, hiddenStandIn, ownPrefix, say } from "../../page/static/dom.js";

/** @typedef {{key: string, words: string, why: string, share: number, own: boolean}} Bar */

/** @param {any} model @param {string} name @param {string} label @param {Record<string, string>} items */
function menu(model, name, label, items) {
  const select = h("select", { change: () => model.send({ choose: { [name]: select.value } }) });
  for (const [key, title] of Object.entries(items)) select.append(h("option", { value: key }, title));
  return { select, field: h("label", { class: "dwm-field" }, h("span", {}, label), select) };
}

/** One optimizer's bar. @param {Bar} bar */
function row({ key, words, why, share, own }) {
  const fill = h("span", { class: "dwm-fill", hidden: !share });
  fill.style.width = `${100 * share}%`;
  const size = h("span", { class: "dwm-size", title: why || false }, words || "…");
  const track = h("span", { class: "dwm-track", "aria-hidden": "true" }, fill);
  return h("li", { "aria-current": own && "true" }, h("span", { class: "dwm-key" }, ...breakable(key)), track, size);
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const id = ownPrefix("dwm");
  const sentence = h("p", { class: "dwm-sentence", role: "status" });
  const details = h("p", { class: "dwm-details" });

  const menus = model.get("menus");
  const network = menu(model, "model", "Model", menus.model);
  const layers = menu(model, "layers", "LoRA in layers", menus.layers);
  const dtype = menu(model, "dtype", "Trained weights", menus.dtype);
  let lastRank = 64;
  const whole = h("select", {
    change: () => model.send({ choose: { rank: whole.value === "lora" ? lastRank : null } }),
  });
  whole.append(h("option", { value: "lora" }, "LoRA"), h("option", { value: "full" }, "Full fine-tune"));
  const typed = () =>
    model.send({ choose: { rank: /^\s*\d{1,9}\s*$/.test(rank.value) ? Number(rank.value) : rank.value } });
  const rank = h("input", { type: "text", inputmode: "numeric", "aria-describedby": `${id}-wrong`, change: typed });
  const rankField = h("label", { class: "dwm-field dwm-rank" }, h("span", {}, "Rank"), rank);
  const wrong = h("p", { class: "dwm-wrong", id: `${id}-wrong`, role: "alert" });
  const training = h("label", { class: "dwm-field" }, h("span", {}, "Training"), whole);
  const fields = h("div", { class: "dwm-fields" }, network.field, training, rankField, layers.field, dtype.field);
  const more = h("details", { class: "dwm-more" }, h("summary", {}, "Another model or rank"), fields, wrong);

  const toggle = h("button", {
    type: "button",
    "aria-controls": `${id}-chart`,
    click: () => model.send({ compare: !model.get("comparing") }),
  });
  const about = h(
    "p",
    { class: "dwm-about" },
    "This optimizer has the settings of the form, the others have their packages' defaults.",
  );
  const list = h("ul", { class: "dwm-bars", "aria-label": "State of each optimizer, smallest first" });
  const chart = h("div", { class: "dwm-chart", id: `${id}-chart` }, about, list);

  const root = h("div", { class: "dwm dw-themed", "data-lm-suppress-shortcuts": "true" });
  keepKeys(root);
  root.append(sentence, details, more, toggle, chart, hiddenStandIn(model));

  const drawShown = () => {
    const shown = model.get("shown");
    say(sentence, shown.sentence || "Counting the state of this optimizer …");
    say(details, shown.details);
    root.toggleAttribute("data-pending", shown.pending);
  };
  const drawChosen = () => {
    const chosen = model.get("chosen");
    network.select.value = chosen.model;
    layers.select.value = chosen.layers;
    dtype.select.value = chosen.dtype;
    whole.value = chosen.rank === null ? "full" : "lora";
    rankField.hidden = layers.field.hidden = chosen.rank === null;
    if (chosen.rank === null) return;
    const typing = document.activeElement === rank && ![lastRank, chosen.rank].includes(Number(rank.value));
    lastRank = chosen.rank;
    if (!typing) rank.value = String(chosen.rank); // else it is the answer to another choice, on a slow connection
  };
  const drawWrong = () => {
    say(wrong, model.get("wrong"));
    rank.setAttribute("aria-invalid", String(Boolean(model.get("wrong"))));
  };
  const drawBars = () => {
    const comparing = model.get("comparing");
    toggle.setAttribute("aria-expanded", String(comparing));
    say(toggle, comparing ? "Hide the comparison" : "Compare all optimizers");
    chart.hidden = !comparing;
    list.replaceChildren(...model.get("bars").map(row));
  };

  /** @type {[string, () => void][]} */
  const listeners = [
    ["change:shown", drawShown],
    ["change:chosen", drawChosen],
    ["change:wrong", drawWrong],
    ["change:comparing", drawBars],
    ["change:bars", drawBars],
  ];
  for (const [event, listener] of listeners) {
    model.on(event, listener);
    listener();
  }
  el.append(root);
  return () => {
    for (const [event, listener] of listeners) model.off(event, listener);
    root.remove();
  };
}

export default withKernel({ render });
