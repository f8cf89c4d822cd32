// The code of a page, imported once for all models.
import assert from "node:assert/strict";
import { test } from "node:test";
import { shared } from "../../diffopt_widgets/widgets/page/static/loader.js";

const CODE = `
globalThis.imported = (globalThis.imported ?? 0) + 1;
export default () => {
  let own = 0; // of one model
  return { initialize: () => { own += 1; }, render: () => own };
};`;

// Node imports no blob.
const texts = new Map();
globalThis.Blob = class {
  constructor([text]) {
    texts.set(this, text);
  }
};
URL.createObjectURL = (blob) => `data:text/javascript,${encodeURIComponent(texts.get(blob))}`;
const model = (code) => ({ model: { get: (name) => (name === "page_code" ? code : undefined) } });

test("models with one code import it once, and each has a state of its own", async () => {
  const [one, two] = [shared("a")(), shared("a")()];
  await Promise.all([one.initialize(model(CODE)), two.initialize(model(CODE))]);
  assert.deepEqual([await one.render(model(CODE)), await two.render(model(CODE))], [1, 1]);
  assert.equal(globalThis.imported, 1);
  await shared("b")().initialize(model(`${CODE}// edited`));
  assert.equal(globalThis.imported, 2);
});

test("code that could not be imported is tried again", async () => {
  await assert.rejects(shared("c")().initialize(model("no code")), SyntaxError);
  await shared("c")().initialize(model(CODE));
});
