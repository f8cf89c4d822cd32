// @ts-check
// The live plot in the page: draws what the feed holds, and listens to the user.
import { Bar } from "./bar.js";
import { make } from "./dom.js";
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { Feed } from "./feed.js";
import { PanelKeys } from "./keys.js";
import { arrange, layout, TYPE } from "./layout.js";
import { Legend } from "./legend.js";
import { picture } from "./picture.js";
import { plotly } from "./plotly.js";
import { sendImage } from "./save.js";
import { Zoom } from "./zoom.js";

/** Shortest time between two drawings, ms. */
const DRAW_EVERY = 100;

/** Height that can be seen at once; a frame that grows with what is in it may be higher than the screen. */
const screenHeight = () => Math.min(innerHeight, screen.availHeight || Infinity);

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
    this.drawings = 0;
    this.zoom = new Zoom();
    this.x = this.model.get("x");
    /** @type {import("./picture.js").Panel[]} */
    this.shown = [];
    this.controller = new AbortController();
    this.resizes = new ResizeObserver(() => this.resized());
    this.sight = new IntersectionObserver((entries) => this.seen(entries[entries.length - 1].isIntersecting));

    this.theme = make("span", "dw-plot-theme");
    /** The run that stands out. @type {number | null} */
    this.picked = null;
    this.legend = new Legend(feed, (id) => this.pick(id));
    this.bar = new Bar(feed, {
      changed: () => this.schedule(),
      reset: () => this.reset(),
      sight: () => ({ smoothing: this.bar.smoothing, x: this.x, zoom: this.zoom }),
      Plotly: () => this.Plotly,
    });
    this.gd = /** @type {any} */ (make("div", "dw-plot-graph"));
    this.hint = make("div", "dw-plot-hint");
    this.note = make("div", "dw-plot-note");
    this.note.setAttribute("role", "status");
    this.keys = new PanelKeys((key, panel) => this.pressed(key, panel));
    this.area = make("div", "dw-plot-area", [this.gd, this.hint, this.note, this.keys.node]);
    // The saved picture of this plot is hidden exactly as long as this element is in the page.
    const style = make("style", "", [`.dw-for-${this.model.get("plot_id")} { display: none !important; }`]);
    this.root = make("div", "dw-plot", [
      style,
      this.theme,
      make("div", "dw-plot-bar", [this.bar.node, this.legend.node]),
      this.area,
    ]);
    el.append(this.root);
    this.say(this.model.get("hint"));
    this.reserve();
    this.listen();
    this.bar.update(this.shown, false);
    this.legend.update();
  }

  listen() {
    const { signal } = this.controller;
    keepKeys(this.root);
    // Another change of style in the same frame cancels a transition, and then it never ends.
    for (const changed of ["transitionend", "transitioncancel"])
      this.theme.addEventListener(changed, () => this.schedule());
    // A drawing amid a drag would end it.
    this.gd.addEventListener("pointerdown", () => (this.dragging = true), { signal });
    const release = () => {
      this.dragging = false;
      this.schedule();
    };
    for (const end of ["pointerup", "pointercancel"])
      addEventListener(end, () => this.dragging && release(), { signal });
    document.addEventListener("visibilitychange", () => this.schedule(), { signal });
    addEventListener("resize", () => this.schedule(), { signal }); // the height: the observer tells of the width
    const changed = () => {
      if (this.x !== this.model.get("x")) this.zoom.x = null;
      this.x = this.model.get("x");
      this.say(this.model.get("hint"));
      this.bar.take();
      this.bar.update(this.shown, this.zoom.any);
      this.schedule();
    };
    const names = "smoothing log height hint expected x _panels".replace(/\w+/g, "change:$&");
    this.model.on(names, changed);
    const rows = () => {
      this.legend.update();
      this.tell();
      this.schedule();
    };
    this.feed.listeners.add(rows);
    signal.addEventListener("abort", () => {
      this.model.off(names, changed);
      this.feed.listeners.delete(rows);
      this.feed.leave(this);
    });
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

  /** Let one run stand out from the others. @param {number | null} id */
  pick(id) {
    const run = this.feed.runs.find((run) => run.id === id);
    const picked = run?.visible && this.feed.runs.length > 1 ? id : null;
    if (picked === this.picked) return;
    this.picked = picked;
    this.schedule();
  }

  /** @param {string} text */
  say(text) {
    this.hint.replaceChildren(make("span", "", [text]));
  }

  /** Say what is lacking while the kernel cannot answer. */
  tell() {
    const lack = this.feed.lack(this);
    if (this.note.textContent !== lack) this.note.textContent = lack;
  }

  /** Keep the place of the figure, so that nothing jumps when it is drawn. */
  reserve() {
    const expected = this.model.get("expected");
    this.shown = this.feed.panels.filter(({ key, optional }) => !optional || expected.includes(key));
    this.place(this.shown.length, this.root.clientWidth || 900);
  }

  /** As high as so many panels are; what the empty plot says stands in the first row of them.
   * @param {number} panels @param {number} width */
  place(panels, width) {
    const { height, rows } = arrange(panels, width, this.model.get("height"), false, screenHeight(), this.room());
    this.area.style.height = `${height}px`;
    this.hint.style.height = `${height / rows}px`;
  }

  /** Draw soon: at most ten times a second, for at most half of the page's time, and only where somebody sees it. */
  schedule() {
    if (this.scheduled || !this.drawable) return;
    this.scheduled = true;
    const wait = this.drawnAt + Math.max(DRAW_EVERY, 2 * this.cost) - performance.now();
    // A frame's begin is awaited only after a wait: most of the time to paint is Plotly's already.
    setTimeout(() => (wait > 0 ? requestAnimationFrame(() => this.draw()) : void this.draw()), Math.max(0, wait));
  }

  get drawable() {
    const gone = this.controller.signal.aborted || document.hidden || !this.onScreen;
    return this.Plotly && this.width > 0 && !this.dragging && !gone;
  }

  async draw() {
    this.scheduled = false;
    if (!this.drawable) return; // what makes it drawable again schedules a drawing
    this.drawnAt = performance.now();
    const { gd, feed, model, width, zoom, x } = this;
    const { panels, runs } = feed;
    const { scale, whole } = this.room();
    const { panelWidth } = arrange(panels.length, width, 1, false, 1, { scale });
    const [smoothing, expected] = [this.bar.smoothing, model.get("expected")];
    const store = (/** @type {number} */ id) => feed.store(id);
    const request = { panels, runs, store, range: zoom.x, width: panelWidth, smoothing, x, expected, scale };
    const drawn = picture({ ...request, picked: runs.some(({ id }) => id === this.picked) ? this.picked : null });
    const view = { width, height: model.get("height"), screen: screenHeight(), whole, log: model.get("log"), x };
    /** @type {Record<string, any>} */
    const made = layout(drawn, { ...view, theme: this.colors() });
    zoom.apply(made, drawn.shown);
    // What is in sight is told here each time: Plotly is not to remember it too.
    for (const [name, axis] of Object.entries(made)) if (/^[xy]axis/.test(name)) axis.uirevision = this.drawings;
    this.drawings++;
    this.shown = drawn.shown;
    this.place(drawn.shown.length, width);
    this.hint.hidden = drawn.points > 0;
    this.bar.update(drawn.shown, zoom.any);
    this.keys.update(drawn.shown, made);
    feed.want(this, zoom.x ? drawn.detail : []);
    this.tell();
    const first = !gd.data;
    // Given a configuration again, Plotly builds everything anew, and its buttons lose the focus.
    await this.Plotly.react(gd, drawn.data, made, first ? this.config() : undefined);
    if (first) gd.on("plotly_relayout", () => this.zoomed());
    this.cost = performance.now() - this.drawnAt;
    gd.dataset.points = String(drawn.points);
    gd.dataset.lacking = String(drawn.detail.length);
    gd.dataset.rows = String(runs.reduce((sum, run) => sum + feed.store(run.id).length, 0));
  }

  /** The page's colours, as they are now. */
  colors() {
    const colors = getComputedStyle(this.theme);
    const size = Math.max(11, Math.round(0.92 * parseFloat(colors.fontSize)));
    return { text: colors.color, back: colors.backgroundColor, line: colors.borderTopColor, size };
  }

  /** What the page decides: the size of the type, and the height of the plots where they fill a screen. */
  room() {
    const whole = parseFloat(getComputedStyle(this.root).getPropertyValue("--dw-plot-height"));
    return { scale: this.colors().size / TYPE, whole: whole || null };
  }

  config() {
    return {
      displaylogo: false,
      showTips: false,
      modeBarButtons: [["zoom2d", "pan2d", "autoScale2d"]],
      doubleClick: "autosize",
    };
  }

  /** After a zoom or a pan: draw the rows in sight in full detail. */
  zoomed() {
    this.zoom.read(this.gd.layout, this.shown);
    this.bar.update(this.shown, this.zoom.any);
    this.schedule();
  }

  reset() {
    this.zoom.clear();
    this.schedule();
  }

  /** @param {string} key @param {number} panel @returns {boolean} whether the key means something here */
  pressed(key, panel) {
    const known = this.gd.layout?.xaxis?.range && this.zoom.press(key, panel, this.gd.layout, this.shown);
    if (known) this.schedule();
    return Boolean(known);
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
  return withKernel({
    /** @param {{model: any}} context */
    initialize({ model }) {
      feed = new Feed(model);
      model.on("msg:custom", async (/** @type {any} */ message) => {
        if (message?.k === "image") await sendImage(await plotly(model), feed);
      });
      return () => feed.close();
    },
    /** @param {{model: any, el: HTMLElement}} context */
    async render({ el }) {
      const view = new View(feed, el);
      void view.start();
      return () => view.close();
    },
  });
};
