// @ts-check
// One option in the page.
import { breakable, h, say } from "../../page/static/dom.js";
import { longHelp, shortHelp } from "./help.js";
import { TRACK, nudge, placeOf, sentence, textAt } from "../../page/static/text.js";

/** @typedef {import("../../page/static/text.js").Slider} Slider */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("../../page/static/tip.js").Tip} Tip */
/** @typedef {{value: string, label: string, help?: string}} Choice */
/** Advice: `use` is the text of the button, empty where there is none, and `followed` its text once it is followed.
 * @typedef {{use: string, followed: string, words: string, reason: string, source: string}} Advice */
/**
 * @typedef {{name: string, title: string, kind: "number" | "bool" | "choice" | "text", help: string, default: string,
 *   facts: {term: string, text: string}[], shown_default: string, placeholder?: string, unit?: string,
 *   integer?: boolean, slider?: Slider, choices?: Choice[], advice?: Advice, standing: string, reason?: string,
 *   mark?: string, depends?: boolean}} Control
 */
/**
 * @typedef {{text: string, error?: string, warning?: string, fix?: string, greyed?: string, changed?: boolean,
 *   related?: boolean, advised?: string, fixed?: boolean, mark?: string}} Marks
 */

const TYPING_PAUSE = 150;
const ERROR_PAUSE = 600; // milliseconds; "1e-" may become "1e-4", so errors are shown only after a pause in typing
const WIDE = 16; // a text of so many letters does not fit beside the name on a narrow page

/** One option: label, control, marks and help. */
export class Row {
  /** @param {Control} control @param {Outbox} outbox @param {string} prefix @param {Tip} tip */
  constructor(control, outbox, prefix, tip) {
    this.control = control;
    this.outbox = outbox;
    this.id = `${prefix}-option-${control.name}`; // a class may have an option named "find"
    /** @type {Marks} */
    this.marks = { text: control.default };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.complains = false;
    this.build();
    for (const anchor of [this.label, this.helpButton])
      tip.attach(anchor, () => (this.help.hidden ? shortHelp(control, this.marks) : []));
  }

  build() {
    const { control, id } = this;
    this.input = this.makeInput();
    this.word = control.kind === "bool" ? h("span", { class: "dwf-word" }) : null;
    this.slider = control.slider ? this.makeSlider() : null;
    this.line = h("div", { class: "dwf-line", id: `${id}-line`, "aria-live": "polite" });
    this.fix = h("button", { type: "button", class: "dwf-fix", hidden: true, click: () => this.ask("fix") });
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
        click: () => this.toggleHelp(),
      },
      "?",
    );
    this.changed = h("span", { class: "dwf-sr" });
    this.mark = control.mark ? h("span", { class: "dwf-mark" }, control.mark) : null;
    this.label = h(
      "label",
      { class: "dwf-label", for: id },
      h("span", { class: "dwf-title" }, control.title),
      " ",
      h("code", { class: "dwf-name" }, ...breakable(control.name)),
      this.mark && " ",
      this.mark,
      this.changed,
    );
    const field = h("div", { class: `dwf-field dwf-${control.kind}` }, this.input, this.word, this.slider);
    const letters = longest(control);
    field.style.setProperty("--dwf-letters", String(letters));
    const looks = [`dwf-is-${control.standing}`, control.depends && "dwf-depends", letters > WIDE && "dwf-wide"];
    this.node = h(
      "div",
      { class: ["dwf-row", ...looks].filter(Boolean).join(" "), "data-name": control.name },
      this.label,
      field,
      h("div", { class: "dwf-tools" }, this.resetButton, this.helpButton),
      h("div", { class: "dwf-under" }, this.line, this.fix, this.makeAdvice()),
      this.help,
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
      blur: () => this.complain(),
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
    this.use = advice.use
      ? h("button", { type: "button", class: "dwf-use", click: () => this.ask("advise") }, advice.use)
      : null;
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
      this.use && h("span", { class: "dwf-place", "data-followed": advice.followed }, this.use),
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

  /** Bring the slider and the word beside the text up to date. @param {string} text */
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

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
      this.outbox.settle();
      this.complain();
    }
    if (this.control.kind !== "number" || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
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
    if (open && !this.help.firstChild) this.help.append(...longHelp(this.control));
    this.help.hidden = !open;
    this.helpButton.setAttribute("aria-expanded", String(open));
    this.input.setAttribute("aria-describedby", open ? `${this.id}-line ${this.id}-help` : `${this.id}-line`);
  }

  /** @param {Marks} marks */
  update(marks) {
    this.marks = marks;
    if (!this.outbox.holds(this.control.name)) this.text = marks.text;
    this.node.classList.toggle("dwf-changed", Boolean(marks.changed));
    this.node.classList.toggle("dwf-related", Boolean(marks.related));
    this.node.classList.toggle("dwf-greyed", Boolean(marks.greyed));
    if (this.mark) say(this.mark, marks.mark ?? this.control.mark ?? "");
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
      this.use.parentElement.hidden = Boolean(marks.fixed); // the fix does the same
      say(this.use, marks.advised ?? this.control.advice?.use ?? "");
    }
    clearTimeout(this.timer);
    const typing = document.activeElement === this.input && ["number", "text"].includes(this.control.kind);
    if (marks.error && typing && !this.complains) this.timer = setTimeout(() => this.complain(), ERROR_PAUSE);
    else this.complain();
  }

  /** Show the error, or clear it. */
  complain() {
    clearTimeout(this.timer);
    const { control, marks } = this;
    this.complains = Boolean(marks.error);
    const plain = control.standing === "inert" ? `No effect here${control.reason ? `: ${control.reason}` : ""}.` : "";
    say(this.line, marks.error ?? marks.warning ?? (marks.greyed ? sentence(marks.greyed) : plain));
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
    this.fix.hidden = !marks.fix;
    say(this.fix, marks.fix ?? "");
  }

  /** Unfold the row and focus its control. */
  reach() {
    const fold = this.node.closest("details");
    if (fold) fold.open = true;
    const whole = /** @type {HTMLElement | null | undefined} */ (this.node.closest(".dwf-rest")?.firstElementChild);
    if (whole?.ariaExpanded === "false") whole.click();
    (this.input.disabled ? this.helpButton : this.input).focus();
  }

  /** Scroll the row into view and focus its control. */
  show() {
    this.reach();
    this.node.scrollIntoView({ block: "nearest" });
    this.node.classList.add("dwf-found");
    this.node.addEventListener("animationend", () => this.node.classList.remove("dwf-found"), { once: true });
  }

  dispose() {
    clearTimeout(this.timer);
  }
}

/** Return the number of letters of the longest choice of a control, or of its placeholder.
 * @param {Control} control */
const longest = ({ choices = [], placeholder = "" }) =>
  Math.max(...[placeholder, ...choices.map(({ label }) => label)].map((words) => words.length));
