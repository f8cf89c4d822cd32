// @ts-check
// Report on the shown runs: a button, and below it the table, what it means, and the Markdown to copy.
import { keepKeys } from "../../page/static/keep_keys.js";
import { withKernel } from "../../page/static/lost.js";
import { h, say } from "../../page/static/dom.js";

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const status = h("span", { class: "dw-report-status", role: "status" });
  const why = h("span", { class: "dw-report-why" });
  const toggle = h(
    "button",
    { type: "button", "aria-expanded": "false", click: () => set(!model.get("shown")) },
    "Report",
  );
  const copy = h("button", { type: "button", click: () => void copied() }, "Copy as Markdown");
  const table = h("div", {
    class: "dw-report-table",
    tabindex: "0",
    role: "region",
    "aria-label": "Table of the report",
  });
  const lines = h("ul");
  const box = h("textarea", { class: "dwf-code", readonly: true, rows: 10, "aria-label": "The report as Markdown" });
  box.hidden = true;
  const fold = h(
    "div",
    {
      class: "dw-report-fold",
      role: "region",
      "aria-label": "Report",
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        set(false);
        toggle.focus();
      },
    },
    h("div", { class: "dw-report-buttons" }, copy, status),
    table,
    lines,
    box,
  );
  const root = h("div", { class: "dw-themed dw-report" }, h("div", { class: "dw-report-buttons" }, toggle, why), fold);

  const set = (/** @type {boolean} */ open) => {
    if (model.get("why")) return;
    model.set("shown", open);
    model.save_changes();
  };

  async function copied() {
    try {
      await navigator.clipboard.writeText(model.get("markdown")); // there is no clipboard on plain http
      say(status, "Copied");
    } catch {
      box.hidden = false;
      box.focus();
      box.select();
      say(status, "Selected: press Ctrl+C (⌘C) to copy");
    }
  }

  const draw = () => {
    const reason = model.get("why");
    const open = model.get("shown") && !reason;
    toggle.setAttribute("aria-expanded", String(open));
    // Not `disabled`, which the keyboard and a screen reader would pass over without the reason.
    toggle.setAttribute("aria-disabled", String(Boolean(reason)));
    toggle.title = reason || "How the shown runs ended, with what is needed to repeat them";
    say(why, reason);
    fold.hidden = !open;
  };

  const fill = () => {
    const [head = [], ...rows] = /** @type {string[][]} */ (model.get("cells"));
    const line = (/** @type {string[]} */ cells, /** @type {string} */ kind) =>
      h(
        "tr",
        {},
        ...cells.map((cell, i) => h(i ? kind : "th", { scope: kind === "th" ? "col" : i ? null : "row" }, cell)),
      );
    const grid = h(
      "table",
      {},
      h("thead", {}, line(head, "th")),
      h("tbody", {}, ...rows.map((row) => line(row, "td"))),
    );
    table.replaceChildren(...(rows.length ? [grid] : []));
    table.hidden = !rows.length;
    lines.replaceChildren(.../** @type {string[]} */ (model.get("lines")).map((text) => h("li", {}, text)));
    box.value = model.get("markdown");
    copy.hidden = !box.value;
    say(status, "");
  };

  /** @type {[string, () => void][]} */
  const listeners = [
    ["change:why", draw],
    ["change:shown", draw],
    ["change:cells", fill],
    ["change:lines", fill],
    ["change:markdown", fill],
  ];
  for (const [event, listener] of listeners) model.on(event, listener);
  draw();
  fill();
  keepKeys(root);
  el.append(root);
  return () => {
    for (const [event, listener] of listeners) model.off(event, listener);
    root.remove();
  };
}

export default withKernel({ render });
