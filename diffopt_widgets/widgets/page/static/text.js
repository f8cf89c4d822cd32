// @ts-check
// Texts as people write them: numbers, where they stand on a slider, sentences. Pure.

/** @typedef {{low: number, high: number, log: boolean, integer: boolean}} Slider */

export const TRACK = 1000; // positions on a slider

const LONGEST_NUMBER = 100; // of a number that is not written in plain letters
const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺";
const NUMBER = String.raw`(?:\d+(?:\.\d*)?|\.\d+)`;
const GROUPED = /^([+-]?\d{1,3}([ '’])\d{3}(?:\2\d{3})*)((?:\.\d*)?(?:e[+-]?\d+)?)$/i;
const POWER = new RegExp(String.raw`^([+-]?)(?:(${NUMBER}) ?[x×*·⋅] ?)?10 ?(?:\^|\*\*) ?\{? ?([+-]?\d+) ?\}?$`, "i");
const SIGNED_POWER = new RegExp(String.raw`^([+-]?)(${NUMBER}) ?[x×*·⋅] ?10([+-]\d+)$`, "i");
const SPACED_EXPONENT = new RegExp(String.raw`^([+-]?${NUMBER}) ?e ?([+-]? ?\d+)$`, "i");
const MULTIPLE = new RegExp(String.raw`^([+-]?${NUMBER}) ?([kKM])$`);

/** A number as papers and chats have it, such as 1e−3, 3 × 10⁻⁴, 1 000 and 10k, in plain letters. @param {string} text */
function plain(text) {
  if (text.length > LONGEST_NUMBER) return text.trim();
  const word = text
    .replace(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, "")
    .replace(
      /[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+/g,
      (raised) => `^${[...raised].map((sign) => "0123456789-+"[RAISED.indexOf(sign)]).join("")}`,
    )
    .replace(/[‐‑‒–—−﹣－]/g, "-")
    .normalize("NFKC")
    .trim()
    .replace(/\s+/g, " ");
  const grouped = GROUPED.exec(word);
  if (grouped) return grouped[1].replace(/[ '’]/g, "") + grouped[3];
  const power = POWER.exec(word) ?? SIGNED_POWER.exec(word);
  if (power) return `${power[1]}${power[2] ?? 1}e${power[3]}`;
  const spaced = SPACED_EXPONENT.exec(word);
  if (spaced) return `${spaced[1]}e${spaced[2].replace(" ", "")}`;
  const multiple = MULTIPLE.exec(word);
  return multiple ? `${multiple[1]}e${multiple[2] === "M" ? 6 : 3}` : word;
}

/**
 * The number that a text says, as the kernel reads it; NaN when it says none, or may say two.
 * @param {string} text @param {boolean} [integer] a whole number, whose points may group its digits
 */
export function numberOf(text, integer = false) {
  let word = plain(text)
    .toLowerCase()
    .replace(/(\d)_(?=\d)/g, "$1");
  if (integer && /^[+-]?[1-9]\d{0,2}(\.\d{3})+$/.test(word)) {
    if (Number.isInteger(Number(word))) return NaN;
    word = word.replaceAll(".", "");
  }
  if (/^[+-]?inf(inity)?$/.test(word)) return word.startsWith("-") ? -Infinity : Infinity;
  return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/.test(word) ? Number(word) : NaN;
}

/**
 * A number as one would write it by hand: 2.5e-4, 0.9, 300.
 * @param {number} value
 */
export function textOf(value) {
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const clean = Number(value.toPrecision(12));
  const size = Math.abs(clean);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? clean.toExponential().replace("e+", "e") : String(clean);
}

/** @param {number} value @param {number} low @param {number} high */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * A power of ten, about a hundredth of the range.
 * @param {Slider} slider @param {(power: number) => number} round
 */
const stepOf = ({ low, high, integer }, round) => (integer ? 1 : 10 ** round(Math.log10((high - low) / 100)));

/**
 * Where on the slider's track (0 to 1000) a text stands; null when it says no number.
 * @param {string} text @param {Slider} slider
 */
export function placeOf(text, slider) {
  const value = clamp(numberOf(text, slider.integer), slider.low, slider.high);
  if (Number.isNaN(value)) return null;
  const { low, high, log } = slider;
  const part = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.round(part * TRACK);
}

/**
 * The text for a place on the slider's track: two digits on a logarithmic scale, round steps on a plain one.
 * @param {number} place @param {Slider} slider
 */
export function textAt(place, slider) {
  const { low, high, log, integer } = slider;
  const part = clamp(place / TRACK, 0, 1);
  if (part === 0 || part === 1) return textOf(part ? high : low);
  const value = log ? low * (high / low) ** part : low + (high - low) * part;
  if (log && !integer) return textOf(Number(value.toPrecision(2)));
  const step = stepOf(slider, Math.floor);
  return textOf(clamp(Math.round(value / step) * step, low, high));
}

/**
 * The text after an arrow key: the leading digit moves on a logarithmic scale (1e-4, 2e-4 … 9e-4, 1e-3), a round step
 * on a plain one. Inside the slider's range it stays there. A text that says no number is left alone.
 * @param {string} text @param {1 | -1} direction @param {{slider?: Slider, integer?: boolean}} control
 */
export function nudge(text, direction, { slider, integer }) {
  const value = numberOf(text, integer);
  if (!Number.isFinite(value)) return text;
  let step = integer
    ? 1
    : slider
      ? stepOf(slider, Math.round)
      : 10 ** -(text.split(".")[1] ?? "").replace(/e.*/i, "").length;
  const log = slider ? slider.log : /e/i.test(text);
  if (log && !integer && value > 0) {
    const size = Math.floor(Math.log10(value) + 1e-9);
    const first = direction < 0 && Math.abs(value / 10 ** size - 1) < 1e-9;
    step = 10 ** (first ? size - 1 : size);
  }
  const moved = value + direction * step;
  const inside = slider && value >= slider.low && value <= slider.high;
  return textOf(inside ? clamp(moved, slider.low, slider.high) : moved);
}

/**
 * The first sentence of a text. A point inside a number or a name ends none.
 * @param {string} text
 */
export const firstSentence = (text) => /^.*?[.!?](?=\s+[^\sa-z]|\s*$)/su.exec(text)?.[0] ?? text;

/** A clause as a sentence of its own. @param {string} words */
export const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
