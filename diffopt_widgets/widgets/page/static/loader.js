// @ts-check
// All that anywidget imports for a model: a page never lets go of a module, so the widget's code is imported once for all models.

/** Modules of this page, by what names their code. @returns {Map<string, Promise<any>>} */
const modules = () => {
  const page = /** @type {any} */ (globalThis);
  return (page.__diffoptModules ??= new Map());
};

/** The module with this code, imported at the first call with this key. @param {string} key @param {string} code */
function imported(key, code) {
  const there = modules().get(key);
  if (there) return there;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const module = import(url).finally(() => URL.revokeObjectURL(url));
  modules().set(key, module);
  module.catch(() => modules().delete(key)); // the next model tries again
  return module;
}

/**
 * A widget whose code each model carries as `page_code`, so that it is at hand in a saved notebook too.
 * @param {string} key names the code
 */
export const shared = (key) => () => {
  /** @type {Promise<any> | undefined} */
  let widget;
  const made = (/** @type {any} */ model) =>
    (widget ??= imported(key, model.get("page_code")).then(({ default: own }) =>
      typeof own === "function" ? own() : own,
    ));
  return {
    initialize: async (/** @type {any} */ place) => (await made(place.model)).initialize?.(place),
    render: async (/** @type {any} */ place) => (await made(place.model)).render(place),
  };
};
