// @ts-check
// The panels for the keyboard: each can have the focus, and keys move what it shows.
import { make } from "./dom.js";

/** @typedef {import("./picture.js").Panel} Panel */

const TIP = "arrows pan · + − zoom · 0 resets";

export class PanelKeys {
  /** @param {(key: string, panel: number) => boolean} act takes a key; whether it meant something */
  constructor(act) {
    this.act = act;
    this.node = make("div", "dw-plot-panels");
    this.keys = "";
  }

  /** Lay a frame over each panel. @param {Panel[]} shown @param {Record<string, any>} layout Plotly's */
  update(shown, { width, height, margin, ...axes }) {
    const keys = shown.map(({ key }) => key).join();
    if (keys !== this.keys) this.node.replaceChildren(...shown.map((panel, i) => this.frame(panel, i)));
    this.keys = keys;
    const [inner, tall] = [width - margin.l - margin.r, height - margin.t - margin.b];
    for (const i of shown.keys()) {
      const [x, y] = [axes[i ? `xaxis${i + 1}` : "xaxis"].domain, axes[i ? `yaxis${i + 1}` : "yaxis"].domain];
      const place = {
        left: margin.l + x[0] * inner,
        top: margin.t + (1 - y[1]) * tall,
        width: (x[1] - x[0]) * inner,
        height: (y[1] - y[0]) * tall,
      };
      const { style } = /** @type {HTMLElement} */ (this.node.children[i]);
      for (const [side, pixels] of Object.entries(place)) style.setProperty(side, `${pixels}px`);
    }
  }

  /** @param {Panel} panel @param {number} i */
  frame({ title }, i) {
    const frame = make("div", "dw-plot-panel");
    frame.tabIndex = 0;
    frame.dataset.tip = TIP;
    frame.setAttribute("role", "application");
    frame.setAttribute("aria-label", `${title}: ${TIP}`);
    frame.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.act(event.key, i)) return;
      event.preventDefault();
    });
    return frame;
  }
}
