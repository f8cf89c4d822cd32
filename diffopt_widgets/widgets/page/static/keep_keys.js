// @ts-check
// Keys typed in a widget are the widget's: a notebook would take an arrow on a menu, or a letter on a button, for one of its
// commands, such as cutting the cell.

/** Whether a key is meant for the notebook even here, such as Ctrl+S. @param {KeyboardEvent} event */
const isCommand = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");

/**
 * Keep plain keys inside a widget. JupyterLab looks at a key after it has passed here; Notebook 7 looks before, and leaves one
 * alone only where what has the focus says so itself.
 * @param {HTMLElement} root
 */
export function keepKeys(root) {
  /** @param {KeyboardEvent} event */
  const mark = (event) => {
    const { target } = event;
    if (!root.isConnected) window.removeEventListener("keydown", mark, true);
    else if (target instanceof Element && root.contains(target))
      target.toggleAttribute("data-lm-suppress-shortcuts", !isCommand(event));
  };
  root.addEventListener("focusin", () => window.addEventListener("keydown", mark, true));
  root.addEventListener("focusout", () => window.removeEventListener("keydown", mark, true));
  root.addEventListener("keydown", (event) => {
    if (!isCommand(event)) event.stopPropagation();
  });
}
