// @ts-check
// Elements of the page.

/** @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} name @param {(Node | string)[]} children */
export function make(tag, name, children = []) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

/** @param {(Node | string)[]} children @param {() => void} act */
export function makeButton(children, act, name = "") {
  const button = make("button", name, children);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}
