// @ts-check
// Icons of the buttons.
import { drawing } from "../../page/static/dom.js";

const SHAPES = {
  shown: '<path d="M1.5 8s2.4-4.5 6.5-4.5S14.5 8 14.5 8s-2.4 4.5-6.5 4.5S1.5 8 1.5 8z"/><circle cx="8" cy="8" r="2"/>',
  hidden:
    '<path d="M3.4 5.1C2.1 6.4 1.5 8 1.5 8s2.4 4.5 6.5 4.5c1 0 2-.3 2.8-.7M6 3.8c.6-.2 1.3-.3 2-.3 4.1 0 6.5 4.5 6.5 4.5s-.6 1.2-1.8 2.4M2.5 2.5l11 11"/>',
  repeat: '<path d="M13 8.2a5 5 0 1 1-1.5-3.7L13 6"/><path d="M13.2 2.4V6H9.6"/>',
  continue: '<path d="M3 3.2v9.6"/><path d="M6.2 3.4v9.2L13 8z"/>',
  stop: '<rect x="3.8" y="3.8" width="8.4" height="8.4" rx="0.8"/>',
  remove: '<path d="M2.5 4.5h11M6 4.3V2.5h4v1.8M4.2 4.7l.6 8.8h6.4l.6-8.8M6.7 7v4M9.3 7v4"/>',
};

/** @param {keyof typeof SHAPES} name */
export function icon(name) {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" class="dwr-icon dwr-icon-${name}" viewBox="0 0 16 16" aria-hidden="true">`;
  return drawing(`${open}${SHAPES[name]}</svg>`, "image/svg+xml");
}
