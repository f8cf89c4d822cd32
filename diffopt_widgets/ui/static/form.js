// @ts-check
// The form in the page. It knows kinds of controls, never optimizers or options: the kernel describes them in `panel`,
// says how they stand in `state`, and is told what was typed.

/** @typedef {{low: number, high: number, log: boolean, integer: boolean}} Slider */
/** @typedef {{value: string, label: string, help?: string}} Choice */
/** @typedef {{value: string, words: string, reason: string, source: string}} Advice */
/**
 * @typedef {{name: string, title: string, kind: "number" | "bool" | "choice", help: string, default: string,
 *   facts: {term: string, text: string}[], shown_default: string, placeholder?: string, unit?: string,
 *   integer?: boolean, slider?: Slider, choices?: Choice[], advice?: Advice, standing: string, reason?: string}} Control
 */
/**
 * @typedef {{text: string, error?: string, warning?: string, mend?: string, greyed?: string, changed?: boolean,
 *   related?: boolean, advised?: boolean}} Marks
 */
/** @typedef {{title: string, controls: string[], picture?: boolean, fold?: boolean}} Section */
/**
 * @typedef {{optimizer: string, title: string, summary: string, latex: string, mathml: string,
 *   links: {title: string, url: string}[], presets: {key: string, title: string, why: string}[],
 *   sections: Section[], controls: Record<string, Control>}} Panel
 */
/** @typedef {{presets: string[], undo: string, seen: [string, number] | [], controls: Record<string, Marks>}} State */
/**
 * @typedef {{get(name: string): any, on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void, send(content: object): void}} Model
 */

const TRACK = 1000; // positions on a slider
const TYPING_PAUSE = 150;
const ERROR_PAUSE = 600; // "1e-" is on its way to "1e-4": say what is wrong only when typing has paused
const KERNEL_PATIENCE = 1500;
const LOST = 5000; // an answer that is later than this got lost

/**
 * The number that a text says, as the kernel reads it; NaN when it says none.
 * @param {string} text
 */
export function numberOf(text) {
  const word = text
    .trim()
    .toLowerCase()
    .replace(/(\d)_(?=\d)/g, "$1");
  if (/^[+-]?inf(inity)?$/.test(word)) return word.startsWith("-") ? -Infinity : Infinity;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(word) ? Number(word) : NaN;
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

/** @param {Slider} slider */
const stepOf = ({ low, high, integer }) => (integer ? 1 : 10 ** Math.floor(Math.log10((high - low) / 100) + 1e-3));

/**
 * Where on the slider's track (0 to 1000) a text stands; null when it says no number.
 * @param {string} text @param {Slider} slider
 */
export function placeOf(text, slider) {
  const value = clamp(numberOf(text), slider.low, slider.high);
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
  const step = stepOf(slider);
  return textOf(clamp(Math.round(value / step) * step, low, high));
}

/**
 * The text after an arrow key: the leading digit moves on a logarithmic scale (1e-4, 2e-4 … 9e-4, 1e-3), a round step
 * on a plain one. Inside the slider's range it stays there. A text that says no number is left alone.
 * @param {string} text @param {1 | -1} direction @param {{slider?: Slider, integer?: boolean}} control
 */
export function nudge(text, direction, { slider, integer }) {
  const value = numberOf(text);
  if (!Number.isFinite(value)) return text;
  let step = integer ? 1 : slider ? stepOf(slider) : 10 ** -(text.split(".")[1] ?? "").replace(/e.*/i, "").length;
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
    for (const [name, text] of texts) this.asked.set(name, this.post({ k: "type", name, text }));
  }

  /** Send a command after what was typed before it. @param {object} content */
  command(content) {
    this.flush();
    this.post(content);
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
  }

  /** Whether the page knows better than the kernel what stands in this control. @param {string} name */
  holds(name) {
    return this.unsent.has(name) || this.asked.has(name);
  }

  get waiting() {
    return this.answered < this.number;
  }
}

/**
 * An element. Strings become text nodes, so nothing that comes from elsewhere is read as HTML.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] functions are listeners, false and undefined are left out
 * @param {...(Node | string | false | undefined | null)} children
 * @returns {any}
 */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/**
 * A drawing from the kernel's own catalogue; null when it is not well formed.
 * @param {string} markup @param {"image/svg+xml" | "application/xml"} type
 */
function drawing(markup, type) {
  if (!markup) return null;
  const parsed = new DOMParser().parseFromString(markup, type);
  return parsed.querySelector("parsererror") ? null : document.importNode(parsed.documentElement, true);
}

/** @param {HTMLElement} node @param {string} text */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let views = 0;

/** One option: label, control, marks and help. */
class Row {
  /** @param {Control} control @param {Outbox} outbox @param {string} prefix */
  constructor(control, outbox, prefix) {
    this.control = control;
    this.outbox = outbox;
    this.id = `${prefix}-${control.name}`;
    /** @type {Marks} */
    this.marks = { text: control.default };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.complains = false;
    this.build();
  }

  build() {
    const { control, id } = this;
    this.input = this.makeInput();
    this.word = control.kind === "bool" ? h("span", { class: "dwf-word" }) : null;
    this.slider = control.slider ? this.makeSlider() : null;
    this.line = h("div", { class: "dwf-line", id: `${id}-line`, "aria-live": "polite" });
    this.mend = h("button", { type: "button", class: "dwf-mend", hidden: true, click: () => this.ask("mend") });
    this.resetButton = h(
      "button",
      {
        type: "button",
        class: "dwf-icon dwf-reset",
        click: () => this.reset(),
        title: `Back to ${control.shown_default}`,
      },
      "↺",
    );
    this.resetButton.setAttribute("aria-label", `Reset ${control.title} to its default, ${control.shown_default}`);
    this.help = h("div", { class: "dwf-help", id: `${id}-help`, hidden: true });
    this.helpButton = h(
      "button",
      {
        type: "button",
        class: "dwf-icon dwf-ask",
        "aria-expanded": "false",
        "aria-controls": `${id}-help`,
        "aria-label": `Explain ${control.title}`,
        title: "What is this?",
        click: () => this.toggleHelp(),
      },
      "?",
    );
    this.changed = h("span", { class: "dwf-sr" });
    const label = h(
      "label",
      { class: "dwf-label", for: id },
      h("span", { class: "dwf-title" }, control.title),
      " ",
      h("code", { class: "dwf-name" }, control.name),
      this.changed,
    );
    const field = h("div", { class: `dwf-field dwf-${control.kind}` }, this.input, this.word, this.slider);
    this.node = h(
      "div",
      { class: `dwf-row dwf-is-${control.standing}`, "data-name": control.name },
      label,
      field,
      h("div", { class: "dwf-tools" }, this.resetButton, this.helpButton),
      h("div", { class: "dwf-under" }, this.line, this.mend, this.makeAdvice(), this.help),
    );
  }

  makeInput() {
    const { control, id } = this;
    const common = { id, "aria-describedby": `${id}-line` };
    if (control.kind === "bool") {
      return h("input", { ...common, type: "checkbox", change: () => this.typed(0) });
    }
    if (control.kind === "choice") {
      const options = (control.choices ?? []).map(({ value, label }) => h("option", { value }, label));
      return h("select", { ...common, change: () => this.typed(0) }, ...options);
    }
    return h("input", {
      ...common,
      type: "text",
      inputmode: "text",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      placeholder: control.placeholder,
      input: () => this.typed(TYPING_PAUSE),
      blur: () => this.leave(),
      keydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    });
  }

  makeSlider() {
    const { control } = this;
    return h("input", {
      type: "range",
      min: 0,
      max: TRACK,
      step: 1,
      tabindex: -1, // the arrow keys do the same in the entry beside it
      "aria-label": `${control.title}, slider`,
      input: () => this.put(textAt(Number(this.slider.value), /** @type {Slider} */ (control.slider)), 0),
    });
  }

  makeAdvice() {
    const { advice } = this.control;
    if (!advice) return null;
    this.use = h(
      "button",
      { type: "button", class: "dwf-use", click: () => this.ask("advise") },
      `Use ${advice.value}`,
    );
    return h(
      "span",
      { class: "dwf-advice" },
      h(
        "span",
        {},
        " Recommended ",
        h("b", {}, advice.words),
        ` – ${advice.reason.replace(/\.$/, "")} (${advice.source}). `,
      ),
      this.use,
    );
  }

  get text() {
    return this.control.kind === "bool" ? String(this.input.checked) : this.input.value;
  }

  /** @param {string} text */
  set text(text) {
    if (this.control.kind === "bool") this.input.checked = text === "true";
    else if (this.input.value !== text) this.input.value = text;
    this.follow(text);
  }

  /** Bring what hangs on the text up to date. @param {string} text */
  follow(text) {
    if (this.word) say(this.word, text === "true" ? "on" : "off");
    if (!this.slider) return;
    const place = placeOf(text, /** @type {Slider} */ (this.control.slider));
    this.slider.classList.toggle("dwf-nowhere", place === null);
    if (place !== null && document.activeElement !== this.slider) this.slider.value = place;
    this.slider.setAttribute("aria-valuetext", text || (this.control.placeholder ?? "empty"));
  }

  /** @param {number} pause */
  typed(pause) {
    clearTimeout(this.timer);
    this.follow(this.text);
    this.outbox.type(this.control.name, this.text, pause);
  }

  /** @param {string} text @param {number} pause */
  put(text, pause) {
    this.input.value = text;
    this.typed(pause);
  }

  leave() {
    this.outbox.settle();
    this.complain();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
      this.outbox.settle();
      this.complain();
    }
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    const moved = nudge(this.text, event.key === "ArrowUp" ? 1 : -1, this.control);
    if (moved !== this.text) this.put(moved, 0);
  }

  /** @param {string} k */
  ask(k) {
    this.outbox.command({ k, name: this.control.name });
    this.input.focus();
  }

  reset() {
    this.ask("reset");
  }

  toggleHelp(open = this.help.hidden) {
    if (open && !this.help.firstChild) this.fillHelp();
    this.help.hidden = !open;
    this.helpButton.setAttribute("aria-expanded", String(open));
    this.input.setAttribute("aria-describedby", open ? `${this.id}-line ${this.id}-help` : `${this.id}-line`);
  }

  fillHelp() {
    const { control } = this;
    const terms = [...control.facts];
    if (control.unit) terms.splice(1, 0, { term: "Unit", text: control.unit });
    const choices = (control.choices ?? []).filter((choice) => choice.help);
    const list = (/** @type {{term: string, text: string}[]} */ pairs) =>
      h("dl", {}, ...pairs.flatMap(({ term, text }) => [h("dt", {}, term), h("dd", {}, text)]));
    this.help.append(h("p", {}, control.help));
    if (choices.length) this.help.append(list(choices.map(({ label, help }) => ({ term: label, text: help ?? "" }))));
    this.help.append(list(terms));
  }

  /** @param {Marks} marks */
  update(marks) {
    this.marks = marks;
    if (!this.outbox.holds(this.control.name)) this.text = marks.text;
    this.node.classList.toggle("dwf-changed", Boolean(marks.changed));
    this.node.classList.toggle("dwf-related", Boolean(marks.related));
    this.node.classList.toggle("dwf-greyed", Boolean(marks.greyed));
    say(this.changed, marks.changed ? " (changed)" : "");
    this.resetButton.classList.toggle("dwf-gone", !marks.changed);
    this.resetButton.disabled = !marks.changed;
    const off = Boolean(marks.greyed);
    if (off && document.activeElement === this.input) this.input.blur();
    this.input.disabled = off;
    if (this.slider) this.slider.disabled = off;
    if (this.use) {
      this.use.disabled = off || Boolean(marks.advised);
      this.use.classList.toggle("dwf-used", Boolean(marks.advised));
      say(this.use, marks.advised ? "✓ in use" : `Use ${this.control.advice?.value}`);
    }
    clearTimeout(this.timer);
    const typing = document.activeElement === this.input && this.control.kind === "number";
    if (marks.error && typing && !this.complains) this.timer = setTimeout(() => this.complain(), ERROR_PAUSE);
    else this.complain();
  }

  /** Show what is wrong, or that nothing is. */
  complain() {
    clearTimeout(this.timer);
    const { control, marks } = this;
    this.complains = Boolean(marks.error);
    const inert = control.standing === "inert" ? `No effect here${control.reason ? `: ${control.reason}` : ""}. ` : "";
    const plain = `${inert}Default ${control.shown_default}.`;
    say(this.line, marks.error ?? marks.warning ?? (marks.greyed ? `${sentence(marks.greyed)}.` : plain));
    this.line.classList.toggle("dwf-error", this.complains);
    this.line.classList.toggle("dwf-warning", !marks.error && Boolean(marks.warning));
    this.node.classList.toggle("dwf-wrong", this.complains);
    if (this.complains) {
      this.input.setAttribute("aria-invalid", "true");
      this.input.setAttribute("aria-errormessage", `${this.id}-line`);
    } else {
      this.input.removeAttribute("aria-invalid");
      this.input.removeAttribute("aria-errormessage");
    }
    this.mend.hidden = !marks.mend;
    say(this.mend, marks.mend ?? "");
  }

  focus() {
    const fold = this.node.closest("details");
    if (fold) fold.open = true;
    this.node.scrollIntoView({ block: "nearest" });
    (this.input.disabled ? this.helpButton : this.input).focus();
  }

  dispose() {
    clearTimeout(this.timer);
  }
}

/** @param {string} words */
const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** The whole form in one place of the page. */
class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    views += 1;
    this.prefix = `dwf${views}`;
    this.page = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
    this.outbox = new Outbox((content) => {
      model.send({ ...content, page: this.page });
      clearTimeout(this.patience);
      this.patience = setTimeout(() => this.wait(), KERNEL_PATIENCE);
    });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
    this.waits = false;
    this.loaded = ""; // the preset that was asked for last; of two that are alike it is the one meant
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {{section: Section, count: HTMLElement}[]} */
    this.folds = [];
    /** @type {Map<string, {button: any, why: string}>} */
    this.preset = new Map();
    /** @type {Record<string, boolean>} */
    this.open = {};
    this.root = h("div", { class: "dwf", "data-lm-suppress-shortcuts": "true", keydown: contain });
    this.build();
    el.append(this.root);
    this.fitter = new ResizeObserver(() => this.fit());
    this.fitter.observe(this.formula);
    /** @type {[string, () => void][]} */
    this.listeners = [
      ["change:menu", () => this.drawMenu()],
      ["change:panel", () => this.drawPanel()],
      ["change:state", () => this.drawState()],
      ["change:preview", () => this.drawPicture()],
      ["change:notice", () => this.drawNotice()],
      ["change:code", () => this.drawCode()],
    ];
    for (const [event, listener] of this.listeners) {
      model.on(event, listener);
      listener();
    }
  }

  build() {
    const { prefix, outbox } = this;
    this.notice = h("span");
    const dismiss = {
      type: "button",
      class: "dwf-icon",
      "aria-label": "Dismiss",
      click: () => outbox.command({ k: "dismiss" }),
    };
    this.noticeBox = h(
      "div",
      { class: "dwf-notice", role: "alert", hidden: true },
      this.notice,
      h("button", dismiss, "×"),
    );
    this.select = h("select", {
      id: `${prefix}-optimizer`,
      class: "dwf-optimizer",
      change: () => outbox.command({ k: "choose", optimizer: this.select.value }),
    });
    this.key = h("code", { class: "dwf-name" });
    this.summary = h("p", { class: "dwf-summary" });
    this.formula = h("div", { class: "dwf-formula" });
    this.links = h("p", { class: "dwf-links" });
    this.presets = h("div", { class: "dwf-buttons", role: "group", "aria-label": "Load defaults" });
    this.why = h("p", { class: "dwf-why" });
    this.undo = h("button", { type: "button", class: "dwf-undo", click: () => outbox.command({ k: "undo" }) }, "Undo");
    this.body = h("div", { class: "dwf-body" });
    this.picture = h("div", { class: "dwf-picture" });
    this.wrong = h("div", { class: "dwf-sum dwf-error", "aria-live": "polite" });
    this.differs = h("div", { class: "dwf-sum" });
    this.status = h("span", { class: "dwf-status", role: "status" });
    this.codeBox = h("textarea", {
      class: "dwf-code",
      readonly: true,
      "aria-label": "The settings as code",
      hidden: true,
    });
    this.show = h("button", { type: "button", "aria-expanded": "false", click: () => this.showCode() }, "Show code");
    const copy = h("button", { type: "button", class: "dwf-copy", click: () => this.copy() }, "Copy as code");
    this.root.append(
      this.noticeBox,
      h(
        "div",
        { class: "dwf-head" },
        h(
          "div",
          { class: "dwf-choose" },
          h("label", { for: `${prefix}-optimizer` }, "Optimizer"),
          this.select,
          this.key,
        ),
        this.summary,
        this.formula,
        this.links,
      ),
      h("div", { class: "dwf-presets" }, h("span", {}, "Load defaults"), this.presets, this.undo, this.why),
      this.body,
      h(
        "div",
        { class: "dwf-foot" },
        this.wrong,
        this.differs,
        h("div", { class: "dwf-buttons" }, copy, this.show, this.status),
        this.codeBox,
      ),
    );
  }

  drawMenu() {
    /** @type {{family: string, optimizers: {key: string, title: string}[]}[]} */
    const menu = this.model.get("menu");
    const groups = menu.map(({ family, optimizers }) =>
      h("optgroup", { label: family }, ...optimizers.map(({ key, title }) => h("option", { value: key }, title))),
    );
    this.select.replaceChildren(...groups);
    this.select.value = this.model.get("panel").optimizer;
  }

  drawPanel() {
    /** @type {Panel} */
    const panel = this.model.get("panel");
    this.select.value = panel.optimizer;
    say(this.key, panel.optimizer);
    say(this.summary, panel.summary);
    this.formula.replaceChildren(drawing(panel.mathml, "application/xml") ?? h("code", {}, panel.latex));
    const links = panel.links.flatMap(({ title, url }, i) => [
      i ? " · " : "",
      h("a", { href: /^https?:/.test(url) ? url : "#", target: "_blank", rel: "noopener noreferrer" }, title),
    ]);
    this.links.replaceChildren(...links);
    this.drawPresets(panel);
    for (const row of this.rows.values()) row.dispose();
    this.rows = new Map(
      Object.values(panel.controls).map((control) => [control.name, new Row(control, this.outbox, this.prefix)]),
    );
    this.folds = [];
    this.body.replaceChildren(...panel.sections.map((section, i) => this.drawSection(section, i)));
    this.fit();
    this.drawState();
  }

  /** @param {Panel} panel */
  drawPresets({ presets }) {
    this.preset = new Map();
    for (const { key, title, why } of presets) {
      const look = () => say(this.why, why);
      const back = () => this.drawWhy();
      const button = h(
        "button",
        {
          type: "button",
          click: () => {
            this.loaded = key;
            this.outbox.command({ k: "load", preset: key });
          },
          mouseenter: look,
          focus: look,
          mouseleave: back,
          blur: back,
        },
        title,
      );
      this.preset.set(key, { button, why });
    }
    this.presets.replaceChildren(...[...this.preset.values()].map(({ button }) => button));
  }

  drawWhy() {
    /** @type {State} */
    const { presets } = this.model.get("state");
    const key = presets.includes(this.loaded) ? this.loaded : presets[0];
    say(this.why, this.preset.get(key)?.why ?? "");
  }

  /** @param {Section} section @param {number} index */
  drawSection(section, index) {
    const rows = section.controls.map((name) => /** @type {Row} */ (this.rows.get(name)).node);
    if (section.fold) {
      const count = h("span", { class: "dwf-count" });
      this.folds.push({ section, count });
      const toggle = (/** @type {any} */ event) => (this.open[section.title] = event.target.open);
      const summary = h("summary", {}, section.title, " ", count);
      return h("details", { class: "dwf-section", open: this.open[section.title], toggle }, summary, ...rows);
    }
    const id = `${this.prefix}-section${index}`;
    return h(
      "section",
      { class: "dwf-section", "aria-labelledby": id },
      h("h3", { id }, section.title),
      section.picture && this.picture,
      ...rows,
    );
  }

  drawState() {
    /** @type {State} */
    const state = this.model.get("state");
    if (state.seen[0] === this.page && state.seen[1] !== undefined) this.outbox.seen(state.seen[1]);
    if (!this.outbox.waiting) {
      clearTimeout(this.patience);
      if (this.waits) this.tell("");
      this.waits = false;
    }
    for (const [name, row] of this.rows) if (state.controls[name]) row.update(state.controls[name]);
    for (const [key, { button }] of this.preset) button.setAttribute("aria-pressed", String(state.presets.includes(key)));
    this.drawWhy();
    this.undo.disabled = !state.undo;
    this.undo.title = state.undo ? `Undo: ${state.undo}` : "Nothing to undo";
    this.drawSums(state);
  }

  /** @param {State} state */
  drawSums({ controls }) {
    const marked = (/** @type {(marks: Marks) => unknown} */ test) =>
      [...this.rows.values()].filter((row) => controls[row.control.name] && test(controls[row.control.name]));
    const wrong = marked((marks) => marks.error);
    const changed = marked((marks) => marks.changed);
    const list = (/** @type {string} */ start, /** @type {Row[]} */ rows, /** @type {(row: Row) => string} */ words) =>
      rows.length ? [start, ...rows.flatMap((row, i) => [i ? ", " : "", jump(row, words(row))])] : [];
    this.wrong.replaceChildren(...list("To put right: ", wrong, (row) => row.control.title));
    const value = (/** @type {Row} */ row) => shown(row.control, controls[row.control.name].text);
    const difference = list("Differs from the defaults: ", changed, (row) => `${row.control.name} ${value(row)}`);
    this.differs.replaceChildren(...(difference.length ? difference : ["Everything is at its default."]));
    for (const { section, count } of this.folds) {
      const inside = (/** @type {Row[]} */ rows) =>
        rows.filter((row) => section.controls.includes(row.control.name)).length;
      const parts = [`${section.controls.length}`];
      if (inside(changed)) parts.push(`${inside(changed)} changed`);
      if (inside(wrong)) parts.push(`${inside(wrong)} wrong`);
      say(count, `(${parts.join(", ")})`);
    }
  }

  drawPicture() {
    const picture = drawing(this.model.get("preview"), "image/svg+xml");
    this.picture.replaceChildren(...(picture ? [picture] : []));
  }

  drawNotice() {
    const notice = this.model.get("notice");
    say(this.notice, notice);
    this.noticeBox.hidden = !notice;
  }

  drawCode() {
    const code = this.model.get("code");
    this.codeBox.value = code;
    this.codeBox.rows = code.split("\n").length;
    this.tell("");
  }

  showCode(open = this.codeBox.hidden) {
    this.codeBox.hidden = !open;
    this.show.setAttribute("aria-expanded", String(open));
    say(this.show, open ? "Hide code" : "Show code");
  }

  async copy() {
    const wrong = this.wrong.firstChild ? " with the last right values" : "";
    try {
      await navigator.clipboard.writeText(this.model.get("code")); // absent on plain http
      this.tell(`Copied${wrong}`);
    } catch {
      this.showCode(true);
      this.codeBox.focus();
      this.codeBox.select();
      this.tell(`Selected${wrong}: press Ctrl+C (⌘C) to copy`);
    }
  }

  /** @param {string} words */
  tell(words) {
    say(this.status, words);
  }

  wait() {
    if (!this.outbox.waiting) return;
    this.waits = true;
    this.tell("Waiting for the kernel, which is busy…");
  }

  /** A formula that is too wide is drawn smaller, rather than in a box that scrolls. */
  fit() {
    const drawn = /** @type {HTMLElement | null} */ (this.formula.firstElementChild);
    if (!drawn) return;
    drawn.style.fontSize = "";
    const room = this.formula.clientWidth / Math.max(1, drawn.scrollWidth, drawn.getBoundingClientRect().width);
    if (room < 1 && room > 0) drawn.style.fontSize = `${Math.max(60, Math.floor(room * 100))}%`;
  }

  dispose() {
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    for (const row of this.rows.values()) row.dispose();
    this.outbox.flush();
    clearTimeout(this.patience);
    this.fitter.disconnect();
  }
}

/** @param {Row} row @param {string} words */
const jump = (row, words) => h("button", { type: "button", class: "dwf-jump", click: () => row.focus() }, words);

/** A text in the words of its control. @param {Control} control @param {string} text */
function shown({ kind, choices, placeholder }, text) {
  if (kind === "bool") return text === "true" ? "on" : "off";
  const brief = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  return choices?.find((choice) => choice.value === text)?.label ?? (brief || placeholder || "empty");
}

/**
 * Keep plain keys inside the form: the notebook would take arrows on a menu, or a letter on a button, for a command.
 * @param {KeyboardEvent} event
 */
function contain(event) {
  const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  if (!command) event.stopPropagation();
}

/** @param {{model: Model, el: HTMLElement}} place */
function render({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default { render };
