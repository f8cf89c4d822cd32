// @ts-check
// The help of one option: the long one below it, and the short one in its tip.
import { h } from "../../page/static/dom.js";
import { firstSentence, sentence } from "../../page/static/text.js";

/** @typedef {import("./row.js").Control} Control */
/** @typedef {import("./row.js").Marks} Marks */

/**
 * Return all that is known: the effect of larger and smaller values, the choices, and the facts.
 * @param {Control} control
 * @returns {HTMLElement[]}
 */
export function longHelp(control) {
  const facts = [...control.facts];
  if (control.unit) facts.splice(1, 0, { term: "Unit", text: control.unit });
  const choices = (control.choices ?? [])
    .filter((choice) => choice.help)
    .map(({ label, help }) => ({ term: label, text: help ?? "" }));
  const pairs = [...choices, ...facts].flatMap(({ term, text }) => [h("dt", {}, term), h("dd", {}, text)]);
  return [h("p", {}, control.help), h("dl", {}, ...pairs)];
}

/**
 * Return the short help: the meaning, the default, the advice, the evidence for its mark, and why it does nothing now.
 * @param {Control} control @param {Marks} marks
 */
export function shortHelp({ help, advice, shown_default, mark, facts }, { greyed }) {
  const lines = [firstSentence(help), `Default: ${shown_default}.`];
  if (advice) lines.push(`Recommended: ${advice.words} (${advice.source}).`);
  const tried = mark && facts.find(({ term }) => term === "Tried");
  if (tried) lines.push(`Tried: ${tried.text}.`);
  if (greyed) lines.push(sentence(greyed));
  return lines;
}
