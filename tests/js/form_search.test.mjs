import assert from "node:assert/strict";
import { test } from "node:test";
import { askedFor, entriesOf, marked, search } from "../../diffopt_widgets/widgets/form/static/search.js";

const ENTRIES = [
  entry("lr", "Learning rate", "The size of each step.", ["ADAM", "PRODIGY", "SGD"]),
  entry("d_coef", "D coefficient", "Scales the estimate of the learning rate.", ["PRODIGY"]),
  entry("weight_decay", "Weight decay", "Pulls all weights toward zero.", ["ADAM", "PRODIGY"]),
  entry("decouple", "Decouple", "Applies weight decay to the weights themselves.", ["PRODIGY"]),
  entry("momentum", "Momentum", "Like a ball rolling on.", ["SGD"], { SGD: "Needed under 8 bits." }),
  entry("safeguard_warmup", "Safeguard warm-up", "Small rates stay out of the estimate.", ["PRODIGY"]),
  entry("warmup", "Warm-up", "Steps over which the rate rises from zero.", ["ADAM", "PRODIGY", "SGD"]),
  entry("amsgrad", "AMSGrad", "Keeps the largest average, so a warm-up is of less use. <b>", ["ADAM"]),
];

/** @param {string} name @param {string} title @param {string} help @param {string[]} optimizers */
function entry(name, title, help, optimizers, notes = {}) {
  return { name, title, help, optimizers, notes, without: {} };
}

/** @param {string} query */
const names = (query, optimizer = "PRODIGY") => search(ENTRIES, query, optimizer).map((hit) => hit.entry.name);

test("an option is found by its name and by its title, however one parts their words", () => {
  for (const query of ["d_coef", "D_COEF", "d coef", "dcoef", "D coefficient", "d-coef", "coef"])
    assert.deepEqual(names(query), ["d_coef"], query);
});

test("an index has each text once, and its entries have it for each optimizer", () => {
  const [momentum, lr] = entriesOf({
    optimizers: ["SGD", "LARS", "RMSPROP"],
    entries: [
      {
        name: "momentum",
        title: "Momentum",
        help: "Like a ball.",
        optimizers: [1, 0, 2],
        notes: [["Needed.", [0, 1]]],
        without: [["no effect", [2]]],
      },
      { name: "lr", title: "Learning rate", help: "", optimizers: [0, 1, 2], notes: [], without: [] },
    ],
  });
  assert.deepEqual(momentum, {
    ...entry("momentum", "Momentum", "Like a ball.", ["LARS", "SGD", "RMSPROP"], { SGD: "Needed.", LARS: "Needed." }),
    without: { RMSPROP: "no effect" },
  });
  assert.deepEqual(lr, entry("lr", "Learning rate", "", ["SGD", "LARS", "RMSPROP"]));
});

test("names and titles that begin with the query come first, then their words, then the help", () => {
  assert.deepEqual(names("warm"), ["warmup", "safeguard_warmup", "amsgrad"]);
  assert.deepEqual(names("warm-up"), names("warmup"));
  assert.deepEqual(names("weight decay"), ["weight_decay", "decouple"]);
  assert.deepEqual(names("decay weight"), ["weight_decay", "decouple"]);
  assert.deepEqual(names("rate"), ["lr", "d_coef", "safeguard_warmup", "warmup"]);
});

test("among equals the options of the present optimizer come first", () => {
  const two = [entry("beta9", "Beta", "", ["ADAM"]), entry("beta8", "Beta", "", ["SGD"])];
  const found = (/** @type {string} */ optimizer) => search(two, "beta", optimizer).map((hit) => hit.entry.name);
  assert.deepEqual(found("SGD"), ["beta8", "beta9"]);
  assert.deepEqual(found("ADAM"), ["beta9", "beta8"]);
});

test("an option of the present optimizer comes before a closer hit elsewhere, but not before a name for its help", () => {
  const decays = [
    entry("decay_rate", "Decay rate", "", ["ADAFACTOR"]),
    entry("weight_decay", "Weight decay", "", ["ADAFACTOR", "PRODIGY"]),
    entry("decouple", "Decouple", "Where the decay goes.", ["PRODIGY"]),
  ];
  const found = (/** @type {string} */ optimizer) => search(decays, "decay", optimizer).map((hit) => hit.entry.name);
  assert.deepEqual(found("PRODIGY"), ["weight_decay", "decay_rate", "decouple"]);
  assert.deepEqual(found("ADAFACTOR"), ["decay_rate", "weight_decay", "decouple"]);
});

test("each hit says which optimizers have it", () => {
  const [momentum] = search(ENTRIES, "momentum", "PRODIGY");
  assert.equal(momentum.here, false);
  assert.deepEqual(momentum.optimizers, ["SGD"]);
  assert.equal(search(ENTRIES, "momentum", "SGD")[0].here, true);
});

test("a note of one optimizer is found last, and for that optimizer only", () => {
  const [hit, ...more] = search(ENTRIES, "8 bits", "ADAM");
  assert.deepEqual(
    [hit.entry.name, hit.optimizers, hit.snippet, more],
    ["momentum", ["SGD"], "Needed under 8 bits.", []],
  );
});

test("a question is asked for what it is about", () => {
  const questions = {
    "which optimizers have weight decay by lr?": "weight decay by lr",
    "What does d_coef do?": "d_coef",
    "who has “8 bits”?": "8 bits",
    momentum: "momentum",
    "which optimizers have?": "which optimizers have?",
    "": "",
  };
  for (const [question, words] of Object.entries(questions)) assert.equal(askedFor(question), words);
  assert.equal(askedFor("x ".repeat(100_000)).length, 99);
});

test("one letter finds beginnings only, and no words find nothing", () => {
  assert.deepEqual(names("m"), ["momentum"]);
  for (const query of ["", "  ", "-_ "]) assert.deepEqual(names(query), []);
  assert.deepEqual(names("no such words"), []);
});

test("signs are signs and not patterns, and a long text is no trouble", () => {
  for (const query of [".*", "(", "[a", "\\", "a|b", "$&", "{2}", "\0", "<script>", "９", "\ud800"]) names(query);
  assert.deepEqual(names("d.coef"), []);
  assert.deepEqual(names("<b>"), ["amsgrad"]);
  assert.deepEqual(names("warm ".repeat(100_000)), names("warm ".repeat(20)));
  assert.deepEqual(names("-".repeat(100_000)), []);
});

test("a snippet begins near its hit", () => {
  const far = [entry("x", "X", `${"Some words ahead of it. ".repeat(8)}Here is the spike in question.`, ["ADAM"])];
  const [{ snippet }] = search(far, "spike", "ADAM");
  assert.match(snippet, /^… \S.{3,24}spike in question\.$/);
  assert.equal(search(far, "some", "ADAM")[0].snippet, far[0].help);
});

test("what was found is marked, and the parts make up the text", () => {
  const hits = (/** @type {string} */ text, /** @type {string} */ query) =>
    marked(text, query)
      .filter((part) => part.hit)
      .map((part) => part.text);
  assert.deepEqual(hits("Weight decay pulls; decay of weight", "weight decay"), ["Weight decay"]);
  assert.deepEqual(hits("decays of a weight", "weight decay"), ["decay", "weight"]);
  assert.deepEqual(hits("d_coef", "d coef"), ["d_coef"]);
  assert.deepEqual(hits("nothing", "x"), []);
  for (const query of ["a", "weight decay", "(", ""])
    assert.equal(
      marked("a (weight) decay", query)
        .map((part) => part.text)
        .join(""),
      "a (weight) decay",
    );
});
