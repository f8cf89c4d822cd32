// @ts-check
// How the table of runs writes what it knows of a run. Pure.
import { textOf } from "../../page/static/text.js";

/**
 * @typedef {{key: string, name: string, color: string, differs: string, visible: boolean, status: string,
 *   message: string, progress: number, final_loss: number | null, eval_after: number | null, best_loss: number | null,
 *   applied_plateau: number | null, steps_per_second: number | null, state_bytes: number | null, cannot_remove: string,
 *   cannot_continue: string}} Run
 */
/** @typedef {{name: string, title: string, about: string, show(run: Run): string}} Column */

/** @param {number | null} value */
export const short = (value) => (value === null ? "–" : textOf(Number(value.toPrecision(3))));

/** Bytes in the largest unit that leaves one or more. @param {number | null} bytes */
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

/** How far a run is or came, in words. @param {Run} run */
export function status({ status, progress }) {
  if (status === "stopped" && !progress) return "not started";
  const underway = status === "running" || status === "paused";
  return underway || (status !== "waiting" && progress < 1) ? `${status} ${Math.floor(100 * progress)}\u00a0%` : status;
}

/** The parts of a name such as `PRODIGY · d_coef 0.5, steps 60`. @param {string} words */
const parts = (words) => words.replace(/ \(\d+\)$/, "").split(/ · |, /);

/** What sets a run apart and its name does not say. @param {Run} run */
export function unsaid({ name, differs }) {
  const said = new Set(parts(name));
  return parts(differs)
    .filter((part) => !said.has(part))
    .join(", ");
}

/** The numbers of a run, the most important first: the last ones give way where there is little room. @type {Column[]} */
export const COLUMNS = [
  {
    name: "loss",
    title: "Train loss",
    about: "Training loss, the mean of the last twentieth of the steps",
    show: (run) => short(run.final_loss),
  },
  {
    name: "eval",
    title: "Eval loss",
    about: "Loss on the fixed evaluation set after the run",
    show: (run) => short(run.eval_after),
  },
  {
    name: "best",
    title: "Best train",
    about: "The lowest training loss along the run, as a mean over as many steps as the last one",
    show: (run) => short(run.best_loss),
  },
  {
    name: "rate",
    title: "Applied rate",
    about: "Plateau of the learning rate that the steps really applied",
    show: (run) => short(run.applied_plateau),
  },
  {
    name: "speed",
    title: "Steps/s",
    about: "Mean speed, pauses left out",
    show: (run) => short(run.steps_per_second),
  },
  {
    name: "state",
    title: "Optimizer memory",
    about: "Memory of the optimizer's own state",
    show: (run) => memory(run.state_bytes),
  },
];

/** Everything about a run in one line, for where its columns gave way. @param {Run} run */
export function summary(run) {
  const numbers = COLUMNS.map((column) => `${column.title} ${column.show(run)}`);
  return [status(run), ...numbers].join(" · ");
}

/**
 * The rows with one of them brought up to date.
 * @param {Run[]} rows @param {Run} row
 */
export const withRow = (rows, row) => rows.map((old) => (old.key === row.key ? row : old));
