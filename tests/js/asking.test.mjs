// What the page asks of a kernel, above all of one that does not answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "../../diffopt_widgets/widgets/plot/static/feed.js";

const COLUMN = { name: "loss", dash: "solid", schedule: false };
const LOSS = { key: "loss", title: "Loss", scale: "linear", smooth: true, optional: false, sparse: false };
const RUN = { id: 1, key: "a", name: "a", color: "#123456", schedule: false, visible: true, total: null };

/** A feed whose time passes as told, and what it has sent. */
function talk(t, run = {}) {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  t.mock.timers.enable({ apis: ["setInterval"] });
  const state = { runs: [{ ...RUN, details: {}, group: "", ...run }], _panels: [{ ...LOSS, columns: [COLUMN] }] };
  const sent = [];
  const handlers = {};
  const feed = new Feed({
    get: (name) => ({ smoothing: 0.9, ...state })[name],
    on: (names, act) => names.split(" ").forEach((name) => (handlers[name] = act)),
    send: (message) => sent.push(message),
  });
  const hear = (message, buffers = []) => handlers["msg:custom"](message, buffers);
  return {
    feed,
    hear,
    state,
    /** What was sent since the last time. */
    sent: () => sent.splice(0),
    pass(seconds) {
      for (let i = 0; i < 5 * seconds; i++) {
        now += 200;
        t.mock.timers.tick(200);
      }
    },
    rows(start, n) {
      const bytes = (array) => new DataView(array.buffer);
      const steps = Float64Array.from({ length: n }, (_, i) => start + i + 1);
      hear({ k: "rows", parts: [{ id: 1, start, n, columns: [["loss"]] }] }, [
        bytes(steps),
        bytes(new Float32Array(n).fill(1)),
      ]);
    },
    blocks(count) {
      const bytes = (array) => new DataView(array.buffer);
      const parts = [{ id: 1, start: 0, n: 256 * count, blocks: ["loss"] }];
      const ends = Float64Array.from({ length: 2 * count }, (_, i) =>
        i < count ? 256 * i + 1 : 256 * (i - count + 1),
      );
      hear({ k: "rows", parts }, [
        bytes(ends),
        bytes(new Float32Array(2 * count).fill(1)),
        bytes(new Uint8Array(2 * count)),
      ]);
    },
  };
}

const kinds = (messages) => messages.map(({ k }) => k);

test("a kernel that is busy for an hour finds one question, and an echo a minute", (t) => {
  const page = talk(t);
  page.hear({ k: "echo", q: 1 });
  page.sent();
  for (let i = 0; i < 600; i++) {
    page.rows(10 * i, 10);
    page.pass(6); // longer than a run may be silent unasked
  }
  const sent = kinds(page.sent());
  assert.deepEqual(
    sent.filter((k) => k !== "echo"),
    ["resync"],
  );
  assert.ok(sent.length < 70, String(sent.length));
});

test("what is lacking while no answer comes is told, and asked for as it is then", (t) => {
  const page = talk(t);
  const view = {};
  page.hear({ k: "echo", q: 1 });
  page.blocks(8);
  page.sent();
  page.feed.want(view, [{ id: 1, from: 0, to: 512 }]);
  assert.deepEqual(page.sent(), [
    { k: "detail", id: 1, from: 0, to: 512 },
    { k: "echo", q: 2 },
  ]);
  assert.equal(page.feed.lack(view), "");
  let told = 0;
  page.feed.listeners.add(() => told++);
  page.pass(2);
  assert.equal(told, 1);
  assert.equal(page.feed.lack(view), "More detail arrives when the kernel is free (a running cell can keep it busy)");
  page.feed.want(view, [{ id: 1, from: 1024, to: 1280 }]);
  page.pass(5);
  assert.deepEqual(new Set(kinds(page.sent())), new Set(["echo"]));
  page.hear({ k: "echo", q: 2 });
  assert.equal(page.feed.lack(view), "");
  assert.deepEqual(page.sent()[0], { k: "detail", id: 1, from: 1024, to: 1280 });
  page.rows(1024, 256);
  page.pass(5);
  assert.equal(page.feed.lack(view), "");
});

test("an average of another weight that only the kernel can tell is told as lacking", (t) => {
  const page = talk(t);
  page.hear({ k: "echo", q: 1 });
  page.blocks(8);
  page.feed.store(1).smoothed("loss", 0.9);
  page.sent();
  page.state.smoothing = 0.5;
  page.pass(2);
  assert.deepEqual(page.sent()[0], { k: "average", id: 1, name: "loss", beta: 0.5 });
  assert.equal(
    page.feed.lack({}),
    "The new smoothing arrives when the kernel is free (a running cell can keep it busy)",
  );
});

test("an echo that is lost is put again, and then the question", (t) => {
  const page = talk(t);
  page.hear({ k: "echo", q: 1 });
  page.rows(0, 10);
  page.rows(20, 10);
  page.sent();
  page.pass(1);
  assert.deepEqual(page.sent(), [
    { k: "resync", id: 1, from: 10, to: 20 },
    { k: "echo", q: 2 },
  ]);
  page.pass(2);
  assert.equal(page.feed.lack({}), "Lost steps arrive when the kernel is free (a running cell can keep it busy)");
  assert.deepEqual(page.sent(), [{ k: "echo", q: 3 }]);
  page.hear({ k: "echo", q: 3 });
  page.pass(1);
  assert.deepEqual(page.sent()[0], { k: "resync", id: 1, from: 10, to: 20 });
  page.rows(10, 10);
  assert.equal(page.feed.lack({}), "");
});

test("rows known one by one stay so when their blocks are told again", (t) => {
  const page = talk(t);
  page.rows(0, 512);
  page.blocks(2);
  assert.equal(page.feed.store(1).coarseSpan(0, 512), null);
  page.blocks(4);
  assert.deepEqual(page.feed.store(1).coarseSpan(0, 1024), [512, 1024]);
});
