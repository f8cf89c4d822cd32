// @ts-check
// Messages to the kernel, and their timing.

const LOST = 5000; // milliseconds; a later answer counts as lost
const LONGEST = 1_000_000; // a longer message would break the connection

/** Cut a text that is too long to send. @param {string} text */
export const sendable = (text) =>
  text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} characters)` : text;

/**
 * Typed texts that the kernel does not know yet. One message is under way at a time: a slider that moves faster than
 * the kernel answers sends its latest text, and not all of them.
 */
export class Outbox {
  /** @param {(content: object) => void} send */
  constructor(send) {
    this.send = send;
    /** @type {Map<string, string>} */
    this.unsent = new Map();
    /** @type {Map<string, number>} */
    this.asked = new Map();
    this.number = 0;
    this.answered = 0;
    this.sentAt = 0;
    /** Callbacks that wait until all is answered. @type {((known: boolean) => void)[]} */
    this.waiters = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** @param {string} name @param {string} text @param {number} pause */
  type(name, text, pause) {
    this.unsent.set(name, text);
    clearTimeout(this.timer);
    if (pause) this.timer = setTimeout(() => this.settle(), pause);
    else this.settle();
  }

  /** Send the typed texts, unless an answer is awaited. */
  settle() {
    clearTimeout(this.timer);
    if (!this.unsent.size) return;
    const waited = Date.now() - this.sentAt;
    if (this.answered < this.number && waited < LOST) this.timer = setTimeout(() => this.settle(), LOST - waited);
    else this.flush();
  }

  /** Send the typed texts now. */
  flush() {
    clearTimeout(this.timer);
    const texts = [...this.unsent];
    this.unsent.clear();
    for (const [name, text] of texts) this.asked.set(name, this.post({ k: "type", name, text: sendable(text) }));
  }

  /** Send a command after the texts typed before it; return its number. @param {object} content */
  command(content) {
    this.flush();
    return this.post(content);
  }

  /** @param {object} content */
  post(content) {
    this.number += 1;
    this.sentAt = Date.now();
    this.send({ ...content, n: this.number });
    return this.number;
  }

  /** Note that the kernel has answered the message with this number and all before it. @param {number} number */
  seen(number) {
    this.answered = Math.max(this.answered, number);
    for (const [name, asked] of this.asked) if (asked <= this.answered) this.asked.delete(name);
    if (this.answered >= this.number && this.unsent.size) this.settle();
    if (!this.waiting) for (const tell of this.waiters.splice(0)) tell(true);
  }

  /** Check whether the page has a newer text of this control than the kernel. @param {string} name */
  holds(name) {
    return this.unsent.has(name) || this.asked.has(name);
  }

  /** Send the typed texts; resolve to true once the kernel knows them all, and to false if that takes too long.
   * @returns {Promise<boolean>} */
  known() {
    this.flush();
    if (!this.waiting) return Promise.resolve(true);
    return new Promise((tell) => {
      this.waiters.push(tell);
      setTimeout(() => tell(false), LOST);
    });
  }

  get waiting() {
    return this.answered < this.number;
  }
}
