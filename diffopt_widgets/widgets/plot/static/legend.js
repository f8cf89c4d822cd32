// @ts-check
// The legend: a button for each run, and one for each group of runs.
import { make, makeButton } from "./dom.js";
import { formatNumber } from "./format.js";

/** @typedef {import("./picture.js").Run} Run @typedef {import("./feed.js").Feed} Feed */

/** More runs than this can be shown or hidden together. */
const MANY = 8;

/** Runs by their group, in order of appearance. A group has its name only where that says more than the runs' own names.
 * @param {Run[]} runs @returns {{name: string, runs: Run[]}[]} */
export function groups(runs) {
  /** @type {Map<string, Run[]>} */
  const found = new Map();
  for (const run of runs) found.set(run.group ?? "", [...(found.get(run.group ?? "") ?? []), run]);
  if (found.size < 2 || found.size === runs.length) return [{ name: "", runs }];
  return [...found].map(([name, members]) => ({ name, runs: members }));
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

export class Legend {
  /** @param {Feed} feed @param {(id: number | null) => void} pick called with the run that the pointer or the focus is on */
  constructor(feed, pick) {
    this.feed = feed;
    this.pick = pick;
    this.shown = "";
    this.node = make("div", "dw-plot-legend");
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", "Runs: press to show or hide");
  }

  update() {
    const runs = this.feed.runs;
    const shown = JSON.stringify(
      runs.map(({ id, name, color, dash, visible, group }) => [id, name, color, dash, visible, group]),
    );
    if (shown === this.shown) return;
    this.shown = shown;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
    const parts = groups(runs).flatMap(({ name, runs: members }) => {
      /** @type {HTMLElement[]} */
      const buttons = members.map((run) => this.entry(run));
      if (name) return [make("div", "dw-plot-runs", [this.heading(name, members), ...buttons])];
      return members.length > MANY ? [this.heading(`All ${members.length} runs`, members), ...buttons] : buttons;
    });
    this.node.replaceChildren(...parts);
    this.pick(null);
    if (!focused) return;
    for (const node of this.node.querySelectorAll("button")) if (node.dataset.key === focused) node.focus();
  }

  /** @param {Run} run */
  entry(run) {
    const line = make("i", "");
    line.dataset.dash = run.dash;
    const children = [line, make("span", "", [run.name])];
    const button = makeButton(children, () => this.feed.show([run.id], !run.visible), "dw-plot-run");
    button.dataset.key = `run ${run.key}`;
    button.setAttribute("aria-pressed", String(run.visible));
    button.style.setProperty("--dw-run", run.color);
    button.addEventListener("pointerenter", () => (button.title = summary(run, this.feed.store(run.id))));
    for (const enter of ["pointerenter", "focus"]) button.addEventListener(enter, () => this.pick(run.id));
    for (const leave of ["pointerleave", "blur"]) button.addEventListener(leave, () => this.pick(null));
    return button;
  }

  /** @param {string} name @param {Run[]} runs */
  heading(name, runs) {
    const visible = runs.every((run) => run.visible);
    const ids = runs.map((run) => run.id);
    const button = makeButton([name], () => this.feed.show(ids, !visible), "dw-plot-group");
    button.dataset.key = `group ${name}`;
    button.title = "Show or hide them all";
    button.setAttribute("aria-pressed", String(visible));
    return button;
  }
}
