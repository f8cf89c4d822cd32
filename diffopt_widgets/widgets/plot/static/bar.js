// @ts-check
// The row of controls: what lies along, smoothing, logarithmic axes, saving.
import { make, makeButton } from "./dom.js";
import { csv, html, image } from "./save.js";
import { halfOf } from "./smooth.js";

/**
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./picture.js").Panel} Panel
 * @typedef {import("./save.js").Sight} Sight
 */

const AXES = { step: "step", time: "time", samples: "samples seen" };

export class Bar {
  /** @param {Feed} feed @param {{changed: () => void, reset: () => void, sight: () => Sight, Plotly: () => any}} view what
   * the view does when something was chosen, and what it shows */
  constructor(feed, view) {
    this.feed = feed;
    this.model = feed.model;
    this.view = view;
    this.smoothing = this.model.get("smoothing");
    this.slider = make("input", "");
    Object.assign(this.slider, { type: "range", min: "0", max: "0.99", step: "0.01" });
    this.amount = make("output", "");
    this.smooth = make("label", "", ["Smoothing", this.slider, this.amount]);
    this.smooth.title =
      "The loss is drawn as the mean of each value and as many before as after it, so the line does not lag; the faint line has every value";
    this.along = make("select", "");
    this.along.setAttribute("aria-label", "x axis");
    this.axis = make("label", "", ["Over", this.along]);
    this.axis.title = "Horizontal axis: steps, training time without pauses, or examples seen";
    this.logs = make("span", "dw-plot-logs");
    this.whole = makeButton(["Reset view"], () => view.reset(), "dw-plot-whole");
    this.whole.title = "Show everything again (key 0 on a panel, or a double click)";
    this.whole.style.visibility = "hidden";
    this.status = make("span", "dw-plot-status");
    this.status.setAttribute("role", "status");
    this.menu = this.saving();
    this.node = make("div", "dw-plot-controls", [
      this.status,
      this.whole,
      this.axis,
      this.smooth,
      this.logs,
      this.menu,
    ]);
    this.slider.addEventListener("input", () => {
      this.smoothing = Number(this.slider.value);
      this.tell();
      view.changed();
    });
    this.slider.addEventListener("change", () => this.save("smoothing", Number(this.slider.value)));
    this.along.addEventListener("change", () => this.save("x", this.along.value));
    this.take();
  }

  /** @param {string} name @param {unknown} value */
  save(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  /** Show the smoothing that was chosen elsewhere, or here. */
  take() {
    this.smoothing = this.model.get("smoothing");
    this.slider.value = String(this.smoothing);
    this.tell();
  }

  /** Say how many values the drawn mean has. */
  tell() {
    const half = halfOf(this.smoothing);
    this.amount.value = half ? String(2 * half + 1) : "off";
    this.slider.setAttribute("aria-valuetext", half ? `mean of ${2 * half + 1} values` : "off");
  }

  /** Show what is chosen now. @param {Panel[]} shown the panels that are there @param {boolean} zoomed */
  update(shown, zoomed) {
    this.smooth.hidden = !shown.some((panel) => panel.smooth);
    this.whole.style.visibility = zoomed ? "" : "hidden";
    this.updateAxis();
    const log = this.model.get("log");
    const keys = shown.map(({ key }) => key);
    if (keys.join() !== this.logs.dataset.keys) {
      this.logs.dataset.keys = keys.join();
      this.logs.replaceChildren(...shown.map((panel) => this.switch(panel)));
    }
    for (const [i, key] of keys.entries())
      this.logs.children[i].setAttribute("aria-pressed", String(Boolean(log[key])));
  }

  updateAxis() {
    const { runs } = this.feed;
    /** @param {import("./run_rows.js").Axis} axis */
    const known = (axis) => runs.some((run) => this.feed.store(run.id).place(axis, run.samples_per_step));
    const chosen = this.model.get("x");
    const axes = Object.entries(AXES).filter(([axis]) => axis === chosen || known(/** @type {any} */ (axis)));
    if (axes.length !== this.along.options.length) {
      this.along.replaceChildren(...axes.map(([axis, words]) => new Option(words, axis)));
    }
    this.along.value = chosen;
    this.along.disabled = axes.length < 2; // it has its place before there is a choice, so that nothing moves then
  }

  /** @param {Panel} panel */
  switch({ key, title }) {
    const button = makeButton([`log ${key.replace(/_loss$/, "")}`], () => {
      const log = this.model.get("log");
      this.save("log", { ...log, [key]: !log[key] });
    });
    button.title = `${title}: logarithmic axis, which draws only values above 0`;
    return button;
  }

  saving() {
    const { feed, view } = this;
    /** @type {[string, string, () => Promise<string | Blob>][]} */
    const kinds = [
      ["PNG", "Picture, 2,400 pixels wide", () => image(view.Plotly(), feed, view.sight(), "png", 2)],
      ["SVG", "Picture for print", () => image(view.Plotly(), feed, view.sight(), "svg")],
      [
        "HTML",
        "Page with hover and zoom that opens offline",
        async () => blob(await html(feed, view.sight()), "text/html"),
      ],
      ["CSV", "Table of the visible rows", async () => blob(this.table(), "text/csv")],
    ];
    const menu = make("details", "dw-plot-save", [make("summary", "", ["Save"])]);
    const choices = kinds.map(([kind, title, content]) => {
      const button = makeButton([make("b", "", [kind]), make("span", "", [title])], () => {
        menu.open = false;
        menu.querySelector("summary")?.focus();
        void this.download(content, `diffopt.${kind.toLowerCase()}`);
      });
      button.setAttribute("aria-label", kind);
      button.setAttribute("aria-description", title);
      return button;
    });
    menu.append(make("div", "", choices));
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !menu.contains(/** @type {Node} */ (relatedTarget))) menu.open = false;
    });
    return menu;
  }

  table() {
    const { x, zoom } = this.view.sight();
    return csv(this.feed.runs, (id) => this.feed.store(id), zoom.x, x);
  }

  /** @param {() => Promise<string | Blob>} content a data URL or a blob @param {string} name */
  async download(content, name) {
    this.status.textContent = "";
    try {
      const made = await content();
      const url = typeof made === "string" ? made : URL.createObjectURL(made);
      const link = make("a", "");
      Object.assign(link, { href: url, download: name });
      link.click();
      if (typeof made !== "string") setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      this.status.textContent = error instanceof Error ? error.message : String(error);
    }
  }
}

/** @param {string} text @param {string} type */
const blob = (text, type) => new Blob([text], { type: `${type};charset=utf-8` });
