// @ts-check
// Elements, without ever reading a text as HTML.

/**
 * An element. Strings become text nodes, so nothing that comes from elsewhere is read as HTML.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] functions are listeners, false and undefined are left out
 * @param {...(Node | string | false | undefined | null)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/**
 * A drawing from the kernel's own catalogue; null when it is not well formed.
 * @param {string} markup @param {"image/svg+xml" | "application/xml"} type
 */
export function drawing(markup, type) {
  if (!markup) return null;
  const parsed = new DOMParser().parseFromString(markup, type);
  return parsed.querySelector("parsererror") ? null : document.importNode(parsed.documentElement, true);
}

/** A name whose line may break after each underscore: `adam_` `use_` `bias_` `correction`. @param {string} name */
export const breakable = (name) => name.split(/(?<=_)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));

/** @param {HTMLElement} node @param {string} text */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The beginning of a view's ids, which no other view on the page has: another widget, of whatever kind, another view of the
 * same one, or one of another kernel. Each widget loads this file for itself, so the count is the page's.
 * @param {string} kind
 */
export function ownPrefix(kind) {
  const page = /** @type {any} */ (globalThis);
  page.__diffoptViews = (page.__diffoptViews ?? 0) + 1;
  return `${kind}${page.__diffoptViews}`;
}

/**
 * A style that hides what a saved page shows in place of this widget; as long as the widget is in the page, so is the style.
 * @param {{get(name: string): any}} model
 */
export const hiddenStandIn = (model) =>
  h("style", {}, `.dw-for-${model.get("stand_in_id")} { display: none !important; }`);
