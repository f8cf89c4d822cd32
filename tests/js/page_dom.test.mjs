// Ids of widgets on one page.
import assert from "node:assert/strict";
import { test } from "node:test";

const FILE = "../../diffopt_widgets/widgets/page/static/dom.js";

test("no two views have an id in common, whether they are of one widget, of two, or of two kinds", async () => {
  // Each widget loads the file for itself, so these are two modules.
  const [one, two] = await Promise.all(["?one", "?two"].map((own) => import(FILE + own)));
  assert.notEqual(one.ownPrefix, two.ownPrefix);
  const prefixes = [one, one, two, two].flatMap(({ ownPrefix }) => [ownPrefix("dwf"), ownPrefix("dwr")]);
  assert.equal(new Set(prefixes).size, prefixes.length);
});
