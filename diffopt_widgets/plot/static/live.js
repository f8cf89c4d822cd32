// @ts-check
// The live plot in the page: loads Plotly, draws what the feed holds, and listens to the user.
import { Feed } from "./feed.js";
import { arrange, formatNumber } from "./picture.js";

/** Shortest time between two drawings, ms. */
const DRAW_EVERY = 100;

/** Plotly, once for the page however many plots there are. @param {any} model @returns {Promise<any>} */
function plotly(model) {
  const page = /** @type {any} */ (globalThis);
  page.__diffoptPlotly ??= load(model).catch((error) => {
    page.__diffoptPlotly = undefined; // the next plot tries again
    throw error;
  });
  return page.__diffoptPlotly;
}

/** @param {any} model */
async function load(model) {
  const packed = new Blob([await bundle(model)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(packed).text();
  const parts = ["const module = { exports: {} };\n", source, "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The compressed plotly.js: from the bundle's model, or, where buffers were dropped on the way, as text on request.
 * @param {any} model @returns {Promise<BlobPart>} */
async function bundle(model) {
  try {
    const id = model.get("_bundle").replace("IPY_MODEL_", "");
    const data = (await model.widget_manager.get_model(id)).get("data");
    if (data?.byteLength) return data;
  } catch {
    // fall through: ask
  }
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => reject(new Error("plotly.js did not arrive from the kernel")), 60_000);
    /** @param {any} message */
    const take = (message) => {
      if (message?.k !== "bundle") return;
      clearTimeout(timeout);
      model.off("msg:custom", take);
      resolve(Uint8Array.from(atob(message.data), (character) => character.charCodeAt(0)));
    };
    model.on("msg:custom", take);
    model.send({ k: "bundle" });
  });
}

/** @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} name @param {(Node | string)[]} children */
function make(tag, name, children = []) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

/** Keep plain keys inside the plot: the notebook would take a letter on one of its buttons for a command.
 * @param {KeyboardEvent} event */
function contain(event) {
  const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  if (!command) event.stopPropagation();
}

/** One view of the plot. */
class View {
  /** @param {Feed} feed @param {HTMLElement} el */
  constructor(feed, el) {
    this.feed = feed;
    this.model = feed.model;
    this.Plotly = /** @type {any} */ (null);
    this.width = 0;
    this.onScreen = false;
    this.dragging = false;
    this.scheduled = false;
    this.drawnAt = -Infinity;
    this.cost = 0;
    this.smoothing = this.model.get("smoothing");
    /** Steps in sight; null for all. @type {[number, number] | null} */
    this.range = null;
    this.legendShown = "";
    this.controller = new AbortController();
    this.resizes = new ResizeObserver(() => this.resized());
    this.sight = new IntersectionObserver((entries) => this.seen(entries[entries.length - 1].isIntersecting));

    this.theme = make("span", "dw-plot-theme");
    this.legend = make("div", "dw-plot-legend");
    this.legend.setAttribute("role", "group");
    this.legend.setAttribute("aria-label", "Runs: press to show or hide");
    this.slider = make("input", "");
    Object.assign(this.slider, { type: "range", min: "0", max: "0.99", step: "0.01" });
    this.amount = make("output", "");
    this.label = make("label", "", ["Smoothing", this.slider, this.amount]);
    this.label.title = "Moving average of the loss: 0 shows the values as they are";
    this.logs = new Map(this.panels.map(({ key }) => [key, make("button", "", [`log ${key}`])]));
    this.whole = make("button", "", ["Reset zoom"]);
    for (const button of [this.whole, ...this.logs.values()]) button.type = "button";
    this.whole.style.visibility = "hidden";
    this.label.hidden = !this.panels.some((panel) => panel.smooth);
    this.gd = /** @type {any} */ (make("div", "dw-plot-graph"));
    this.hint = make("div", "dw-plot-hint");
    this.area = make("div", "dw-plot-area", [this.gd, this.hint]);
    // The saved picture of this plot is hidden exactly as long as this element is in the page.
    const style = make("style", "", [`.dw-for-${this.model.get("plot_id")} { display: none !important; }`]);
    const controls = make("div", "dw-plot-controls", [this.whole, this.label, ...this.logs.values()]);
    this.root = make("div", "dw-plot", [
      style,
      this.theme,
      make("div", "dw-plot-bar", [controls, this.legend]),
      this.area,
    ]);
    el.append(this.root);
    this.say(this.model.get("hint"));
    this.reserve();
    this.listen();
    this.showControls();
    this.showLegend();
  }

  /** @returns {import("./picture.js").Panel[]} */
  get panels() {
    return this.model.get("_panels");
  }

  /** Optional panels that have their place before they have lines. @returns {string[]} */
  get expected() {
    return this.model.get("expected");
  }

  listen() {
    const { signal } = this.controller;
    this.root.addEventListener("keydown", contain);
    this.slider.addEventListener("input", () => {
      this.smoothing = Number(this.slider.value);
      this.amount.value = this.smoothing.toFixed(2);
      this.schedule();
    });
    this.slider.addEventListener("change", () => this.save("smoothing", Number(this.slider.value)));
    for (const { key, optional } of this.panels) {
      const button = /** @type {HTMLButtonElement} */ (this.logs.get(key));
      button.hidden = optional;
      button.title = "Logarithmic axis: what is not above 0 is not drawn";
      button.addEventListener("click", () => {
        const log = this.model.get("log");
        this.save("log", { ...log, [key]: !log[key] });
      });
    }
    this.whole.addEventListener("click", () => this.resetZoom());
    this.theme.addEventListener("transitionend", () => this.schedule());
    // A drawing amid a drag would end it.
    this.gd.addEventListener("pointerdown", () => (this.dragging = true), { signal });
    const release = () => {
      this.dragging = false;
      this.schedule();
    };
    for (const end of ["pointerup", "pointercancel"])
      addEventListener(end, () => this.dragging && release(), { signal });
    document.addEventListener("visibilitychange", () => this.schedule(), { signal });
    const changed = () => {
      this.smoothing = this.model.get("smoothing");
      this.say(this.model.get("hint"));
      this.showControls();
      this.schedule();
    };
    const names = "change:smoothing change:log change:height change:hint change:expected";
    this.model.on(names, changed);
    const rows = () => {
      this.showLegend();
      this.schedule();
    };
    this.feed.listeners.add(rows);
    signal.addEventListener("abort", () => {
      this.model.off(names, changed);
      this.feed.listeners.delete(rows);
    });
  }

  /** @param {string} name @param {unknown} value */
  save(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  async start() {
    try {
      this.Plotly = await plotly(this.model);
    } catch (error) {
      this.say(`The plot cannot be drawn here: ${error instanceof Error ? error.message : error}`);
      return;
    }
    if (this.controller.signal.aborted) return;
    this.resizes.observe(this.root);
    this.sight.observe(this.area);
  }

  resized() {
    this.width = this.root.clientWidth;
    this.schedule();
  }

  /** @param {boolean} inSight */
  seen(inSight) {
    this.onScreen = inSight;
    this.schedule();
  }

  /** @param {string} text */
  say(text) {
    this.hint.replaceChildren(make("span", "", [text]));
  }

  showControls() {
    this.slider.value = String(this.smoothing);
    this.amount.value = this.smoothing.toFixed(2);
    const log = this.model.get("log");
    for (const [key, button] of this.logs) button.setAttribute("aria-pressed", String(Boolean(log[key])));
  }

  showLegend() {
    const runs = this.feed.runs;
    const shown = JSON.stringify(runs.map(({ id, name, color, visible }) => [id, name, color, visible]));
    if (shown === this.legendShown) return;
    this.legendShown = shown;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.run;
    const buttons = runs.map((run) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "dw-plot-run";
      button.dataset.run = String(run.id);
      button.setAttribute("aria-pressed", String(run.visible));
      button.style.setProperty("--dw-run", run.color);
      const name = document.createElement("span");
      name.textContent = run.name;
      button.append(document.createElement("i"), name);
      button.addEventListener("click", () => this.feed.toggle(run.id));
      button.addEventListener("pointerenter", () => (button.title = this.summary(run)));
      return button;
    });
    this.legend.replaceChildren(...buttons);
    if (focused) buttons.find((button) => button.dataset.run === focused)?.focus();
  }

  /** The run in words: its latest values. @param {import("./picture.js").Run} run */
  summary(run) {
    const store = this.feed.store(run.id);
    const last = store.length - 1;
    if (last < 0) return run.name;
    const values = [...store.columns].map(([name, column]) => `${name} ${formatNumber(column.values[last])}`);
    return [run.name, `step ${store.steps[last]}`, ...values, "Click to show or hide"].join("\n");
  }

  /** Keep the place of the figure, so that nothing jumps when it is drawn. */
  reserve() {
    const panels = this.panels.filter(({ key, optional }) => !optional || this.expected.includes(key)).length;
    this.place(panels, this.root.clientWidth || 900);
  }

  /** As high as so many panels are; what the empty plot says stands in the first row of them.
   * @param {number} panels @param {number} width */
  place(panels, width) {
    const { height, rows } = arrange(panels, width, this.model.get("height"));
    this.area.style.height = `${height}px`;
    this.hint.style.height = `${height / rows}px`;
  }

  /** Draw soon: at most ten times a second, for at most half of the page's time, and only where somebody sees it. */
  schedule() {
    if (this.scheduled || !this.drawable) return;
    this.scheduled = true;
    const wait = this.drawnAt + Math.max(DRAW_EVERY, 2 * this.cost) - performance.now();
    setTimeout(() => requestAnimationFrame(() => this.draw()), Math.max(0, wait));
  }

  get drawable() {
    const gone = this.controller.signal.aborted || document.hidden || !this.onScreen;
    return this.Plotly && this.width > 0 && !this.dragging && !gone;
  }

  async draw() {
    this.scheduled = false;
    if (!this.drawable) return; // what makes it drawable again schedules a drawing
    this.drawnAt = performance.now();
    const { gd, feed, width, range, smoothing, expected } = this;
    const { panelWidth } = arrange(this.panels.length, width, 1);
    const drawn = feed.picture({ range, width: panelWidth, smoothing, expected });
    const colors = getComputedStyle(this.theme);
    const size = Math.max(11, Math.round(0.92 * parseFloat(colors.fontSize)));
    const theme = { text: colors.color, back: colors.backgroundColor, line: colors.borderTopColor, size };
    const layout = feed.layout(drawn, width, theme);
    this.place(drawn.shown.length, width);
    this.hint.hidden = drawn.points > 0;
    const keys = new Set(drawn.shown.map(({ key }) => key));
    for (const [key, button] of this.logs) button.hidden = !keys.has(key);
    const first = !gd.data;
    // Given a configuration again, Plotly builds everything anew, and its buttons lose the focus.
    await this.Plotly.react(gd, drawn.data, layout, first ? this.config() : undefined);
    if (first) gd.on("plotly_relayout", () => this.zoomed());
    this.cost = performance.now() - this.drawnAt;
    gd.dataset.points = String(drawn.points);
    gd.dataset.rows = String(feed.runs.reduce((sum, run) => sum + feed.store(run.id).length, 0));
  }

  config() {
    const save = {
      name: "picture",
      title: "Save as PNG",
      icon: this.Plotly.Icons.camera,
      click: async () => {
        const link = document.createElement("a");
        Object.assign(link, { href: await this.feed.image(this.Plotly), download: "diffopt.png" });
        link.click();
      },
    };
    return {
      displaylogo: false,
      showTips: false,
      modeBarButtons: [[save, "zoom2d", "pan2d", "autoScale2d"]],
      doubleClick: "autosize",
    };
  }

  /** After a zoom or a pan: draw the rows in sight in full detail. */
  zoomed() {
    const axis = this.gd.layout.xaxis;
    const range = axis.autorange === false && axis.range ? axis.range.map(Number) : null;
    const moved = String(range) !== String(this.range);
    this.range = range;
    const axes = Object.entries(this.gd.layout).filter(([name]) => /^[xy]axis/.test(name));
    const zoomed = axes.some(([, { autorange }]) => autorange === false);
    this.whole.style.visibility = zoomed ? "" : "hidden";
    if (moved) this.schedule();
  }

  resetZoom() {
    const axes = Object.keys(this.gd.layout).filter((name) => /^[xy]axis/.test(name));
    this.Plotly.relayout(this.gd, Object.fromEntries(axes.map((name) => [`${name}.autorange`, true])));
  }

  close() {
    this.controller.abort();
    this.resizes.disconnect();
    this.sight.disconnect();
    if (this.Plotly) this.Plotly.purge(this.gd);
    this.root.remove();
  }
}

export default () => {
  /** @type {Feed} */
  let feed;
  return {
    /** @param {{model: any}} context */
    initialize({ model }) {
      feed = new Feed(model);
      model.on("msg:custom", async (/** @type {any} */ message) => {
        if (message?.k === "image") await feed.sendImage(await plotly(model));
      });
      return () => feed.close();
    },
    /** @param {{model: any, el: HTMLElement}} context */
    async render({ el }) {
      const view = new View(feed, el);
      void view.start();
      return () => view.close();
    },
  };
};
