// @ts-check
// Search for options by their words, as pure functions.

/**
 * One option with the optimizers that have it; `without` has the reasons why it does nothing in some of them.
 * @typedef {{name: string, title: string, help: string, optimizers: string[], notes: Record<string, string>,
 *   without: Record<string, string>}} Entry
 */
/** A text, and the optimizers that have it, by their places. @typedef {[string, number[]]} Shared */
/**
 * What Python sends: no text twice, and optimizers by their places in the list of their keys.
 * @typedef {{optimizers: string[], entries: {name: string, title: string, help: string, optimizers: number[],
 *   notes: Shared[], without: Shared[]}[]}} Index
 */
/** @typedef {{text: string, hit: boolean}[]} Parts */
/**
 * A match: the option, whether the present optimizer has it, the optimizers that have it (if only notes match, those
 * with such a note), and the text that matches.
 * @typedef {{entry: Entry, here: boolean, optimizers: string[], snippet: string, rank: number}} Hit
 */

const LONGEST_QUERY = 100;
const LAST_NAMED = 3; // ranks up to this one are matches in a name or a title
const NOTED = 7;
const BEFORE = 24; // most characters of a snippet before the match, which must be visible on a narrow page too
const GAP = "[\\s_-]*"; // "warmup", "warm-up" and "warm up" are one word; "d coef" is d_coef

/**
 * The options that an index stands for.
 * @param {Index} index
 * @returns {Entry[]}
 */
export function entriesOf({ optimizers: keys, entries }) {
  const spread = (/** @type {Shared[]} */ shared) =>
    Object.fromEntries(shared.flatMap(([text, places]) => places.map((place) => [keys[place], text])));
  return entries.map(({ name, title, help, optimizers, notes, without }) => ({
    name,
    title,
    help,
    optimizers: optimizers.map((place) => keys[place]),
    notes: spread(notes),
    without: spread(without),
  }));
}

/** Words of a question that are not searched for: "which optimizers have weight decay by lr?" */
const ASKING = new Set(
  `a an and are can could do does for has have having how i in is it me of on option options optimizer optimizers
  optimiser optimisers show takes that the there to use uses what where which who with`.split(/\s+/),
);

/**
 * Return the words that a question asks for; the query itself where none would be left.
 * @param {string} query
 */
export function askedFor(query) {
  const words = query
    .slice(0, LONGEST_QUERY)
    .split(/\s+/)
    .map((word) => word.replace(/^["“‘'(]+|["”’'),.:;!?]+$/g, ""))
    .filter((word) => word && !ASKING.has(word.toLowerCase()));
  return words.join(" ") || query;
}

/** @param {string} query */
const wordsOf = (query) =>
  query
    .slice(0, LONGEST_QUERY)
    .split(/[\s_-]+/)
    .filter(Boolean);

/** Make a pattern for these letters in this order; spaces, "_" and "-" may stand between them. @param {string} text */
const pattern = (text) =>
  [...text.replace(/[\s_-]+/g, "")].map((letter) => letter.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join(GAP);

/** @param {string} text beginning of a word */
const begins = (text) => new RegExp(`(?<![\\p{L}\\p{N}])${pattern(text)}`, "iu");

/** @param {string} text */
const holds = (text) => new RegExp(pattern(text), "iu");

/** Return 0 for a match in the name, 1 in the help, 2 only in the note of one optimizer. @param {Hit} hit */
const where = ({ rank }) => (rank <= LAST_NAMED ? 0 : rank < NOTED ? 1 : 2);

/**
 * Return the options that match a query: by name or title, then by their help, then by the notes of single optimizers.
 * Within each group the options of the present optimizer come first, then the closer matches.
 * @param {Entry[]} entries @param {string} query @param {string} optimizer the present one
 * @returns {Hit[]}
 */
export function search(entries, query, optimizer) {
  const words = wordsOf(query);
  if (!words.length) return [];
  const look = looker(words);
  return entries
    .map((entry) => hitOf(entry, look, optimizer))
    .filter((hit) => hit !== null)
    .map((hit, i) => ({ hit, i }))
    .sort((a, b) => order(a.hit, b.hit) || a.i - b.i)
    .map(({ hit }) => hit);
}

/** @param {Hit} a @param {Hit} b */
const order = (a, b) => where(a) - where(b) || Number(b.here) - Number(a.here) || a.rank - b.rank;

/** Make the tests that one query applies to each option. @param {string[]} words */
function looker(words) {
  const phrase = words.join("");
  const first = new RegExp(`^${pattern(phrase)}`, "iu");
  const whole = begins(phrase);
  const inside = holds(phrase);
  const starts = words.map(begins);
  const anywhere = words.map(holds);
  const brief = phrase.length < 2; // one letter occurs in every help
  const every = (/** @type {RegExp[]} */ tests, /** @type {string} */ text) => tests.every((test) => test.test(text));
  /** Rank a match: names count before the help. @param {string[]} names @param {string} help */
  const rank = (names, help) => {
    const all = [...names, help].join(" ");
    if (names.some((name) => first.test(name))) return 0;
    if (names.some((name) => whole.test(name))) return 1;
    if (brief) return null;
    if (names.some((name) => inside.test(name))) return 2;
    if (every(starts, names.join(" "))) return 3;
    if (whole.test(help)) return 4;
    if (every(starts, all)) return 5;
    return every(anywhere, all) ? 6 : null;
  };
  return {
    rank,
    note: (/** @type {string} */ text) => !brief && every(starts, text),
    shown: [whole, inside, ...starts],
  };
}

/**
 * @param {Entry} entry @param {ReturnType<typeof looker>} look @param {string} optimizer
 * @returns {Hit | null}
 */
function hitOf(entry, look, optimizer) {
  const { name, title, help, optimizers, notes } = entry;
  const rank = look.rank([name, title], help);
  if (rank !== null)
    return { entry, rank, here: optimizers.includes(optimizer), optimizers, snippet: snippetOf(help, look.shown) };
  const noted = optimizers.filter((key) => look.note(notes[key] ?? ""));
  if (!noted.length) return null;
  const here = noted.includes(optimizer);
  const note = notes[here ? optimizer : noted[0]];
  return { entry, rank: NOTED, here, optimizers: noted, snippet: snippetOf(note, look.shown) };
}

/** Cut a text to begin shortly before its first match. @param {string} text @param {RegExp[]} tests */
function snippetOf(text, tests) {
  const at = tests.map((test) => text.search(test)).find((place) => place >= 0) ?? 0;
  if (at <= BEFORE) return text;
  const start = text.indexOf(" ", at - BEFORE);
  return `…${text.slice(Math.min(start, at - 1))}`;
}

/**
 * Split a text into parts, so that the matches can be marked.
 * @param {string} text @param {string} query
 * @returns {Parts}
 */
export function marked(text, query) {
  const words = wordsOf(query);
  if (!words.length) return [{ text, hit: false }];
  const phrase = holds(words.join(""));
  const test = phrase.test(text) ? phrase : new RegExp(words.map((word) => begins(word).source).join("|"), "iu");
  return text
    .split(new RegExp(`(${test.source})`, "iu"))
    .map((part, i) => ({ text: part, hit: i % 2 === 1 }))
    .filter((part) => part.text);
}
