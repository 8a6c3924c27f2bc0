// The chart of one number over time, the period before behind it. What is not over yet is lighter; what is not known is a
// gap. The same stands in a table below it.

import { annotationsOf, listAnnotations, placed } from "../annotations.js";
import { intervalLabel, seconds, short, tickLabel } from "../format.js";
import { byId, element, isolated, setText } from "../dom.js";
import { measureOf } from "../measures.js";
import { COMPARISONS, dateIn, datesOf, intervalOf } from "../state.js";
import { saveButtons } from "./files.js";
import { load, reportPath } from "./panel.js";
import { askFor, withComparison } from "./totals.js";

const place = byId("chart-panel");
const canvas = byId("chart");
const HEIGHT = 260;
/** @type {Record<string, number>} */
const LENGTH_S = { "15m": 900, hour: 3600, day: 86_400, week: 7 * 86_400, month: 28 * 86_400, quarter: 90 * 86_400, year: 365 * 86_400 };
// Seconds between two marks of the time: hours, days, months of 30 and years of 365 days, as uPlot counts them.
const TIME_STEPS = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 30, 60, 90, 120, 180, 365, 730, 1825].map((days) => 24 * days)]
  .map((hours) => 3600 * hours);
const WHOLE_STEPS = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** @type {any} */
let plot = null;
/** @type {(() => void) | null} */
let redraw = null;

/** @type {import("./panel.js").Panel} */
export const chart = {
  async load(round) {
    const interval = intervalOf(round.state, round.now);
    const measure = measureOf(round.state.measure);
    setText(byId("chart-title"), `${measure.label} by ${interval}`);
    setText(byId("chart-hint"), hint(round));
    const asked = withComparison(askFor(measure, { ...round.question, interval }), round.state);
    byId("chart-foot").replaceChildren(...saveButtons("Chart", () => ({ path: "report", asked, name: round.state.measure, round })));
    /** @type {import("../annotations.js").Annotation[]} */
    let notes = [];
    /** @type {any} */
    let shown = null;
    redraw = () => shown && show(shown, notes, round, noteAgain);
    const noteAgain = async () => {
      const found = await annotationsOf(round);
      if (round.signal.aborted) return;
      notes = found;
      redraw?.();
    };
    await Promise.all([noteAgain(), load(place, round, reportPath(asked), (report) => {
      shown = report;
      redraw?.();
    })]);
  },
};

/** In the colours and the width of now. */
export function drawAgain() {
  redraw?.();
}

export function forgetChart() {
  plot?.destroy();
  plot = redraw = null;
}

/** @param {any} report @param {import("../annotations.js").Annotation[]} notes @param {import("./panel.js").Round} round
 * @param {() => void} noteAgain */
function show(report, notes, round, noteAgain) {
  const { state, until } = round;
  const measure = measureOf(state.measure);
  const name = measure.of ?? measure.name;
  const ends = [...report.rows.slice(1).map((/** @type {any} */ row) => row.time), report.to];
  const rows = report.rows.map((/** @type {any} */ row, /** @type {number} */ i) => {
    const [from, to] = [seconds(row.time), seconds(ends[i])];
    const number = from <= until ? row[name] : null; // what has not come is unknown, not 0
    return { from, to, label: intervalLabel(row.time, ends[i], report.interval, state.tz), number, isOver: to <= until,
      before: row.previous?.[name] ?? null };
  });
  const marked = placed(notes, rows, (time_s) => dateIn(new Date(1000 * time_s), state.tz));
  listAnnotations(marked, rows, round, noteAgain);
  fillTable(rows, measure, state, marked);
  plot?.destroy();
  plot = new uPlot(options(report, rows, measure, state, marked), dataOf(rows), canvas);
}

/** @param {import("./panel.js").Round} round */
function hint({ state, now }) {
  const behind = state.compare === "none" ? "" : `The line is the ${COMPARISONS[/** @type {"year"} */ (state.compare)].toLowerCase()}. `;
  return behind + (datesOf(state, now).to >= dateIn(now, state.tz) ? "Lighter: not over yet." : "");
}

/** @param {any[]} rows */
function dataOf(rows) {
  const known = (/** @type {boolean} */ isOver) => rows.map((row) => (row.isOver === isOver ? row.number : null));
  return [rows.map(({ from }) => from), known(true), known(false), rows.map(({ before }) => before)];
}

/** @typedef {Map<number, import("../annotations.js").Annotation[]>} Marked by the place of the bar */

/** @param {any[]} rows @param {import("../measures.js").Measure} measure @param {import("../state.js").State} state @param {Marked} marked */
function fillTable(rows, measure, { compare }, marked) {
  const said = new Map([...marked].map(([place, found]) => [rows[place], found.map(({ text }) => text).join("; ")]));
  const head = ["Time", measure.label, ...(compare === "none" ? [] : [COMPARISONS[/** @type {"year"} */ (compare)]]), ...(marked.size ? ["Note"] : [])];
  byId("chart-table-head").replaceChildren(...head.map((text) => element("th", { scope: "col" }, text)));
  byId("chart-table-rows").replaceChildren(...rows.filter(({ number }) => number !== null).toReversed().map((row) =>
    element("tr", {}, element("th", { scope: "row" }, isolated(row.label)), element("td", {}, measure.full(row.number)),
      compare !== "none" && element("td", {}, measure.full(row.before)),
      marked.size > 0 && element("td", { class: "note" }, isolated(said.get(row) ?? "")))));
}

/** @param {any} report @param {any[]} rows @param {import("../measures.js").Measure} measure @param {import("../state.js").State} state
 * @param {Marked} marked */
function options({ from, to, interval }, rows, measure, state, marked) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const bars = uPlot.paths.bars({ size: [0.82, Infinity], align: 1, radius: 0.08 }); // a bar begins where its hour begins
  const said = (/** @type {any} */ _, /** @type {any} */ number) => (number === null ? "" : measure.full(number));
  const series = { width: 0, paths: bars, points: { show: false }, value: said };
  const least = ["visitors", "visits", "events", "views"].includes(measure.name) ? 4 : 0;
  return {
    width: canvas.clientWidth || 600,
    height: HEIGHT,
    scales: {
      x: { range: () => [seconds(from), seconds(to)] },
      y: { range: (/** @type {any} */ _, /** @type {any} */ __, /** @type {number} */ most) => [0, Math.max(least, most * 1.08) || 1] },
    },
    axes: [
      { ...axis, size: 32, space: 64, grid: { show: false },
        incrs: TIME_STEPS.filter((step) => step >= LENGTH_S[interval]), // no mark within a bar
        values: (/** @type {any} */ _, /** @type {number[]} */ at, /** @type {any} */ __, /** @type {any} */ ___, /** @type {number} */ step_s) =>
          at.map((tick) => tickLabel(tick, step_s, state.tz)) },
      { ...axis, size: 56, ...(least ? { incrs: WHOLE_STEPS } : {}),
        values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((number) => (least ? short(number) : measure.format(number))) },
    ],
    series: [
      { label: interval, value: (/** @type {any} */ _, /** @type {any} */ __, /** @type {any} */ ___, /** @type {number} */ i) => rows[i]?.label ?? "" },
      { ...series, label: measure.label, fill: colour("bar") },
      { ...series, label: "So far", fill: colour("bar-unfinished") },
      { label: "Before", stroke: colour("before"), width: 2, dash: [5, 4], points: { show: false }, spanGaps: false,
        paths: uPlot.paths.stepped({ align: 1 }), value: said, show: state.compare !== "none" },
    ],
    hooks: { draw: [(/** @type {any} */ drawn) => drawMarks(drawn, [...marked.keys()].map((place) => rows[place]), colour("note"))] },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { show: false },
      // The bar under the pointer is the last that begins at or before it, not the one whose beginning is nearest.
      dataIdx: (/** @type {any} */ drawn, /** @type {any} */ _, /** @type {number} */ nearest, /** @type {number} */ x) =>
        Math.max(0, drawn.data[0][nearest] > x ? nearest - 1 : nearest),
    },
  };
}

/** A line at each bar with a note, with a flag on top. What it says stands below the chart. @param {any} drawn
 * @param {import("../annotations.js").Bar[]} bars @param {string} colour */
function drawMarks(drawn, bars, colour) {
  const { ctx, bbox } = drawn;
  const dot = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = 1.5 * dot;
  ctx.setLineDash([2 * dot, 3 * dot]);
  for (const { from, to } of bars) {
    const x = Math.round(drawn.valToPos((from + to) / 2, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillRect(x - 4 * dot, bbox.top, 8 * dot, 5 * dot);
  }
  ctx.restore();
}
