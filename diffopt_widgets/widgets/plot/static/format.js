// @ts-check
// Numbers and names as text. No page.

/** A number as one writes it: four digits, a power of ten where there would be many zeros.
 * @param {number} value @param {number} [digits] */
export function formatNumber(value, digits = 4) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e5)
      ? value.toExponential(digits - 1)
      : String(Number(value.toPrecision(digits)));
  return text
    .replace(/\.?0+e/, "e")
    .replace("e+", "e")
    .replaceAll("-", "−");
}

/** @type {Record<string, string>} */
const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", $: "&#36;", "%": "&#37;" };

/** Characters that XML does not allow, so that no browser shows a picture with one of them; plain_text.py has the same. */
const UNSHOWABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]/gu;

/** A text that Plotly shows as it is: in names it reads some HTML, `%{x}` and, where a page has MathJax, `$x$`.
 * @param {string} text */
export const plotlyText = (text) => text.replace(UNSHOWABLE, "\ufffd").replace(/[&<>$]|%(?={)/g, (sign) => SIGNS[sign]);
