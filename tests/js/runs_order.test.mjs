import assert from "node:assert/strict";
import { test } from "node:test";
import {
  groupings,
  groupStatus,
  isGroup,
  listed,
  matching,
  range,
} from "../../diffopt_widgets/widgets/tables/static/runs_order.js";

let count = 0;
const run = (setting, seed, loss, changes = {}) => ({
  key: `k${count++}`,
  name: `${setting}, seed ${seed}`,
  setting,
  differs: "",
  details: { seed: String(seed) },
  status: "done",
  progress: 1,
  final_loss: loss,
  eval_after: null,
  best_loss: null,
  ...changes,
});
const RUNS = [
  run("b", 0, 3, { details: { lr: "1", d_coef: "0.5", seed: "0" } }),
  run("a", 0, 9, { details: { lr: "10", d_coef: "0.5", seed: "0" } }),
  run("b", 1, 5, { details: { lr: "1", d_coef: "0.5", seed: "1" } }),
  run("a", 1, null, { details: { lr: "10", d_coef: "0.5", seed: "1" }, status: "failed" }),
  run("", 0, 4, { name: "alone", details: { lr: "1", d_coef: "2", seed: "0" } }),
  run("", 0, null, { name: "none", details: { lr: "3", d_coef: "2", seed: "0" } }),
];
const FREE = { typed: "", option: "", sorting: null, rank: null };
const names = (items) => items.map((item) => item.name);

test("seeds of a setting are one row in the place of the first", () => {
  const list = listed(RUNS, FREE);
  assert.deepEqual(names(list), ["b", "a", "alone", "none"]);
  assert.deepEqual(
    list.filter(isGroup).map(({ runs }) => runs.map(({ name }) => name)),
    [
      ["b, seed 0", "b, seed 1"],
      ["a, seed 0", "a, seed 1"],
    ],
  );
});

test("a group has median and range of what is known, and its statuses", () => {
  assert.deepEqual(range(RUNS.slice(0, 3), "final_loss"), [3, 5, 9]);
  assert.deepEqual(range([RUNS[0], RUNS[1]], "final_loss"), [3, 6, 9]);
  assert.equal(range([RUNS[5]], "final_loss"), null);
  assert.equal(groupStatus([RUNS[1], RUNS[3]]), "1 done, 1 failed");
  const going = { ...RUNS[0], status: "running" };
  assert.equal(
    groupStatus([
      { ...going, progress: 0.2 },
      { ...going, progress: 0.6 },
    ]),
    "running 40\u00a0%",
  );
});

test("rows are sorted by median, both ways, those without a number and settings of which a seed failed last; seeds too", () => {
  const by = (down) => listed(RUNS, { ...FREE, sorting: { name: "loss", down } });
  assert.deepEqual(names(by(false)), ["b", "alone", "a", "none"]);
  assert.deepEqual(names(by(true)), ["b", "alone", "a", "none"]);
  assert.deepEqual(names(by(true)[0].items), ["b, seed 1", "b, seed 0"]);
  assert.deepEqual(names(listed(RUNS, { ...FREE, sorting: { name: "who", down: false } })), [
    "a",
    "alone",
    "b",
    "none",
  ]);
});

test("while somebody is in a row all rows keep their places, and new ones come last", () => {
  const rank = new Map([
    ["setting a", 0],
    [RUNS[4].key, 1],
    ["setting b", 2],
  ]);
  const list = listed(RUNS, { ...FREE, sorting: { name: "loss", down: false }, rank });
  assert.deepEqual(names(list), ["a", "alone", "b", "none"]);
});

test("typed words are looked for in names and settings, all of them", () => {
  assert.deepEqual(names(matching(RUNS, "ALO")), ["alone"]);
  assert.deepEqual(names(matching(RUNS, "lr 1 seed d_coef 0.5")).length, 4);
  assert.deepEqual(names(matching(RUNS, "d_coef 2 alone")), ["alone"]);
  assert.deepEqual(names(matching(RUNS, " ")).length, RUNS.length);
  assert.deepEqual(matching(RUNS, "nobody"), []);
});

test("rows are grouped by an option that varies and whose values stand in several rows, never by the seed", () => {
  assert.deepEqual(groupings(RUNS), ["lr", "d_coef"]);
  assert.deepEqual(groupings(RUNS.slice(0, 3)), []);
  const list = listed(RUNS, { ...FREE, option: "d_coef" });
  assert.deepEqual(names(list), ["d_coef 0.5", "d_coef 2"]);
  assert.deepEqual(names(list[0].items), ["b", "a"]);
  assert.equal(list[0].runs.length, 4);
});
