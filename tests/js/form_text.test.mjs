import assert from "node:assert/strict";
import { test } from "node:test";
import {
  TRACK,
  firstSentence,
  nudge,
  numberOf,
  placeOf,
  sentence,
  textAt,
  textOf,
} from "../../diffopt_widgets/widgets/page/static/text.js";

const RATE = { low: 1e-7, high: 10, log: true, integer: false };
const BETA = { low: 0, high: 0.999, log: false, integer: false };
const BITS = { low: 0, high: 100, log: false, integer: true };

test("numbers are read as people write them", () => {
  for (const [text, value] of [
    ["1e-4", 1e-4],
    [" .9 ", 0.9],
    ["1_000", 1000],
    ["-0.8", -0.8],
    ["5.", 5],
    ["1E+3", 1000],
    ["inf", Infinity],
    ["-Infinity", -Infinity],
  ])
    assert.equal(numberOf(String(text)), value, String(text));
});

const COPIED = [
  ["1e−3", 1e-3],
  ["−0.5", -0.5],
  ["1\u00a0000", 1000],
  ["12\u202f000.5", 12000.5],
  ["1'000'000", 1e6],
  ["10k", 10_000],
  ["1.5 M", 1.5e6],
  ["3 × 10⁻⁴", 3e-4],
  ["2·10^{-3}", 2e-3],
  ["10**−2", 1e-2],
  ["1×10−4", 1e-4],
  ["1 e −4", 1e-4],
  ["\u200b0.9\ufeff", 0.9],
  ["１０", 10],
];

test("numbers as papers and chats have them are read", () => {
  for (const [text, value] of COPIED) assert.equal(numberOf(text), value, text);
});

test("a point in a whole number may group its digits; where it may be either, no number is read", () => {
  assert.deepEqual(
    ["1.500", "1.000.000", "1.0", "12.345"].map((text) => numberOf(text, true)),
    [1500, 1e6, 1, 12345],
  );
  for (const text of ["1.000", "10.000"]) assert.ok(Number.isNaN(numberOf(text, true)), text);
  assert.equal(numberOf("1.000"), 1);
});

test("what Python does not read as a number is none here either", () => {
  for (const text of [
    "",
    "none",
    "1e-",
    "0,5",
    "0x10",
    "1__0",
    "_1",
    "١",
    "3×105",
    "1 00",
    "10m",
    "1.000.000",
    "1'00",
    "1e3k",
    "nan",
    "true",
    "1 2",
    "<b>",
  ])
    assert.ok(Number.isNaN(numberOf(text)), text);
});

test("numbers are written as by hand and read back the same", () => {
  assert.deepEqual([1e-5, 2.5e-4, 0.9, 300, 0, 0.1 + 0.2].map(textOf), ["1e-5", "2.5e-4", "0.9", "300", "0", "0.3"]);
  for (let power = -30; power < 30; power++) assert.equal(numberOf(textOf(Number(`3e${power}`))), Number(`3e${power}`));
});

test("the ends of the track are the ends of the range", () => {
  for (const slider of [RATE, BETA, BITS]) {
    assert.equal(numberOf(textAt(0, slider)), slider.low);
    assert.equal(numberOf(textAt(TRACK, slider)), slider.high);
    assert.equal(placeOf(textOf(slider.low), slider), 0);
    assert.equal(placeOf(textOf(slider.high), slider), TRACK);
  }
});

test("half the track is the geometric middle on a logarithmic scale", () => {
  assert.equal(placeOf("1e-3", RATE), TRACK / 2);
  assert.equal(numberOf(textAt(TRACK / 2, RATE)), 1e-3);
});

test("a place and the text for it belong together, and texts rise along the track", () => {
  for (const slider of [RATE, BETA, BITS]) {
    let last = -Infinity;
    for (let place = 0; place <= TRACK; place++) {
      const text = textAt(place, slider);
      const value = numberOf(text);
      assert.ok(value >= last && value >= slider.low && value <= slider.high, `${place}: ${text}`);
      assert.ok(text.length <= 7, text);
      assert.ok(Math.abs((placeOf(text, slider) ?? NaN) - place) <= TRACK / 100, `${place}: ${text}`);
      last = value;
    }
  }
});

test("values beyond the range stand at its ends, and no number stands nowhere", () => {
  assert.equal(placeOf("1e9", RATE), TRACK);
  assert.equal(placeOf("inf", RATE), TRACK);
  assert.equal(placeOf("-1", RATE), 0);
  assert.equal(placeOf("0", RATE), 0);
  assert.equal(placeOf("", RATE), null);
});

test("arrow keys move the leading digit of a rate", () => {
  const up = [];
  for (let text = "8e-5"; up.length < 4; text = nudge(text, 1, { slider: RATE })) up.push(text);
  assert.deepEqual(up, ["8e-5", "9e-5", "1e-4", "2e-4"]);
  const down = [];
  for (let text = "2e-4"; down.length < 4; text = nudge(text, -1, { slider: RATE })) down.push(text);
  assert.deepEqual(down, ["2e-4", "1e-4", "9e-5", "8e-5"]);
});

test("arrow keys move a plain value by a round step and stay inside the range", () => {
  assert.equal(nudge("0.9", 1, { slider: BETA }), "0.91");
  assert.equal(nudge("0.999", 1, { slider: BETA }), "0.999");
  assert.equal(nudge("0", -1, { slider: BETA }), "0");
  assert.equal(nudge("8", 1, { integer: true }), "9");
  assert.equal(nudge("4096", -1, { integer: true, slider: { low: 1, high: 1e5, log: true, integer: true } }), "4095");
  assert.equal(nudge("0.25", -1, {}), "0.24");
});

test("arrow keys leave alone what says no number", () => {
  for (const text of ["", "none", "inf", "0,5"]) assert.equal(nudge(text, 1, { slider: RATE }), text);
});

test("a text of a million characters is read at once", () => {
  const long = "9".repeat(1_000_000);
  assert.ok(Number.isNaN(numberOf(`${long}x`)));
  assert.equal(numberOf(long), Infinity);
  assert.equal(numberOf(`${" ".repeat(1_000_000)}1`), 1);
});

test("the first sentence ends at its own point", () => {
  assert.equal(firstSentence("Divides by 0.9. Larger is slower."), "Divides by 0.9.");
  assert.equal(firstSentence("As in e.g. this one? Yes."), "As in e.g. this one?");
  assert.equal(firstSentence("Over i.e. all steps: 1 − 0.5. √d"), "Over i.e. all steps: 1 − 0.5.");
  for (const text of ["One sentence.", "no point", ""]) assert.equal(firstSentence(text), text);
  assert.equal(sentence("only with momentum on"), "Only with momentum on.");
});
