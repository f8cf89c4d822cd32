import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK, CHUNK, Column, lowerBound, thin } from "../../diffopt_widgets/widgets/plot/static/column.js";
import { RunRows, baseName } from "../../diffopt_widgets/widgets/plot/static/run_rows.js";

/** Numbers that look random and are the same each time. */
function noise(n, seed = 1) {
  let state = seed;
  return Float32Array.from({ length: n }, () => (state = (state * 16807) % 2147483647) / 2147483647);
}

/** Values of rows from..to. */
const values = (column, from, to) => Array.from({ length: to - from }, (_, i) => column.at(from + i));

function column(values) {
  const made = new Column();
  made.write(0, values);
  return made;
}

/** Write rows start..stop of `truth` into a store. */
function put(store, truth, start, stop, name = "loss") {
  const steps = Float64Array.from({ length: stop - start }, (_, i) => start + i + 1);
  store.write(start, steps, [name], truth.slice(start, stop));
}

test("thinning keeps the first, the last, and the extremes of every part", () => {
  const values = noise(100_000);
  values[777] = 5;
  values[99_001] = -5;
  for (const [lo, hi, buckets] of [
    [0, 100_000, 400],
    [123, 99_876, 50],
    [700, 2_000, 7],
  ]) {
    const rows = [...thin(column(values), lo, hi, buckets)];
    assert.ok(rows.length <= 2 * buckets + 2);
    assert.deepEqual(
      rows,
      [...new Set(rows)].sort((a, b) => a - b),
    );
    assert.equal(rows[0], lo);
    assert.equal(rows.at(-1), hi - 1);
    const grid = hi - lo < buckets * BLOCK ? 1 : BLOCK; // long parts end where blocks do
    const inner = (bucket) => grid * Math.floor((lo + (bucket * (hi - lo)) / buckets) / grid);
    const edge = (bucket) => (bucket === 0 ? lo : bucket === buckets ? hi : inner(bucket));
    for (let bucket = 0; bucket < buckets; bucket++) {
      const from = edge(bucket);
      const part = values.subarray(from, edge(bucket + 1));
      const kept = rows.filter((row) => row >= from && row < from + part.length).map((row) => values[row]);
      assert.equal(
        Math.min(...kept),
        part.reduce((a, b) => Math.min(a, b)),
      );
      assert.equal(
        Math.max(...kept),
        part.reduce((a, b) => Math.max(a, b)),
      );
    }
  }
});

test("few rows are all kept, none make none", () => {
  assert.deepEqual([...thin(column(noise(10)), 2, 8, 3)], [2, 3, 4, 5, 6, 7]);
  assert.deepEqual([...thin(column(noise(10)), 5, 5, 3)], []);
  assert.deepEqual([...thin(column(noise(10)), 6, 5, 3)], []);
});

test("values that are not finite are never an extreme, and a part without any breaks the line", () => {
  const values = noise(8 * 1024);
  values.fill(NaN, 2048, 4096);
  values[5_000] = Infinity;
  values[5_001] = -Infinity;
  const kept = [...thin(column(values), 0, values.length, 8)];
  assert.deepEqual(
    kept.filter((row) => row >= 2048 && row < 4096),
    [2048, 3072],
  );
  assert.ok(!kept.includes(5_000) && !kept.includes(5_001));
});

test("a column that is filled piece by piece has the index of one filled at once", () => {
  const values = noise(5_000);
  const pieces = new Column();
  for (let i = 0; i < 5_000; i += 10) pieces.write(i, values.subarray(i, i + 10));
  assert.deepEqual(thin(pieces, 0, 5_000, 6), thin(column(values), 0, 5_000, 6));
  // Overwriting the extreme must not leave it in the index.
  const top = values.indexOf(Math.max(...values));
  pieces.write(top, [0.5]);
  assert.ok(!pieces.extremes(0, 5_000).includes(top));
});

test("rows in order leave nothing missing", () => {
  const store = new RunRows();
  const truth = noise(3_000);
  for (let i = 0; i < 3_000; i += 30) put(store, truth, i, i + 30);
  assert.equal(store.length, 3_000);
  assert.deepEqual(store.missing, []);
  assert.deepEqual(values(store.columns.get("loss"), 0, 3_000), [...truth]);
  assert.deepEqual(values(store.steps, 0, 3), [1, 2, 3]);
});

test("lost rows are missing until they come, in any order and any number of times", () => {
  const store = new RunRows();
  const truth = noise(100);
  put(store, truth, 0, 10);
  put(store, truth, 40, 50);
  assert.deepEqual(store.missing, [[10, 40]]);
  assert.ok(Number.isNaN(store.columns.get("loss").at(20)));
  assert.deepEqual(
    values(store.steps, 8, 42),
    Array.from({ length: 34 }, (_, i) => i + 9),
  );
  put(store, truth, 20, 30);
  assert.deepEqual(store.missing, [
    [10, 20],
    [30, 40],
  ]);
  put(store, truth, 20, 30);
  put(store, truth, 5, 45);
  assert.deepEqual(store.missing, []);
  assert.equal(store.length, 50);
  store.expect(60);
  store.expect(55);
  assert.deepEqual(store.missing, [[50, 60]]);
  store.expect(100);
  assert.deepEqual(store.missing, [[50, 100]]);
  put(store, truth, 0, 100);
  assert.deepEqual(store.missing, []);
  assert.deepEqual(values(store.columns.get("loss"), 0, 100), [...truth]);
});

test("the average takes in rows that came late", () => {
  const late = new RunRows();
  const truth = noise(60);
  put(late, truth, 0, 20);
  put(late, truth, 40, 60);
  late.smoothed("loss", 0.9);
  put(late, truth, 20, 40);
  const whole = new RunRows();
  put(whole, truth, 0, 60);
  assert.deepEqual(values(late.smoothed("loss", 0.9), 0, 60), values(whole.smoothed("loss", 0.9), 0, 60));
  const [slow, quick] = [late.smoothed("loss", 0.9).at(59), late.smoothed("loss", 0.1).at(59)];
  assert.notEqual(slow, quick);
});

test("a column that appears late has no value before", () => {
  const store = new RunRows();
  store.write(0, Float64Array.of(1, 2), ["loss"], Float32Array.of(3, 2));
  store.write(2, Float64Array.of(3), ["loss", "d"], Float32Array.of(1, 0.5));
  assert.deepEqual(values(store.columns.get("d"), 0, 3), [NaN, NaN, 0.5]);
  store.write(3, Float64Array.of(4), ["loss"], Float32Array.of(1));
  assert.deepEqual(values(store.columns.get("d"), 2, 4), [0.5, NaN]);
});

test("groups are one line while they agree and one each from then on", () => {
  const store = new RunRows();
  const names = ["lr[te]", "lr[unet]"];
  store.write(0, Float64Array.of(1, 2), names, Float32Array.of(0.1, NaN, 0.1, NaN));
  assert.deepEqual(store.lines("lr"), [{ name: "lr[te]", group: "" }]);
  store.write(2, Float64Array.of(3), names, Float32Array.of(0.1, 0.2));
  assert.deepEqual(store.lines("lr"), [
    { name: "lr[te]", group: "te" },
    { name: "lr[unet]", group: "unet" },
  ]);
  assert.deepEqual(store.lines("loss"), []);
  assert.equal(baseName("lr[a[b]]"), "lr");
});

test("the rows of a range hold one more on either side", () => {
  const store = new RunRows();
  put(store, noise(100), 0, 100);
  assert.deepEqual(store.rows(null), [0, 100]);
  const [lo, hi] = store.rows([10.5, 20]);
  assert.ok(store.steps.at(lo) <= 10.5 && store.steps.at(hi - 1) >= 20 && hi - lo < 15);
  assert.deepEqual(store.rows([-50, 1e9]), [0, 100]);
  assert.equal(
    lowerBound((row) => [1, 3, 5][row], 3, 4),
    2,
  );
});
