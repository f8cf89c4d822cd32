import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Outbox } from "../../diffopt_widgets/widgets/form/static/outbox.js";

/** @type {any[]} */
let sent;
/** @type {Outbox} */
let outbox;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  sent = [];
  outbox = new Outbox((content) => sent.push(content));
});

const texts = () => sent.map(({ text }) => text);

test("a word typed in one go is one message", () => {
  for (const text of ["1", "1e", "1e-", "1e-4"]) {
    outbox.type("lr", text, 150);
    mock.timers.tick(100);
  }
  assert.deepEqual(sent, []);
  mock.timers.tick(50);
  assert.deepEqual(sent, [{ k: "type", name: "lr", text: "1e-4", n: 1 }]);
});

test("a slider sends its latest place once the last one is answered", () => {
  for (const text of ["1", "2", "3", "4"]) outbox.type("lr", text, 0);
  assert.deepEqual(texts(), ["1"]);
  outbox.seen(1);
  assert.deepEqual(texts(), ["1", "4"]);
  outbox.seen(2);
  assert.deepEqual(texts(), ["1", "4"]);
});

test("a lost answer does not hold the rest back for ever", () => {
  outbox.type("lr", "1", 0);
  outbox.type("lr", "2", 0);
  mock.timers.tick(4999);
  assert.deepEqual(texts(), ["1"]);
  mock.timers.tick(1);
  assert.deepEqual(texts(), ["1", "2"]);
});

test("a command goes after what was typed before it", () => {
  outbox.type("lr", "1", 0);
  outbox.type("eps", "2", 150);
  outbox.command({ k: "load", preset: "library" });
  assert.deepEqual(
    sent.map(({ k, n }) => [k, n]),
    [
      ["type", 1],
      ["type", 2],
      ["load", 3],
    ],
  );
});

test("what is known is told once all is answered, or after a while that it is not", async () => {
  assert.equal(await outbox.known(), true);
  outbox.type("lr", "1", 0);
  outbox.type("eps", "2", 150);
  const known = outbox.known();
  assert.deepEqual(texts(), ["1", "2"]);
  outbox.seen(1);
  outbox.seen(2);
  assert.equal(await known, true);
  outbox.type("lr", "3", 0);
  const lost = outbox.known();
  mock.timers.tick(5000);
  assert.equal(await lost, false);
});

test("the page holds a control from the first key to the answer to the last", () => {
  outbox.type("lr", "1", 150);
  assert.ok(outbox.holds("lr"));
  assert.ok(!outbox.holds("eps"));
  mock.timers.tick(150);
  outbox.type("lr", "12", 150);
  outbox.seen(1);
  assert.ok(outbox.holds("lr"));
  mock.timers.tick(150);
  assert.ok(outbox.waiting);
  outbox.seen(2);
  assert.ok(!outbox.holds("lr"));
  assert.ok(!outbox.waiting);
});
