// Long runs, of which the page has the extremes of blocks until somebody looks closer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK, CHUNK, thin } from "../../diffopt_widgets/widgets/plot/static/column.js";
import { picture } from "../../diffopt_widgets/widgets/plot/static/picture.js";
import { Smoothed } from "../../diffopt_widgets/widgets/plot/static/smooth.js";
import { RunRows } from "../../diffopt_widgets/widgets/plot/static/run_rows.js";

const N = 400 * BLOCK;
/** Walks up and down, with two rows that stand out. */
const TRUTH = Float32Array.from({ length: N }, (_, i) => Math.sin(i / 7000) + Math.sin(i * i) / 10);
TRUTH[1000] = 7;
TRUTH[90_000] = -7;
const steps = (from, to) => Float64Array.from({ length: to - from }, (_, i) => 3 * (from + i) + 1);

/** The extremes of blocks, found in the plainest way. */
function summary(values) {
  const blocks = Array.from({ length: values.length / BLOCK }, (_, i) => [
    ...values.subarray(i * BLOCK, (i + 1) * BLOCK),
  ]);
  const of = (pick) => blocks.map((block) => pick(...block));
  const [least, most] = [of(Math.min), of(Math.max)];
  return {
    least: Float32Array.from(least),
    most: Float32Array.from(most),
    low: Uint8Array.from(blocks, (block, i) => block.indexOf(least[i])),
    high: Uint8Array.from(blocks, (block, i) => block.indexOf(most[i])),
  };
}

function ends(from, to) {
  const all = steps(from, to);
  const n = (to - from) / BLOCK;
  return {
    low: new Uint8Array(n),
    high: new Uint8Array(n).fill(BLOCK - 1),
    least: Float64Array.from({ length: n }, (_, i) => all[i * BLOCK]),
    most: Float64Array.from({ length: n }, (_, i) => all[(i + 1) * BLOCK - 1]),
  };
}

function coarse(names = ["loss"]) {
  const store = new RunRows();
  store.summarize(0, ends(0, N), new Map(names.map((name) => [name, summary(TRUTH)])));
  return store;
}

function put(store, from, to) {
  store.write(from, steps(from, to), ["loss"], TRUTH.slice(from, to));
}

function exact() {
  const store = new RunRows();
  put(store, 0, N);
  return store;
}

/** Without the very first and last, of which blocks tell nothing. */
const inner = (rows) => [...rows].filter((row) => row > 0 && row < N - 1);
const rowsOf = (store, lo, hi, buckets) => [...thin(store.columns.get("loss"), lo, hi, buckets, store.isCoarse)];

test("as long as a part holds whole blocks, a plot of extremes is the plot of all rows", () => {
  const store = coarse();
  assert.equal(store.length, N);
  assert.deepEqual(store.missing, []);
  assert.deepEqual(inner(rowsOf(store, 0, N, 40)), inner(rowsOf(exact(), 0, N, 40)));
  assert.equal(store.columns.get("loss").at(1000), 7);
  assert.ok(Number.isNaN(store.columns.get("loss").at(1001)));
});

test("closer than that only what is known is drawn, and the line does not break", () => {
  const store = coarse();
  const column = store.columns.get("loss");
  const rows = rowsOf(store, 900, 2_000, 1_000);
  assert.ok(rows.length >= 6 && rows.includes(1000));
  assert.ok(rows.every((row) => Number.isFinite(column.at(row))));
  assert.deepEqual(
    [...rows].sort((a, b) => a - b),
    rows,
  );
});

test("a block without any value breaks the line still", () => {
  const store = new RunRows();
  const none = { least: new Float32Array(1).fill(NaN), most: new Float32Array(1).fill(NaN) };
  const values = new Map([["loss", { ...none, low: new Uint8Array(1), high: new Uint8Array(1) }]]);
  store.summarize(0, ends(0, BLOCK), values);
  assert.ok(Number.isNaN(store.columns.get("loss").at(rowsOf(store, 0, BLOCK, 10)[0])));
});

test("rows lie at their steps, known or between those that are", () => {
  const store = coarse();
  for (const row of [0, 1, 255, 256, 50_001, N - 1]) assert.equal(store.steps.between(row), 3 * row + 1);
  const [lo, hi] = store.rows([3 * 5_000 + 1, 3 * 6_000 + 1]);
  assert.ok(lo >= 4_998 && lo <= 5_000 && hi >= 6_001 && hi <= 6_003);
});

test("rows that come for a zoom are drawn one by one, and the rest stays", () => {
  const store = coarse();
  assert.deepEqual(store.coarseSpan(5_000, 6_000), [4_864, 6_144]);
  put(store, 4_864, 6_144);
  assert.equal(store.coarseSpan(5_000, 6_000), null);
  assert.deepEqual(store.coarseSpan(0, N), [0, N]);
  assert.equal(rowsOf(store, 5_000, 5_500, 400).length, 500);
  assert.deepEqual(inner(rowsOf(store, 0, N, 40)), inner(rowsOf(exact(), 0, N, 40)));
});

test("rows that come while it trains follow the blocks", () => {
  const store = coarse();
  const more = Float32Array.of(9, 8, 7);
  store.write(N, Float64Array.of(3 * N + 1, 3 * N + 4, 3 * N + 7), ["loss"], more);
  assert.deepEqual(rowsOf(store, N - 10, N + 3, 100).slice(-3), [N, N + 1, N + 2]);
  assert.equal(store.steps.between(N + 2), 3 * N + 7);
});

test("a mean over a zoom is that over all rows, with the rows on both sides that it needs", () => {
  const beta = 0.9;
  const whole = new Smoothed(beta);
  whole.update(exact().columns.get("loss"), N);
  const store = coarse();
  store.summarizeAverage(0, "loss", beta, summary(Float32Array.from(TRUTH, (_, row) => whole.column.at(row))));
  const { reach } = store.averages.get("loss");
  assert.equal(reach, 9);
  const [from, to] = [Math.floor((5_000 - reach) / BLOCK) * BLOCK, 6_144];
  put(store, from, to);
  const average = store.smoothed("loss", beta);
  for (let row = 5_000; row < to - reach; row++) assert.ok(Math.abs(average.at(row) - whole.column.at(row)) < 1e-5);
  for (let block = from / BLOCK; block < to / BLOCK; block++) {
    assert.ok(Math.abs(average.least[block] - whole.column.least[block]) < 1e-6);
    assert.ok(Math.abs(average.most[block] - whole.column.most[block]) < 1e-6);
  }
  const drawn = (column, isCoarse) => inner(thin(column, 0, N, 40, isCoarse));
  assert.deepEqual(drawn(average, store.isCoarse), drawn(whole.column));
});

test("of another weight the kernel has to tell; until then the old average is drawn", () => {
  const store = coarse();
  store.summarizeAverage(0, "loss", 0.9, summary(TRUTH));
  assert.ok(store.lacksAverage("loss", 0.5));
  assert.equal(store.smoothed("loss", 0.5), store.smoothed("loss", 0.9));
  store.summarizeAverage(0, "loss", 0.5, summary(TRUTH));
  assert.ok(!store.lacksAverage("loss", 0.5));
  const all = exact();
  all.smoothed("loss", 0.9);
  assert.ok(!all.lacksAverage("loss", 0.5));
});

test("what is asked for is what is in sight and would show more", () => {
  const store = coarse();
  store.summarizeAverage(0, "loss", 0.9, summary(TRUTH));
  const panel = { key: "loss", title: "", scale: "linear", smooth: true, optional: false, sparse: false };
  const panels = [{ ...panel, columns: [{ name: "loss", dash: "solid", schedule: false }] }];
  const run = {
    id: 5,
    key: "a",
    name: "a",
    color: "",
    schedule: false,
    visible: true,
    total: null,
    details: {},
    group: "",
  };
  const view = { panels, runs: [{ ...run, samples_per_step: null }], store: () => store, width: 300, smoothing: 0.9 };
  assert.deepEqual(picture({ ...view, range: null }).detail.length, 0);
  const range = [3 * 5_000, 3 * 6_000];
  const [wanted] = picture({ ...view, range }).detail;
  assert.equal(wanted.id, 5);
  assert.ok(wanted.from <= 5_000 - 9 && wanted.from % BLOCK === 0 && wanted.to >= 6_000 + 9 && wanted.to % BLOCK === 0);
  put(store, wanted.from, wanted.to);
  assert.deepEqual(picture({ ...view, range }).detail, []);
});

test("groups that differ in one block are drawn apart", () => {
  assert.equal(coarse(["lr[a]", "lr[b]"]).lines("lr").length, 1);
  const store = new RunRows();
  const other = summary(TRUTH);
  other.most[3] += 1;
  const columns = [
    ["lr[a]", summary(TRUTH)],
    ["lr[b]", other],
  ];
  store.summarize(0, ends(0, N), new Map(columns));
  assert.equal(store.lines("lr").length, 2);
});

test("old rows are let go when they are too many, but for those in sight; the picture of the whole stays", () => {
  const store = exact();
  store.smoothed("loss", 0.9);
  const before = rowsOf(store, 0, N, 40);
  const mean = [...thin(store.smoothed("loss", 0.9), 0, N, 40, store.isCoarse)];
  const all = store.size;
  store.shrink(all / 2, [CHUNK, CHUNK + 10]);
  assert.ok(store.size <= all / 2);
  assert.deepEqual(inner(rowsOf(store, 0, N, 40)), inner(before));
  assert.deepEqual(inner(thin(store.smoothed("loss", 0.9), 0, N, 40, store.isCoarse)), inner(mean));
  assert.equal(store.coarseSpan(CHUNK, 2 * CHUNK), null);
  assert.equal(store.coarseSpan(N - CHUNK, N), null);
  put(store, 0, CHUNK);
  assert.equal(store.columns.get("loss").at(1001), TRUTH[1001]);
});
