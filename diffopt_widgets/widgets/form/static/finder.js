// @ts-check
// The search box: a combo box whose list holds the options of all optimizers.
import { h, say } from "../../page/static/dom.js";
import { askedFor, entriesOf, marked, search } from "./search.js";

/** @typedef {import("./search.js").Entry} Entry */
/** @typedef {import("./search.js").Hit} Hit */
/** @typedef {import("./search.js").Index} Index */
/**
 * The present optimizer, the titles of all, and the reasons why some cannot run here.
 * @typedef {{optimizer: string, titles: Map<string, string>, missing: Map<string, string>}} Place
 */

const MOST = 8; // options in the list; typing another word is quicker than reading a long list
const ASK_AGAIN = 5000; // milliseconds; a later answer counts as lost

export class Finder {
  /**
   * @param {string} prefix
   * @param {{ask: () => void, place: () => Place, go: (optimizer: string, name: string) => void}} form calls of the box
   *   to the form: fetch the list of options, return the present place, and go to an option
   */
  constructor(prefix, form) {
    this.id = `${prefix}-find`;
    this.form = form;
    /** @type {Entry[] | undefined} */
    this.entries = undefined;
    this.askedAt = -ASK_AGAIN;
    /** The choices in the order of the list. @type {{node: HTMLElement, go: () => void, here: boolean}[]} */
    this.choices = [];
    this.active = -1;
    this.build();
  }

  build() {
    const { id } = this;
    this.input = h("input", {
      type: "text",
      id,
      class: "dwf-find",
      role: "combobox",
      placeholder: "Find an option…",
      "aria-label": "Find an option of any optimizer",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": `${id}-list`,
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      focus: () => this.need(),
      input: () => this.draw(),
      click: () => this.draw(),
      blur: () => this.close(),
      keydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    });
    this.list = h("div", { role: "listbox", id: `${id}-list`, "aria-label": "Options" });
    this.more = h("div", { class: "dwf-more", role: "status" });
    // Pressing the mouse in the list must not take the focus, which would close it before the click.
    const keep = (/** @type {Event} */ event) => event.preventDefault();
    this.popup = h("div", { class: "dwf-results", hidden: true, mousedown: keep }, this.list, this.more);
    this.node = h("div", { class: "dwf-finder" }, this.input);
  }

  /** Fetch the list of options at the first search. */
  need() {
    if (this.entries || Date.now() - this.askedAt < ASK_AGAIN) return;
    this.askedAt = Date.now();
    this.form.ask();
  }

  /** Fetch the list again when it is needed next: the optimizers have changed. */
  forget() {
    this.entries = undefined;
    this.askedAt = -ASK_AGAIN;
  }

  /** @param {Index} index */
  fill(index) {
    this.entries = entriesOf(index);
    if (document.activeElement === this.input) this.draw();
  }

  draw() {
    const typed = this.input.value;
    if (!typed.trim()) return this.close();
    this.need();
    const place = this.form.place();
    const find = (/** @type {string} */ words) => (this.entries ? search(this.entries, words, place.optimizer) : []);
    const asTyped = find(typed);
    const query = asTyped.length ? typed : askedFor(typed);
    const hits = asTyped.length ? asTyped : find(query);
    this.choices = [];
    this.list.replaceChildren(...hits.slice(0, MOST).map((hit) => this.drawHit(hit, query, place)));
    this.list.hidden = !hits.length;
    const first = this.choices[0];
    const elsewhere = first && !first.here ? "↓ chooses the optimizer to switch to." : "";
    say(this.more, this.entries ? [elsewhere, remark(query, hits.length)].join(" ").trim() : "Waiting for the kernel…");
    this.more.hidden = !this.more.textContent;
    this.popup.hidden = false;
    this.input.setAttribute("aria-expanded", String(hits.length > 0));
    this.mark(first?.here ? 0 : -1); // Enter alone never switches to another optimizer
    this.makeRoom();
  }

  /** @param {Hit} hit @param {string} query @param {Place} place */
  drawHit({ entry, here, optimizers, snippet }, query, { optimizer, titles, missing }) {
    const parts = (/** @type {string} */ text) =>
      marked(text, query).map((part) => (part.hit ? h("mark", {}, part.text) : part.text));
    const line = [
      h("span", { class: "dwf-title" }, ...parts(entry.title)),
      h("code", { class: "dwf-name" }, ...parts(entry.name)),
      h("span", { class: "dwf-snippet" }, ...parts(snippet)),
    ];
    const { without } = entry;
    const title = (/** @type {string} */ key) => {
      const name = titles.get(key) ?? key;
      return without[key] ? `${name} (${without[key]})` : name;
    };
    if (here) {
      const others = optimizers.filter((key) => key !== optimizer && !without[key]).length;
      const all = others + 1 === titles.size && !without[optimizer];
      const owners = all ? "all optimizers" : others ? `${title(optimizer)} and ${others} more` : title(optimizer);
      const names = optimizers.map(title).join(", ");
      const found = h("span", { class: "dwf-owners", title: names }, owners);
      return this.choice(h("div", { class: "dwf-hit" }, ...line, found), optimizer, entry, true);
    }
    const owners = optimizers.map((key) => {
      const why = missing.get(key);
      const kind = why ? "dwf-owner dwf-missing" : "dwf-owner";
      const words = { class: kind, title: why, "aria-label": `${entry.title} in ${title(key)}` };
      return this.choice(h("span", words, title(key)), key, entry, false);
    });
    const where = h("div", { class: "dwf-owners" }, "Switch to ", ...owners);
    const namesake = this.entries?.some(({ name, optimizers: has }) => name === entry.name && has.includes(optimizer));
    const difference = namesake ? "with another meaning than in" : "not in";
    return h(
      "div",
      {
        class: "dwf-hit dwf-elsewhere",
        role: "group",
        "aria-label": `${entry.title}, ${difference} ${title(optimizer)}`,
      },
      ...line,
      where,
    );
  }

  /** @param {HTMLElement} node @param {string} optimizer @param {Entry} entry @param {boolean} here */
  choice(node, optimizer, entry, here) {
    const go = () => {
      this.input.value = "";
      this.close();
      this.form.go(optimizer, entry.name);
    };
    const place = this.choices.length;
    node.setAttribute("role", "option");
    node.id = `${this.id}-${place}`;
    node.addEventListener("click", go);
    // Enter must not choose another optimizer only because the mouse happens to lie over it.
    if (here) node.addEventListener("pointermove", () => this.mark(place));
    this.choices.push({ node, go, here });
    return node;
  }

  /** Make one choice active; -1 makes none active. @param {number} place */
  mark(place) {
    this.active = place;
    this.choices.forEach(({ node }, i) => node.setAttribute("aria-selected", String(i === place)));
    const node = this.choices[place]?.node;
    if (node) this.input.setAttribute("aria-activedescendant", node.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const count = this.choices.length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (this.popup.hidden) this.draw();
      else if (count) this.mark((Math.max(this.active, step > 0 ? -1 : 0) + step + count) % count);
    } else if (event.key === "Enter" && !this.popup.hidden) {
      event.preventDefault(); // the rest of the key press would act on the next element with the focus
      this.choices[this.active]?.go();
    } else if (event.key === "Escape") {
      if (this.popup.hidden) this.input.value = "";
      this.close();
    }
  }

  close() {
    this.popup.hidden = true;
    this.choices = [];
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.makeRoom();
  }

  /** Make the form at least as high as the list, even while its sections are closed. */
  makeRoom() {
    const { popup, input } = this;
    const form = popup.parentElement;
    if (!form) return;
    popup.style.top = `${input.getBoundingClientRect().bottom - form.getBoundingClientRect().top + 2}px`;
    form.style.minHeight = popup.hidden ? "" : `${popup.offsetTop + popup.offsetHeight + 4}px`;
  }
}

/** @param {string} query @param {number} found */
function remark(query, found) {
  if (!found) return `No option has “${query.slice(0, 40)}” in its name or explanation.`;
  return found > MOST ? `${found - MOST} more; another word finds fewer.` : "";
}
