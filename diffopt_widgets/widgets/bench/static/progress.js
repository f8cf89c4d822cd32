// @ts-check
// The progress bar of a run or a comparison. Two lines that nobody sees stay in the page, since only a change of such a line is spoken.
import { withKernel } from "../../page/static/lost.js";
import { h, say } from "../../page/static/dom.js";

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const done = h("div", { class: "dw-progress-done" });
  const attributes = {
    role: "progressbar",
    "aria-label": "Progress of the training",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  };
  const bar = h("div", { class: "dw-progress-bar", ...attributes }, done);
  const said = h("p", { class: "dwf-sr dw-said", role: "status" });
  const alert = h("p", { class: "dwf-sr dw-alert", role: "alert" });
  const draw = () => {
    const value = model.get("value");
    bar.setAttribute("aria-valuenow", String(Math.round(100 * value)));
    bar.setAttribute("aria-valuetext", model.get("words"));
    bar.dataset.outcome = model.get("outcome");
    bar.hidden = model.get("hidden");
    done.style.width = `${100 * value}%`;
    say(said, model.get("said"));
    say(alert, model.get("alert"));
  };
  draw();
  const changes = "value words outcome said alert hidden".replace(/\w+/g, "change:$&");
  model.on(changes, draw);
  el.append(h("div", { class: "dw-themed dw-progress-frame" }, bar, said, alert));
  return () => model.off(changes, draw);
}

export default withKernel({ render });
