// @ts-check
// What the table lists, and in which order: runs, groups of them, those that match what was typed. Pure functions.
import { COLUMNS, status } from "./runs_text.js";

/**
 * @typedef {import("./runs_text.js").Run} Run
 * @typedef {{name: string, down: boolean} | null} Sorting by which column; null: as the runs came
 * @typedef {{kind: "seeds" | "option", key: string, name: string, runs: Run[], items: Item[]}} Group runs of one row
 * @typedef {Run | Group} Item
 */

/** Numbers of which the lowest is the best. */
const LOSSES = ["final_loss", "eval_after", "best_loss"];

/** The row of a group @param {Item} item @returns {item is Group} */
export const isGroup = (item) => "items" in item;

/** The runs whose names or settings have every typed word. @param {Run[]} runs @param {string} typed */
export function matching(runs, typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return runs.filter((run) => {
    const settings = Object.entries(run.details).map(([name, value]) => `${name} ${value}`);
    const text = [run.name, run.setting, run.differs, status(run), ...settings].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Rows of a table that nobody has sorted: runs that differ by their seed only are one, in the place of the first.
 * @param {Run[]} runs @returns {Item[]} */
export function entries(runs) {
  /** @type {Map<string, Item>} */
  const found = new Map();
  for (const run of runs) {
    if (!run.setting) found.set(`run ${run.key}`, run);
    else {
      const key = `setting ${run.setting}`;
      const group = found.get(key) ?? { kind: "seeds", key, name: run.setting, runs: [], items: [] };
      if (isGroup(group)) for (const list of [group.runs, group.items]) list.push(run);
      found.set(key, group);
    }
  }
  return [...found.values()];
}

/** Options by whose value the table can be grouped: at least one value stands in several rows. @param {Run[]} runs */
export function groupings(runs) {
  const rows = entries(runs).map(first);
  const names = new Set(rows.flatMap(({ details }) => Object.keys(details)));
  names.delete("seed");
  return [...names].filter((name) => {
    const values = new Set(rows.map(({ details }) => details[name]));
    return values.size > 1 && values.size < rows.length;
  });
}

/** @param {Item} item @returns {Run} */
const first = (item) => (isGroup(item) ? item.runs[0] : item);

/** Rows under a heading for each value of an option. @param {Item[]} rows @param {string} option @returns {Item[]} */
function grouped(rows, option) {
  /** @type {Map<string, Group>} */
  const found = new Map();
  for (const row of rows) {
    const value = first(row).details[option];
    const bare = value === undefined || ["optimizer", "schedule", "task"].includes(option);
    const name = value === undefined ? `without ${option}` : bare ? value : `${option} ${value}`;
    const key = `option ${name}`;
    const group = found.get(key) ?? { kind: "option", key, name, runs: [], items: [] };
    group.items.push(row);
    group.runs.push(...(isGroup(row) ? row.runs : [row]));
    found.set(key, group);
  }
  return [...found.values()];
}

/** The same rows in another order; where nothing is known of a row, it stands last, and equal ones stay as they came.
 * @param {Item[]} rows @param {(a: Item, b: Item) => number} compare @returns {Item[]} */
const ordered = (rows, compare) =>
  rows.map((row) => (isGroup(row) ? { ...row, items: ordered(row.items, compare) } : row)).sort(compare);

/** @param {Exclude<Sorting, null>} sorting @returns {(a: Item, b: Item) => number} */
export function comparison({ name, down }) {
  // A setting of which a seed failed has no loss to be ranked by, as in the verdict.
  const lost = (/** @type {Item} */ item) =>
    LOSSES.includes(field ?? "") &&
    isGroup(item) &&
    item.kind === "seeds" &&
    item.runs.some((r) => r.status === "failed");
  const value = (/** @type {Item} */ item) =>
    field === undefined || lost(item) ? null : isGroup(item) ? range(item.runs, field)?.[1] : item[field];
  const field = COLUMNS.find((column) => column.name === name)?.field;
  const sign = down ? -1 : 1;
  const words = new Intl.Collator(undefined, { numeric: true });
  const text = (/** @type {Item} */ item) =>
    name !== "who" ? groupStatus(isGroup(item) ? item.runs : [item]) : item.name;
  return (a, b) => {
    if (!field) return sign * words.compare(text(a), text(b));
    const [x, y] = [a, b].map((item) => value(item) ?? null);
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return sign * (x - y);
  };
}

/** What the table lists from the top. @param {Run[]} runs
 * @param {{typed: string, option: string, sorting: Sorting, rank: Map<string, number> | null}} chosen `rank`: the places that rows
 * keep whatever is sorted, by their keys @returns {Item[]} */
export function listed(runs, { typed, option, sorting, rank }) {
  const rows = entries(matching(runs, typed));
  const list = option && groupings(runs).includes(option) ? grouped(rows, option) : rows;
  if (rank) {
    const place = (/** @type {Item} */ { key }) => rank.get(key) ?? Infinity;
    return ordered(list, (a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
  }
  return sorting ? ordered(list, comparison(sorting)) : list;
}

/** Least value, median and greatest value of a number of several runs; null where no run has it.
 * @param {Run[]} runs @param {import("./runs_text.js").Field} field @returns {[number, number, number] | null} */
export function range(runs, field) {
  const values = runs
    .map((run) => run[field])
    .filter((value) => value !== null)
    .sort((a, b) => a - b);
  const n = values.length;
  return n ? [values[0], (values[(n - 1) >> 1] + values[n >> 1]) / 2, values[n - 1]] : null;
}

/** Statuses of several runs in words. @param {Run[]} runs */
export function groupStatus(runs) {
  /** @type {Map<string, Run[]>} */
  const found = new Map();
  for (const run of runs) found.set(run.status, [...(found.get(run.status) ?? []), run]);
  if (found.size > 1) return [...found].map(([name, { length }]) => `${length} ${name}`).join(", ");
  const progress = runs.reduce((sum, run) => sum + run.progress, 0) / runs.length;
  return status({ ...runs[0], progress });
}
