import assert from "node:assert/strict";
import { test } from "node:test";
import { shortHelp } from "../../diffopt_widgets/widgets/form/static/help.js";

const facts = [
  { term: "Default", text: "off" },
  { term: "Tried", text: "off → on: the same to the bit" },
];
/** @type {import("../../diffopt_widgets/widgets/form/static/row.js").Control} */
const control = {
  name: "nesterov",
  title: "Nesterov",
  kind: "bool",
  help: "Looks ahead. It needs momentum.",
  default: "false",
  shown_default: "off",
  standing: "live",
  facts,
};

test("the short help is a sentence and the default", () => {
  assert.deepEqual(shortHelp(control, { text: "false" }), ["Looks ahead.", "Default: off."]);
});

test("the short help of a marked option says what the mark stands on", () => {
  const marked = { ...control, mark: "inert" };
  assert.deepEqual(shortHelp(marked, { text: "false", greyed: "only with momentum above 0" }), [
    "Looks ahead.",
    "Default: off.",
    "Tried: off → on: the same to the bit.",
    "Only with momentum above 0.",
  ]);
});
