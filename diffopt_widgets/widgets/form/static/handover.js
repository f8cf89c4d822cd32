// @ts-check
// Keeping a text that is being typed, and the cursor in it, while the rows of one optimizer replace those of another. With
// a slow connection or a busy kernel the new rows arrive while the user types.

/** @typedef {import("./row.js").Row} Row */
/** @typedef {Map<string, Row>} Rows */

export class Handover {
  /** @param {HTMLElement} root @param {Rows} rows the previous rows */
  constructor(root, rows) {
    this.root = root;
    this.rows = rows;
    this.active = root.contains(document.activeElement) ? document.activeElement : null;
  }

  /** Show in the new rows the texts that the kernel has not answered yet. @param {Rows} rows */
  texts(rows) {
    for (const [name, row] of rows) {
      const before = this.rows.get(name);
      if (before?.control.kind === row.control.kind && row.outbox.holds(name)) row.text = before.text;
    }
  }

  /** Focus the row where the user was typing or, if its option is gone, the form, so that Tab goes on from there.
   * @param {Rows} rows @param {HTMLElement} rest element that takes the focus then */
  focus(rows, rest) {
    const { active } = this;
    if (!active || active.isConnected) return;
    const before = [...this.rows.values()].find(({ node }) => node.contains(active));
    const row = before && rows.get(before.control.name);
    if (!row) return rest.focus({ preventScroll: true });
    row.reach();
    const { selectionStart: start, selectionEnd: end, value } = before.input;
    if (start == null || row.input.selectionStart == null) return; // it is not a text field
    if (start === 0 && end === value.length) row.input.select();
    else if (row.input.value === value) row.input.setSelectionRange(start, end);
  }
}
