// @ts-check
// What travels to the kernel, and when.

const LOST = 5000; // an answer that is later than this got lost
const LONGEST = 1_000_000; // a longer message would break the connection

/** A text that can be sent. @param {string} text */
export const sendable = (text) =>
  text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} characters)` : text;

/**
 * What was typed and the kernel does not know yet. One message is under way at a time, so that a slider which moves
 * faster than the kernel answers sends its latest text and not all of them.
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
    /** Who waits until all is answered. @type {((known: boolean) => void)[]} */
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

  /** Send what is typed, unless an answer is awaited. */
  settle() {
    clearTimeout(this.timer);
    if (!this.unsent.size) return;
    const waited = Date.now() - this.sentAt;
    if (this.answered < this.number && waited < LOST) this.timer = setTimeout(() => this.settle(), LOST - waited);
    else this.flush();
  }

  /** Send what is typed, now. */
  flush() {
    clearTimeout(this.timer);
    const texts = [...this.unsent];
    this.unsent.clear();
    for (const [name, text] of texts) this.asked.set(name, this.post({ k: "type", name, text: sendable(text) }));
  }

  /** Send a command after what was typed before it; gives its number. @param {object} content */
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

  /** The kernel has answered the message with this number and all before it. @param {number} number */
  seen(number) {
    this.answered = Math.max(this.answered, number);
    for (const [name, asked] of this.asked) if (asked <= this.answered) this.asked.delete(name);
    if (this.answered >= this.number && this.unsent.size) this.settle();
    if (!this.waiting) for (const tell of this.waiters.splice(0)) tell(true);
  }

  /** Whether the page knows better than the kernel what stands in this control. @param {string} name */
  holds(name) {
    return this.unsent.has(name) || this.asked.has(name);
  }

  /** Send what is typed; whether the kernel knows all of it, once it has answered or that takes too long.
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
