// @ts-check
// Texts of the table of runs. Pure functions.
import { textOf } from "../../page/static/text.js";

/**
 * @typedef {{key: string, name: string, color: string, differs: string, visible: boolean, best: string, status: string,
 *   message: string, progress: number, final_loss: number | null, eval_after: number | null, best_loss: number | null,
 *   applied_plateau: number | null, steps_per_second: number | null, state_bytes: number | null, cannot_remove: string,
 *   cannot_continue: string, setting: string, details: Record<string, string>}} Run
 * @typedef {"final_loss" | "eval_after" | "best_loss" | "applied_plateau" | "steps_per_second" | "state_bytes"} Field
 */
/** @typedef {{name: string, field: Field, title: string, about: string, show(run: Run): string}} Column */

/** @param {number | null} value */
export const short = (value) => (value === null ? "–" : textOf(Number(value.toPrecision(3))));

/** Format bytes in the largest unit in which they are at least one. @param {number | null} bytes */
export function memory(bytes) {
  if (bytes === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, power] = [bytes, 0];
  while (power < units.length - 1 && Math.round(value) >= 1000) {
    value /= 1000;
    power += 1;
  }
  return `${power && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** Whether a run trains, is paused or waits for its turn. @param {Run} run */
export const underway = ({ status }) => status === "running" || status === "paused" || status === "waiting";

/** Status of a run, with its progress. @param {Run} run */
export function status({ status, progress }) {
  if (status === "stopped" && !progress) return "not started";
  const training = status === "running" || status === "paused";
  return training || (status !== "waiting" && progress < 1) ? `${status} ${Math.floor(100 * progress)}\u00a0%` : status;
}

/** What is said of a run where there is no room for columns, in a line. @param {Run} run */
export function brief(run) {
  const evaluated = run.eval_after !== null;
  const loss = evaluated ? `eval loss ${short(run.eval_after)}` : `training loss ${short(run.final_loss)}`;
  return `${run.best ? "best" : status(run)} · ${loss}`;
}

/** Parts of a name such as `PRODIGY · d_coef 0.5, steps 60`. @param {string} words */
const parts = (words) => words.replace(/ \(\d+\)$/, "").split(/ · |, /);

/** Differences of a run that are not in its name. @param {Run} run */
export function unsaid({ name, differs }) {
  const named = new Set(parts(name));
  return parts(differs)
    .filter((part) => !named.has(part))
    .join(", ");
}

/** Numbers of a run, the most important first; the last ones are hidden where there is little room. @type {Column[]} */
export const COLUMNS = [
  {
    name: "loss",
    field: "final_loss",
    title: "Train loss",
    about: "Training loss, the mean of the last twentieth of the steps",
    show: (run) => short(run.final_loss),
  },
  {
    name: "eval",
    field: "eval_after",
    title: "Eval loss",
    about: "Loss on the fixed evaluation set after the run",
    show: (run) => short(run.eval_after),
  },
  {
    name: "best",
    field: "best_loss",
    title: "Best train",
    about: "Lowest training loss of the run, as a mean over a twentieth of the steps",
    show: (run) => short(run.best_loss),
  },
  {
    name: "rate",
    field: "applied_plateau",
    title: "Applied rate",
    about: "Plateau of the learning rate that the steps really applied",
    show: (run) => (run.applied_plateau === null && run.best_loss !== null ? "not known" : short(run.applied_plateau)),
  },
  {
    name: "speed",
    field: "steps_per_second",
    title: "Steps/s",
    about: "Mean speed without pauses",
    show: (run) => short(run.steps_per_second),
  },
  {
    name: "state",
    field: "state_bytes",
    title: "Optimizer memory",
    about: "Memory of the optimizer's own state",
    show: (run) => memory(run.state_bytes),
  },
];

/** Status and all numbers of a run in one line, for where columns are hidden. @param {Run} run */
export function summary(run) {
  const numbers = COLUMNS.map((column) => `${column.title} ${column.show(run)}`);
  return [status(run), ...numbers].join(" · ");
}

/**
 * Rows with one of them updated.
 * @param {Run[]} rows @param {Run} row
 */
export const withRow = (rows, row) => rows.map((old) => (old.key === row.key ? row : old));
