import assert from "node:assert/strict";
import { test } from "node:test";
import { formatNumber, plotlyText } from "../../diffopt_widgets/widgets/plot/static/format.js";
import { arrange, layout } from "../../diffopt_widgets/widgets/plot/static/layout.js";
import { picture } from "../../diffopt_widgets/widgets/plot/static/picture.js";
import { RunRows } from "../../diffopt_widgets/widgets/plot/static/run_rows.js";

const curve = (name, dash = "solid", schedule = false) => ({ name, dash, schedule });
const PANELS = [
  { key: "loss", title: "Loss", scale: "linear", smooth: true, optional: false, columns: [curve("loss")] },
  {
    key: "rate",
    title: "Rate",
    scale: "log",
    smooth: false,
    optional: false,
    columns: [curve("applied_lr"), curve("lr", "dash", true)],
  },
  { key: "d", title: "d", scale: "log", smooth: false, optional: true, columns: [curve("d")] },
];
const RUN = {
  id: 1,
  key: "a",
  name: "a",
  color: "#123456",
  dash: "solid",
  schedule: false,
  visible: true,
  total: null,
};

function filled(rows, columns = ["loss", "applied_lr[x]", "lr[x]"]) {
  const store = new RunRows();
  const steps = Float64Array.from({ length: rows }, (_, i) => i + 1);
  const values = Float32Array.from({ length: rows * columns.length }, (_, i) => Math.sin(i) + 2);
  store.write(0, steps, columns, values);
  return store;
}

function draw(runs, stores, view = {}) {
  const store = (id) => stores.get(id);
  return picture({ panels: PANELS, runs, store, range: null, width: 600, smoothing: 0.9, ...view });
}

test("the schedule is drawn only for runs that ask for it, an optional panel only with its columns", () => {
  const stores = new Map([[1, filled(50)]]);
  assert.deepEqual(
    draw([RUN], stores).data.map((trace) => [trace.yaxis, trace.line.dash]),
    [
      ["y", "solid"],
      ["y", "solid"],
      ["y2", "solid"],
    ],
  );
  const asked = draw([{ ...RUN, schedule: true }], stores);
  assert.deepEqual(
    asked.data.map((trace) => trace.line.dash),
    ["solid", "solid", "solid", "dash"],
  );
  assert.equal(asked.shown.length, 2);
  stores.set(1, filled(50, ["loss", "d"]));
  assert.equal(draw([RUN], stores).shown.length, 3);
});

test("a run without applied rates has its group's rate in a panel of its own, which stands in for the other", () => {
  const group = { key: "group", title: "", scale: "log", optional: true, unless: "applied_lr", columns: [curve("lr")] };
  const panels = [...PANELS.slice(0, 2), group];
  const runs = [RUN, { ...RUN, id: 2, schedule: true }];
  const stores = new Map([
    [1, filled(50)],
    [2, filled(50, ["loss", "lr[x]"])],
  ]);
  /** @param {object[]} some */
  const keys = (some) => draw(some, stores, { panels, smoothing: 0 }).shown.map((panel) => panel.key);
  assert.deepEqual(keys([]), ["loss", "rate"]);
  assert.deepEqual(keys([runs[0]]), ["loss", "rate"]);
  assert.deepEqual(keys([runs[1]]), ["loss", "group"]);
  assert.deepEqual(keys(runs), ["loss", "rate", "group"]);
  const drawn = draw(runs, stores, { panels, smoothing: 0 }).data;
  assert.deepEqual(
    drawn.map((trace) => [trace.yaxis, trace.legendgroup]),
    [
      ["y", 1],
      ["y", 2],
      ["y2", 1],
      ["y3", 2],
    ],
  );
});

test("a run is drawn in its own line style, its schedule dashed, and each step of its loss solid", () => {
  const drawn = draw([{ ...RUN, dash: "longdash", schedule: true }], new Map([[1, filled(50)]])).data;
  assert.deepEqual(
    drawn.map((trace) => trace.line.dash),
    ["solid", "longdash", "longdash", "dash"],
  );
});

test("the run under the pointer stands out from the others", () => {
  const runs = [1, 2].map((id) => ({ ...RUN, id }));
  const stores = new Map(runs.map(({ id }) => [id, filled(50)]));
  const plain = draw(runs, stores).data;
  const picked = draw(runs, stores, { picked: 2 }).data;
  for (const [i, trace] of picked.entries()) assert.equal(trace.opacity < plain[i].opacity, trace.legendgroup === 1);
});

test("the title of a smoothed panel says what its line is", () => {
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  const titles = [0.9, 0.2, 0].map((smoothing) => {
    const drawn = draw([RUN], new Map([[1, filled(50)]]), { smoothing });
    return layout(drawn, { width: 1000, height: 300, log: {}, theme }).annotations[0].text.replace(/<.*>/, "");
  });
  assert.deepEqual(titles, [" (mean of 19)", "", ""]);
});

test("of more runs than fit under the pointer only the nearest tells its values", () => {
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  for (const [count, mode] of /** @type {[number, string][]} */ ([
    [10, "x unified"],
    [11, "closest"],
  ])) {
    const runs = Array.from({ length: count }, (_, id) => ({ ...RUN, id }));
    const drawn = draw(runs, new Map(runs.map(({ id }) => [id, filled(5)])));
    assert.equal(layout(drawn, { width: 1000, height: 300, log: {}, theme }).hovermode, mode);
  }
});

test("a hidden run is not drawn, and an empty panel keeps its axes", () => {
  const drawn = draw([{ ...RUN, visible: false }], new Map([[1, filled(50)]]));
  assert.equal(drawn.points, 0);
  assert.deepEqual(
    drawn.data.map((trace) => trace.yaxis),
    ["y", "y2"],
  );
});

test("however many rows and runs, about 4,000 points are drawn; in a zoom every row is", () => {
  const runs = Array.from({ length: 8 }, (_, i) => ({ ...RUN, id: i }));
  const stores = new Map(runs.map((run) => [run.id, filled(50_000)]));
  assert.ok(draw(runs, stores).points <= 4_200);
  const zoomed = draw([runs[0]], stores, { range: [1_000, 1_100], smoothing: 0 });
  assert.equal(zoomed.data[0].x.length, 103);
});

test("names are text: what Plotly would take for HTML is escaped", () => {
  const name = '<img src=x onerror="1">&amp;';
  const [, trace] = draw([{ ...RUN, name }], new Map([[1, filled(5)]])).data;
  assert.equal(trace.name, '&lt;img src=x onerror="1"&gt;&amp;amp;');
  assert.ok(!trace.hovertemplate.includes("<img"));
  assert.equal(plotlyText("a < b, 50 %, 3 $"), "a &lt; b, 50 %, 3 &#36;");
  assert.equal(plotlyText("a\u0001b\ud800 😀\t"), "a\ufffdb\ufffd 😀\t"); // what no picture may have
  assert.equal(plotlyText("%{y} $x$"), "&#37;{y} &#36;x&#36;");
});

test("panels are side by side when wide and stacked when narrow, without overlap or a hole", () => {
  const apart = ([a, b], [c, d]) => b <= c || d <= a;
  const wanted = { 320: 1, 539: 1, 540: 2, 929: 2, 930: 3, 1239: 3, 1240: 4 };
  for (const [width, most] of Object.entries(wanted)) {
    for (const count of [1, 2, 3, 4]) {
      const { columns, domains, height } = arrange(count, Number(width), 300);
      assert.equal(columns, count === 4 && most === 3 ? 2 : Math.min(count, most));
      assert.equal(height, (columns > 1 ? 300 : 240) * Math.ceil(count / columns));
      assert.equal(Math.ceil(count / columns), Math.ceil(count / most)); // no more rows than there must be
      for (const { x, y } of domains) for (const edge of [...x, ...y]) assert.ok(edge >= 0 && edge <= 1);
      assert.equal(domains.at(-1).x[1], 1);
      for (const [i, a] of domains.entries())
        for (const b of domains.slice(i + 1)) assert.ok(apart(a.x, b.x) || apart(a.y, b.y));
    }
  }
  assert.ok(arrange(2, 480, 300).domains[0].y[0] > arrange(2, 480, 300).domains[1].y[1]);
});

test("without a given height, panels grow with the screen, stay on it, and are never high and narrow", () => {
  const height = (/** @type {number} */ count, /** @type {number} */ width, /** @type {number} */ screen) =>
    arrange(count, width, null, false, screen).height;
  assert.ok(height(3, 1280, 1080) > height(3, 1280, 800));
  assert.ok(height(3, 1280, 1080) > height(3, 1000, 1080));
  for (const screen of [900, 1000, 1440]) assert.ok(height(3, 750, screen) <= screen - 400);
  for (const width of [350, 750, 1000, 1400]) {
    const { columns, rows, height } = arrange(3, width, null, false, 2160);
    assert.ok(height / rows < width / columns);
  }
});

test("where the page decides it, the panels have all its height, and as much room for larger type as it needs", () => {
  const room = { scale: 2, whole: 800 };
  const large = arrange(2, 1800, null, false, 1080, room);
  assert.equal(large.height, 800);
  assert.equal(large.columns, arrange(2, 900, null).columns);
  assert.equal(large.margin.l, 2 * arrange(2, 900, null).margin.l);
  assert.ok(arrange(3, 400, null, false, 400, { scale: 1, whole: 200 }).height > 500); // three that can be read, one below the other
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 22 };
  const drawn = draw([RUN], new Map([[1, filled(50)]]));
  assert.equal(layout(drawn, { width: 1800, height: null, whole: 800, log: {}, theme }).font.size, 22);
  assert.equal(layout(drawn, { width: 1800, height: null, whole: 800, log: {}, theme }).height, 800);
});

test("the switch makes smoothed panels logarithmic, and the axes share their steps", () => {
  const drawn = draw([RUN], new Map([[1, filled(50)]]));
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  for (const on of [false, true]) {
    const axes = layout(drawn, { width: 1000, height: 300, log: { loss: on, rate: !on }, theme });
    assert.equal(axes.yaxis.type, on ? "log" : "linear");
    assert.equal(axes.yaxis2.type, on ? "linear" : "log");
    assert.equal(axes.xaxis2.matches, "x");
  }
});

test("an axis has ticks only where there is something to measure", () => {
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  const ticks = (/** @type {any} */ drawn) => {
    const { xaxis, yaxis } = layout(drawn, { width: 1000, height: 300, log: {}, theme });
    return [xaxis.showticklabels, yaxis.showticklabels];
  };
  const drawn = draw([RUN], new Map([[1, filled(50)]]));
  assert.deepEqual(ticks(drawn), [true, true]);
  assert.deepEqual(ticks({ ...drawn, points: 0 }), [false, false]); // a bench before its first run
  assert.deepEqual(ticks({ ...drawn, data: [] }), [true, false]); // a panel that none of the runs has
});

test("the axis of a value that never changes begins at zero, so that its ticks tell it", () => {
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  const axis = (/** @type {number[]} */ y) => {
    const drawn = draw([RUN], new Map([[1, filled(50)]]));
    const data = drawn.data.map((trace) => ({ ...trace, y: Float32Array.from(y), x: Float64Array.from(y.keys()) }));
    return layout({ ...drawn, data }, { width: 1000, height: 300, log: {}, theme }).yaxis2.rangemode;
  };
  assert.equal(axis([1e-4, 1e-4, NaN, 1e-4]), "tozero");
  assert.equal(axis([1e-4, 2e-4]), "normal");
  assert.equal(axis([NaN]), "normal");
});

test("the schedule's own value has its axis at the right, only where a run shows it", () => {
  const theme = { text: "#000", back: "#fff", line: "#ccc", size: 11 };
  const view = { width: 1000, height: 300, log: { rate: true }, theme };
  for (const schedule of [false, true]) {
    const drawn = draw([{ ...RUN, schedule }], new Map([[1, filled(50)]]));
    const axes = layout(drawn, view);
    assert.equal("yaxis102" in axes, schedule);
    if (schedule) assert.equal(axes.yaxis102.overlaying, "y2");
    assert.equal(drawn.data.filter((trace) => trace.yaxis === "y102").length, schedule ? 1 : 0);
  }
});

test("numbers are written as one writes them", () => {
  const written = [0, 1, 0.25, 123.456, 1e-4, 3.4e-5, 5.1e-13, 100000, -2e-6, NaN, Infinity].map((value) =>
    formatNumber(value),
  );
  assert.deepEqual(written, ["0", "1", "0.25", "123.5", "1e−4", "3.4e−5", "5.1e−13", "1e5", "−2e−6", "–", "∞"]);
});

test("runs of one setting are the median line and the band of their range, of which one may be shorter or hidden", () => {
  const write = (values) => {
    const store = new RunRows();
    store.write(
      0,
      Float64Array.from(values, (_, i) => i + 1),
      ["loss"],
      Float32Array.from(values),
    );
    return store;
  };
  const stores = new Map([
    [1, write([5, 4, 9])],
    [2, write([1, 2, Infinity])],
    [3, write([3, 8])],
  ]);
  const runs = [1, 2, 3].map((id) => ({ ...RUN, id, key: String(id), name: `seed ${id}`, setting: "s", details: {} }));
  const loss = (list) => draw(list, stores, { panels: [PANELS[0]], smoothing: 0 });
  const { data, runs: count } = loss(runs);
  const [band, line] = data;
  assert.equal(count, 1);
  assert.deepEqual([...line.y], [3, 4, 9]);
  assert.deepEqual([...line.x], [1, 2, 3]);
  assert.deepEqual(line.customdata, [
    [1, 5],
    [2, 8],
    [9, 9],
  ]);
  assert.equal(line.name, "s (3 seeds)");
  assert.deepEqual([...band.x], [1, 2, 3, 3, 2, 1]);
  assert.deepEqual([...band.y], [5, 8, 9, 9, 2, 1]);
  const [hidden] = loss(runs.map((run) => ({ ...run, visible: run.id === 1 }))).data;
  assert.equal(hidden.name, "seed 1");
  assert.equal(hidden.fill, undefined);
});

test("a spike of one seed is in the band however much is thinned, and lines of a hundred runs stay few", () => {
  const stores = new Map();
  const runs = Array.from({ length: 100 }, (_, id) => {
    const store = filled(10_000);
    if (id === 7) store.write(5003, Float64Array.of(5004), ["loss"], Float32Array.of(99));
    stores.set(id, store);
    return { ...RUN, id, key: String(id), setting: `s${id % 20}`, details: {} };
  });
  const { data, points } = draw(runs, stores, { smoothing: 0 });
  const bands = data.filter(({ fill }) => fill);
  assert.equal(bands.filter(({ y }) => y.includes(99)).length, 1);
  assert.ok(data.length <= 20 * 2 * 2, `${data.length} traces`);
  assert.ok(points < 12_000, `${points} points`);
});
