// @ts-check
// What is said about one option: the long help below it, and the short one in its tip.
import { h } from "../../page/static/dom.js";
import { firstSentence, sentence } from "../../page/static/text.js";

/** @typedef {import("./row.js").Control} Control */
/** @typedef {import("./row.js").Marks} Marks */

/**
 * Everything there is to know: what larger and smaller do, the choices, and the facts.
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
 * In short: what it is, its default, what is recommended, what its mark stands on, and why it has no say now.
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
