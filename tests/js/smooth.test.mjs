// The smoothed line: a centred mean, whatever rows come in which order.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK } from "../../diffopt_widgets/widgets/plot/static/column.js";
import { RunRows } from "../../diffopt_widgets/widgets/plot/static/run_rows.js";
import { halfOf, means } from "../../diffopt_widgets/widgets/plot/static/smooth.js";

/** The mean of each known value and its neighbours, in the plainest way. */
function plain(values, half) {
  const known = values.filter((value) => Number.isFinite(value));
  const mean = known.map((_, i) => {
    const around = known.slice(i - Math.min(half, i), i + Math.min(half, i) + 1);
    return around.reduce((sum, value) => sum + value, 0) / around.length;
  });
  return values.map((value) => (Number.isFinite(value) ? mean.shift() : NaN));
}

/** Values between 0 and 1 that are the same each time, some of them missing. */
function noise(count, missing) {
  let state = 7;
  return Array.from({ length: count }, () => {
    state = (state * 48_271) % 2_147_483_647;
    return state % 1_000 < 1_000 * missing ? NaN : Math.fround(state / 2_147_483_647);
  });
}

const close = (a, b) => (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) < 1e-6;

test("a mean has as many values as an exponential average of that weight is worth", () => {
  assert.deepEqual([0, 0.3, 0.5, 0.9, 0.95, 0.99, 0.999].map(halfOf), [0, 0, 1, 9, 19, 99, 999]);
});

test("a straight fall stays where it is, but for the last values", () => {
  const fall = Array.from({ length: 60 }, (_, i) => 100 - i);
  const mean = [...means(fall, 9, true)];
  assert.deepEqual(mean.slice(0, -9), fall.slice(0, -9));
});

test("a huge value spoils only the means that contain it", () => {
  const values = Array.from({ length: 100 }, () => 1);
  values[50] = 1e300;
  for (const [i, mean] of means(values, 9, true).entries()) assert.equal(mean === 1, Math.abs(i - 50) > 9);
});

for (const [beta, missing] of [
  [0.2, 0],
  [0.9, 0],
  [0.9, 0.7],
  [0.97, 0.1],
  [0.99, 0.3],
]) {
  test(`rows that come a few at a time give the mean over all of them: ${beta}, ${missing} missing`, () => {
    const values = noise(3 * BLOCK, missing);
    for (const each of [1, 7, 100, 700]) {
      const store = new RunRows();
      for (let start = 0; start < values.length; start += each) {
        const rows = values.slice(start, start + each);
        const steps = Float64Array.from(rows, (_, i) => start + i);
        store.write(start, steps, ["loss"], Float32Array.from(rows));
        const drawn = store.smoothed("loss", beta);
        if (each < 50 && start % 91) continue;
        const expected = plain(values.slice(0, start + rows.length), halfOf(beta));
        for (const [row, value] of expected.entries()) assert.ok(close(drawn.at(row), value), `${row} of ${start}`);
      }
    }
  });
}
