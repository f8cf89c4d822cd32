// @ts-check
// When to ask the kernel, and whether it has dealt with what was asked. No page.

/** A kernel that has not dealt with a question for so long is waited for, ms. */
const LATE = 1000;
/** First wait before an echo is put again that may be lost, ms. */
const AGAIN = 2000;
/** Longest time between two questions or two echoes, ms: a busy kernel deals with them all when it is free. */
const RAREST = 60_000;

/** A question that is put ever more rarely while nothing changes. */
export class Patience {
  /** @param {number} first wait before the first question, ms @param {number} [then] before the second */
  constructor(first, then = 2 * first) {
    this.first = first;
    this.then = then;
    this.about = "";
    this.wait = first;
    this.at = 0;
    this.reset();
  }

  reset() {
    this.wait = this.first;
    this.at = performance.now() + this.first;
  }

  /** Whether it is time to ask about this (and then count it as asked); about something else the wait begins anew.
   * @param {object} [about] */
  due(about) {
    const words = JSON.stringify(about) ?? "";
    if (words !== this.about) this.reset();
    this.about = words;
    if (performance.now() < this.at) return false;
    this.wait = Math.min(RAREST, Math.max(this.then, 2 * this.wait));
    this.at = performance.now() + this.wait;
    return true;
  }
}

/**
 * Sent behind a question, the kernel sends it back behind the answer. Until then nothing else is asked: what the page sends to a
 * kernel that runs a cell waits for its end, and hours of questions would be answered one by one then.
 */
export class Echo {
  /** @param {(message: object) => void} send */
  constructor(send) {
    this.send = send;
    this.number = 0;
    /** The first echo behind the question that is not dealt with, 0 where there is none; and when it was put. */
    this.awaited = 0;
    this.since = 0;
    this.wait = AGAIN;
    this.at = 0;
  }

  /** A question was put. */
  follow() {
    this.awaited = this.number + 1;
    this.since = performance.now();
    this.wait = AGAIN;
    this.put();
  }

  put() {
    this.send({ k: "echo", q: ++this.number });
    this.at = performance.now() + this.wait;
    this.wait = Math.min(RAREST, 2 * this.wait);
  }

  /** One came back. @param {number} number */
  heard(number) {
    if (number >= this.awaited) this.awaited = 0;
  }

  /** Whether the kernel has yet to deal with a question; asks again for an echo that may be lost. */
  get open() {
    if (this.awaited && performance.now() >= this.at) this.put();
    return this.awaited > 0;
  }

  /** Whether that takes long. */
  get late() {
    return this.awaited > 0 && performance.now() - this.since > LATE;
  }
}
