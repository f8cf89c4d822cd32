// @ts-check
// Brings plotly.js to the page.

/** Plotly, once for the page however many plots there are. @param {any} model @returns {Promise<any>} */
export function plotly(model) {
  const page = /** @type {any} */ (globalThis);
  page.__diffoptPlotly ??= load(model).catch((error) => {
    page.__diffoptPlotly = undefined; // the next plot tries again
    throw error;
  });
  return page.__diffoptPlotly;
}

/** The text of plotly.js. @param {any} model @returns {Promise<string>} */
export async function plotlySource(model) {
  const packed = new Blob([await bundle(model)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(packed).text();
}

/** @param {any} model */
async function load(model) {
  const source = await plotlySource(model);
  const parts = ["const module = { exports: {} };\n", source, "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The compressed plotly.js: from the bundle's model, or, where buffers were dropped on the way, as text on request.
 * @param {any} model @returns {Promise<BlobPart>} */
async function bundle(model) {
  try {
    const id = model.get("_bundle").replace("IPY_MODEL_", "");
    const data = (await model.widget_manager.get_model(id)).get("data");
    if (data?.byteLength) return data;
  } catch {
    // fall through: ask
  }
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => reject(new Error("plotly.js did not arrive from the kernel")), 60_000);
    /** @param {any} message */
    const take = (message) => {
      if (message?.k !== "bundle") return;
      clearTimeout(timeout);
      model.off("msg:custom", take);
      resolve(Uint8Array.from(atob(message.data), (character) => character.charCodeAt(0)));
    };
    model.on("msg:custom", take);
    model.send({ k: "bundle" });
  });
}
