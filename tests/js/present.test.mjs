// A notebook that was saved in present mode.
import assert from "node:assert/strict";
import { test } from "node:test";
import present from "../../diffopt_widgets/widgets/bench/static/present.js";

/** A model that was saved in present mode; a kernel, if there is one, answers what is asked. */
function saved(kernel) {
  const values = { on: true };
  const heard = {};
  return {
    get: (name) => values[name],
    set: (name, value) => (values[name] = value),
    on: (event, listener) => (heard[event] = listener),
    off: () => {},
    send: (content) => kernel && content.ask === "on" && setTimeout(() => heard["msg:custom"](kernel)),
  };
}

test("it covers the page again only when a kernel says so", async () => {
  const on = [];
  for (const kernel of [undefined, { on: false }, { on: true }]) {
    const model = saved(kernel);
    present.initialize({ model });
    await new Promise((done) => setTimeout(done, 5));
    on.push(model.get("on"));
  }
  assert.deepEqual(on, [false, false, true]);
});
