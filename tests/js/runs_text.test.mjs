import assert from "node:assert/strict";
import { test } from "node:test";
import {
  brief,
  COLUMNS,
  memory,
  short,
  status,
  summary,
  underway,
  unsaid,
  withRow,
} from "../../diffopt_widgets/widgets/tables/static/runs_text.js";

const run = (changes = {}) => ({
  key: "a",
  name: "PRODIGY · d_coef 0.5",
  color: "#123456",
  differs: "",
  visible: true,
  best: "",
  status: "done",
  message: "",
  progress: 1,
  final_loss: 0.18349,
  eval_after: null,
  best_loss: 0.17,
  applied_plateau: 0.0005123,
  steps_per_second: 38.24,
  state_bytes: 1_234_567,
  cannot_remove: "",
  cannot_continue: "",
  ...changes,
});

test("numbers have three digits, and a dash where there is none", () => {
  assert.deepEqual([0.18349, 0.0005123, 38.24, 1234.5, 12345678, 0, -2.5, null].map(short), [
    "0.183",
    "5.12e-4",
    "38.2",
    "1230",
    "1.23e7",
    "0",
    "-2.5",
    "–",
  ]);
});

test("where there is no room for columns the loss that counts is said, and the best run is marked in words", () => {
  assert.equal(brief(run()), "done · training loss 0.183");
  assert.equal(brief(run({ eval_after: 0.25, best: "lowest of 3" })), "best · eval loss 0.25");
});

test("memory is in the unit that a person would take", () => {
  const table = [
    [null, "–"],
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [1_234_567, "1.2 MB"],
    [9_940_000, "9.9 MB"],
    [9_960_000, "10 MB"],
    [671_200, "671 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [999_999, "1.0 MB"],
    [20_900_000_000, "21 GB"],
    [5e15, "5000 TB"],
  ];
  assert.deepEqual(
    table.map(([bytes]) => memory(bytes)),
    table.map(([, words]) => words),
  );
});

test("the status says how far a run is, or how far it came", () => {
  const words = (name, progress) => status(run({ status: name, progress })).replace("\u00a0", " ");
  assert.equal(words("waiting", 0), "waiting");
  assert.equal(words("running", 0.459), "running 45 %");
  assert.equal(words("running", 1), "running 100 %");
  assert.equal(words("paused", 0.5), "paused 50 %");
  assert.equal(words("stopped", 0.999), "stopped 99 %");
  assert.equal(words("stopped", 0), "not started");
  assert.equal(words("failed", 0), "failed 0 %");
  assert.equal(words("failed", 1), "failed");
  assert.equal(words("done", 1), "done");
});

test("what the name says already is not said again", () => {
  const rest = (name, differs) => unsaid(run({ name, differs }));
  assert.equal(rest("PRODIGY · d_coef 0.5 (2)", "PRODIGY · d_coef 0.5"), "");
  assert.equal(rest("PRODIGY · d_coef 0.5", "PRODIGY · COSINE, d_coef 0.5, steps 60"), "COSINE, steps 60");
  assert.equal(rest("SGD · lr 1e20", "SGD · lr 1"), "lr 1");
  assert.equal(rest("mine", "PRODIGY · d_coef 0.5"), "PRODIGY, d_coef 0.5");
  assert.equal(rest("mine", ""), "");
});

test("the summary holds every column, for where they gave way", () => {
  const words = summary(run());
  assert.equal(
    words,
    "done · Train loss 0.183 · Eval loss – · Best train 0.17 · Applied rate 5.12e-4 · Steps/s 38.2 · Optimizer memory 1.2 MB",
  );
  assert.equal(COLUMNS[0].name, "loss");
});

test("one row is brought up to date and the others stay the very same", () => {
  const rows = [run(), run({ key: "b" })];
  const next = withRow(rows, run({ key: "b", name: "new" }));
  assert.equal(next[0], rows[0]);
  assert.equal(next[1].name, "new");
  assert.deepEqual(withRow(rows, run({ key: "gone" })), rows);
});

test("a rate that nobody knows is said to be not known, once there are steps", () => {
  const rate = /** @type {{show: (run: any) => string}} */ (COLUMNS.find((column) => column.name === "rate"));
  assert.equal(rate.show(run()), "5.12e-4");
  assert.equal(rate.show(run({ applied_plateau: null })), "not known");
  assert.equal(rate.show(run({ applied_plateau: null, best_loss: null })), "–");
});

test("a run is under way from the moment it waits until it ends", () => {
  const statuses = ["waiting", "running", "paused", "done", "stopped", "failed"];
  const going = statuses.filter((status) => underway(run({ status })));
  assert.deepEqual(going, ["waiting", "running", "paused"]);
});
