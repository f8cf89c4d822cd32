// What the page makes of a message of rows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "../../diffopt_widgets/widgets/plot/static/feed.js";

const COLUMNS = ["loss", "d"].map((name) => ({ name, dash: "solid", schedule: false }));

test("what rows do not tell is as of the rows before them in the message", () => {
  const state = { runs: [], smoothing: 0.9, _panels: [{ key: "loss", smooth: true, columns: COLUMNS }] };
  const feed = new Feed({ get: (name) => state[name], on: () => {}, send: () => {} });
  const bytes = (array) => new DataView(array.buffer);
  const block = [Float64Array.of(1, 256), Float32Array.of(5, 6), Uint8Array.of(0, 1)];
  const parts = [
    { id: 1, start: 0, n: 2, columns: [["loss"], ["d"]], offset: 1 },
    { id: 2, start: 3 },
    { id: 3, start: 0, n: 256, blocks: ["loss"] },
    { id: 4, start: 0, offset: null },
    { id: 5, start: 9, n: 1, columns: [["loss", "d"]], offset: -2 },
  ];
  const values = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)];
  const apart = [Float64Array.of(50, 70), Float32Array.of(9, 10, 11, 12)];
  feed.take(parts, [...values, ...block, ...apart, Float32Array.of(13)].map(bytes));
  feed.close();
  const rows = (id, from, to) =>
    Array.from({ length: to - from }, (_, i) => {
      const { steps, columns } = feed.store(id);
      return [steps.at(from + i), columns.get("loss").at(from + i), columns.get("d").at(from + i)];
    });
  assert.deepEqual(rows(1, 0, 2), [
    [1, 1, 3],
    [2, 2, 4],
  ]);
  assert.deepEqual(rows(2, 3, 5), [
    [4, 5, 7],
    [5, 6, 8],
  ]);
  assert.deepEqual(feed.store(3).coarseSpan(0, 256), [0, 256]);
  assert.deepEqual(rows(4, 0, 2), [
    [50, 9, 11],
    [70, 10, 12],
  ]);
  assert.deepEqual(rows(5, 9, 10), [[7, 13, 13]]);
});
