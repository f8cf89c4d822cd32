// What is seen of the plot: axes along, zoom, legend, the table of the rows in sight.
import assert from "node:assert/strict";
import { test } from "node:test";
import { groups, summary } from "../../diffopt_widgets/widgets/plot/static/legend.js";
import { picture } from "../../diffopt_widgets/widgets/plot/static/picture.js";
import { csv } from "../../diffopt_widgets/widgets/plot/static/save.js";
import { RunRows } from "../../diffopt_widgets/widgets/plot/static/run_rows.js";
import { Zoom } from "../../diffopt_widgets/widgets/plot/static/zoom.js";

const COLUMN = { dash: "solid", schedule: false };
const LOSS = { key: "loss", title: "Loss", scale: "linear", smooth: true, optional: false, sparse: false };
const ACC = { key: "acc", title: "acc", scale: "linear", smooth: false, optional: true, sparse: true };
const PANELS = [
  { ...LOSS, columns: [{ name: "loss", ...COLUMN }] },
  { ...ACC, columns: [{ name: "acc", ...COLUMN }] },
];
const RUN = { id: 1, key: "a", name: "a", color: "#123456", schedule: false, visible: true, total: null };
const run = (fields) => ({ ...RUN, details: {}, group: "", samples_per_step: null, ...fields });

/** 100 steps of half a second; accuracy at every tenth. */
function filled(names = ["loss", "seconds", "acc"]) {
  const store = new RunRows();
  const steps = Float64Array.from({ length: 100 }, (_, i) => i + 1);
  const columns = {
    loss: steps.map((step) => 1 / step),
    seconds: steps.map((step) => step / 2),
    acc: steps.map((step) => (step % 10 ? NaN : step / 100)),
  };
  store.write(0, steps, names, Float32Array.from(names.flatMap((name) => [...columns[name]])));
  return store;
}

function draw(runs, store, view = {}) {
  return picture({ panels: PANELS, runs, store: () => store, range: null, width: 600, smoothing: 0, ...view });
}

test("rows lie along by step, by time or by samples; a run without them is left out", () => {
  const store = filled();
  const last = (x, fields) => draw([run(fields)], store, { x }).data[0].x.at(-1);
  assert.deepEqual([last("step"), last("time"), last("samples", { samples_per_step: 64 })], [100, 50, 6400]);
  assert.equal(draw([run({})], store, { x: "samples" }).points, 0);
  assert.equal(draw([run({})], filled(["loss"]), { x: "time" }).points, 0);
  const zoomed = draw([run({})], store, { x: "time", range: [10, 20] }).data[0].x;
  assert.ok(zoomed[0] >= 9 && zoomed.at(-1) <= 21);
});

test("values at some steps only are one line with points", () => {
  const acc = draw([run({})], filled()).data.find((trace) => trace.yaxis === "y2");
  assert.deepEqual([...acc.x], [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  assert.equal(acc.mode, "lines+markers");
});

test("under the pointer stand the value of the step, the mean, and the settings that the name does not tell", () => {
  const details = { d_coef: "0.5", beta2: "0.99" };
  const front = draw([run({ name: "PRODIGY · d_coef 0.5", details })], filled(), { smoothing: 0.9 }).data[1];
  assert.match(front.hovertemplate, /%\{text\}<extra>PRODIGY · d_coef 0\.5 \(beta2 0\.99\)<\/extra>/);
  assert.match(front.text[2], /^0\.3333333 \(mean 0\.\d+\)$/);
});

test("a group has a name only where that says more than the names of the runs", () => {
  const of = (...names) =>
    groups(names.map((group, id) => run({ id, group }))).map(({ name, entries }) => [name, entries.length]);
  assert.deepEqual(of("x", "y", "x"), [
    ["x", 2],
    ["y", 1],
  ]);
  assert.deepEqual(of("x", "y"), [["", 2]]);
  assert.deepEqual(of("x", "x"), [["", 2]]);
  assert.deepEqual(of("", ""), [["", 2]]);
});

test("a run in words: its settings and its latest values", () => {
  const words = summary(run({ name: "n", details: { lr: "0.1" } }), filled());
  assert.match(words, /^n\nlr 0\.1\n\nstep 100\nloss 0\.01\nseconds 50\nacc 1\n/);
});

const axes = () => ({
  xaxis: { range: [0, 100], autorange: true },
  xaxis2: {},
  yaxis: { range: [0, 1], autorange: true },
  yaxis2: { range: [-3, 0], autorange: true, type: "log" },
});

test("keys pan and zoom along for all panels, up for one, and reset", () => {
  const zoom = new Zoom();
  assert.ok(zoom.press("ArrowRight", 1, axes(), PANELS));
  assert.deepEqual(zoom.x, [15, 115]);
  zoom.press("+", 0, { ...axes(), xaxis: { range: [0, 100] } }, PANELS);
  assert.deepEqual(
    zoom.x.map((value) => Math.round(value)),
    [15, 85],
  );
  assert.ok(zoom.press("ArrowUp", 1, axes(), PANELS));
  assert.deepEqual([...zoom.y.keys()], ["acc"]);
  assert.ok(!zoom.press("a", 0, axes(), PANELS));
  assert.ok(zoom.any && zoom.press("Home", 0, axes(), PANELS) && !zoom.any);
});

test("a zoom is put into every drawing, and a range of another scale is forgotten", () => {
  const zoom = new Zoom();
  const seen = axes();
  Object.assign(seen.xaxis, { range: [10, 20], autorange: false });
  Object.assign(seen.yaxis2, { range: [-2, -1], autorange: false });
  zoom.read(seen, PANELS);
  const next = { xaxis: {}, xaxis2: {}, yaxis: {}, yaxis2: { type: "log" } };
  zoom.apply(next, PANELS);
  for (const axis of [next.xaxis, next.xaxis2]) assert.deepEqual(axis, { range: [10, 20], autorange: false });
  assert.deepEqual(next.yaxis2.range, [-2, -1]);
  assert.deepEqual(next.yaxis, {});
  const linear = { xaxis: {}, xaxis2: {}, yaxis: {}, yaxis2: { type: "linear" } };
  zoom.apply(linear, PANELS);
  assert.equal(linear.yaxis2.range, undefined);
});

test("the table holds the rows in sight of the runs that are shown", () => {
  const runs = [run({ name: 'a, "b"' }), run({ id: 2, visible: false })];
  const text = csv(runs, () => filled(), [9.5, 10.5], "step");
  assert.equal(text, 'run,step,loss,seconds,acc\n"a, ""b""",10,0.1,5,0.1\n');
  assert.throws(() => csv([], () => filled(), null, "step"), /no rows/);
  const long = new RunRows();
  long.expect(300_000);
  assert.throws(() => csv([run({})], () => long, null, "step"), /300,000 rows are visible.*to_csv/);
});
