// @ts-check
// What somebody was typing stays, text and place, when the rows of one optimizer make way for those of another: behind a
// slow connection or a busy kernel the new ones come while one types.

/** @typedef {import("./row.js").Row} Row */
/** @typedef {Map<string, Row>} Rows */

export class Handover {
  /** @param {HTMLElement} root @param {Rows} rows those that go */
  constructor(root, rows) {
    this.root = root;
    this.rows = rows;
    this.active = root.contains(document.activeElement) ? document.activeElement : null;
  }

  /** Show in the rows that come what the kernel has not answered yet. @param {Rows} rows */
  texts(rows) {
    for (const [name, row] of rows) {
      const before = this.rows.get(name);
      if (before?.control.kind === row.control.kind && row.outbox.holds(name)) row.text = before.text;
    }
  }

  /** The next key still arrives where it is meant, or, where the option is no more, in the form, from which Tab goes on.
   * @param {Rows} rows @param {HTMLElement} rest what has the focus then */
  focus(rows, rest) {
    const { active } = this;
    if (!active || active.isConnected) return;
    const before = [...this.rows.values()].find(({ node }) => node.contains(active));
    const row = before && rows.get(before.control.name);
    if (!row) return rest.focus({ preventScroll: true });
    row.reach();
    const { selectionStart: start, selectionEnd: end, value } = before.input;
    if (start == null || row.input.selectionStart == null) return; // no field for text
    if (start === 0 && end === value.length) row.input.select();
    else if (row.input.value === value) row.input.setSelectionRange(start, end);
  }
}
