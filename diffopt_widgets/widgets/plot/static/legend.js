// @ts-check
// The legend: a button for each run, and one for each group of runs.
import { make, makeButton } from "./dom.js";
import { formatNumber } from "./format.js";
import { nameOf, together } from "./picture.js";

/** @typedef {import("./picture.js").Run} Run @typedef {import("./feed.js").Feed} Feed */

/** More entries than this can be shown or hidden together. */
const MANY = 8;
/** More entries than this are folded: their groups stand for them. */
const FOLDED = 24;

/** Entries of the legend, each of one run or of several seeds, by their group, in order of appearance. A group has its name only
 * where that says more than the entries' own names. @param {Run[]} runs @returns {{name: string, entries: Run[][]}[]} */
export function groups(runs) {
  const entries = together(runs);
  /** @type {Map<string, Run[][]>} */
  const found = new Map();
  for (const seeds of entries) {
    const group = seeds[0].group ?? "";
    found.set(group, [...(found.get(group) ?? []), seeds]);
  }
  if (found.size < 2 || found.size === entries.length) return [{ name: "", entries }];
  return [...found].map(([name, members]) => ({ name, entries: members }));
}

/** The run in words: its settings and its latest values. @param {Run} run @param {import("./run_rows.js").RunRows} store */
export function summary(run, store) {
  const last = store.length - 1;
  const settings = Object.entries(run.details ?? {}).map(([name, value]) => `${name} ${value}`);
  if (last < 0) return [run.name, ...settings].join("\n");
  const values = [...store.columns].map(([name, column]) => `${name} ${formatNumber(column.at(last), 7)}`);
  const step = `step ${store.steps.at(last)}`;
  return [run.name, ...settings, "", step, ...values, "", "Click to show or hide"].join("\n");
}

/** How entries are named: of many, what all begin with ("PRODIGY · ") and how many seeds they have is left out.
 * @param {Run[][]} entries @returns {(seeds: Run[]) => string} */
function labels(entries) {
  if (entries.length <= MANY) return nameOf;
  const short = (/** @type {Run[]} */ seeds) => (seeds.length > 1 ? seeds[0].setting : seeds[0].name);
  const head = short(entries[0]).split(" · ")[0] + " · ";
  const shared = entries.every((seeds) => short(seeds).startsWith(head));
  return (seeds) => (shared ? short(seeds).slice(head.length) : short(seeds));
}

/** Several seeds in words. @param {Run[]} seeds */
function wordsOf(seeds) {
  const settings = Object.entries(seeds[0].details ?? {}).filter(([name]) => name !== "seed");
  const words = settings.map(([name, value]) => `${name} ${value}`);
  return [nameOf(seeds), ...words, "", "Line: median; band: lowest to highest", "", "Click to show or hide"].join("\n");
}

export class Legend {
  /** @param {Feed} feed @param {(id: number | null) => void} pick called with the run that the pointer or the focus is on */
  constructor(feed, pick) {
    this.feed = feed;
    this.pick = pick;
    this.shown = "";
    this.unfolded = false;
    this.label = nameOf;
    this.node = make("div", "dw-plot-legend");
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", "Runs: press to show or hide");
  }

  update() {
    const runs = this.feed.runs;
    const looks = runs.map(({ id, name, color, dash, visible, group, setting }) => [
      id,
      name,
      color,
      dash,
      visible,
      group,
      setting,
    ]);
    const shown = JSON.stringify([this.unfolded, looks]);
    if (shown === this.shown) return;
    this.shown = shown;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
    const count = together(runs).length;
    const folds = count > FOLDED;
    this.label = labels(together(runs));
    const parts = groups(runs).flatMap(({ name, entries }) => {
      const members = entries.flat();
      /** @type {HTMLElement[]} */
      const buttons = folds && !this.unfolded ? [] : entries.map((seeds) => this.entry(seeds));
      if (name) return [make("div", "dw-plot-runs", [this.heading(name, members, entries.length), ...buttons])];
      const all = `All ${count} ${count < runs.length ? "settings" : "runs"}`;
      return entries.length > MANY ? [this.heading(all, members), ...buttons] : buttons;
    });
    this.node.replaceChildren(...parts, ...(folds ? [this.fold(count)] : []));
    this.pick(null);
    if (!focused) return;
    for (const node of this.node.querySelectorAll("button")) if (node.dataset.key === focused) node.focus();
  }

  /** Shows or hides the names of all entries. @param {number} count */
  fold(count) {
    const button = makeButton(
      [this.unfolded ? "Fold names" : `All ${count} names`],
      () => {
        this.unfolded = !this.unfolded;
        this.update();
      },
      "dw-plot-fold",
    );
    button.dataset.key = "fold";
    button.setAttribute("aria-expanded", String(this.unfolded));
    return button;
  }

  /** @param {Run[]} seeds one run, or several that are drawn as one */
  entry(seeds) {
    const [run] = seeds;
    const line = make("i", "");
    line.dataset.dash = run.dash;
    const visible = seeds.filter((one) => one.visible);
    const children = [line, make("span", "", [this.label(seeds)])];
    const ids = seeds.map(({ id }) => id);
    const button = makeButton(children, () => this.feed.show(ids, !visible.length), "dw-plot-run");
    button.dataset.key = `run ${run.key}`;
    button.setAttribute("aria-pressed", String(visible.length > 0));
    button.style.setProperty("--dw-run", run.color);
    const words = () => (seeds.length > 1 ? wordsOf(seeds) : summary(run, this.feed.store(run.id)));
    button.addEventListener("pointerenter", () => (button.title = words()));
    for (const enter of ["pointerenter", "focus"])
      button.addEventListener(enter, () => this.pick(visible[0]?.id ?? run.id));
    for (const leave of ["pointerleave", "blur"]) button.addEventListener(leave, () => this.pick(null));
    return button;
  }

  /** @param {string} name @param {Run[]} runs @param {number} [entries] that stand under it */
  heading(name, runs, entries) {
    const visible = runs.every((run) => run.visible);
    const ids = runs.map((run) => run.id);
    const line = make("i", "");
    line.dataset.dash = runs[0].dash;
    const alike = entries && runs.every(({ color, dash }) => color === runs[0].color && dash === runs[0].dash);
    const children = [...(alike ? [line] : []), name, ...(entries && !this.unfolded ? [` · ${entries}`] : [])];
    const button = makeButton(children, () => this.feed.show(ids, !visible), "dw-plot-group");
    button.style.setProperty("--dw-run", runs[0].color);
    button.dataset.key = `group ${name}`;
    button.title = "Show or hide them all";
    button.setAttribute("aria-pressed", String(visible));
    return button;
  }
}
