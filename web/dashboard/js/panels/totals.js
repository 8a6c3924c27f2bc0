// The numbers at the top, each with its change. A click makes the chart show that one.

import { change, changeText, moment } from "../format.js";
import { byId, element, setText } from "../dom.js";
import { MEASURES } from "../measures.js";
import { showEmpty } from "./empty.js";
import { load, reportPath } from "./panel.js";

/** @typedef {import("../measures.js").Measure} Measure */

const place = byId("totals");
/** @type {Map<string, HTMLElement>} */
const cards = new Map();

/** The cards before they have numbers, so that nothing moves when these come. */
export function buildTotals() {
  for (const measure of MEASURES) cardOf(measure);
}

/** @type {import("./panel.js").Panel} */
export const totals = {
  async load(round) {
    const { state, question } = round;
    // Counters answer for these, long before visitors are counted.
    const quick = MEASURES.filter(isOfEvents).map((measure) =>
      load(place, round, reportPath(withComparison(askFor(measure, question), state)), (report) => {
        show(measure, report, round);
        if (!measure.event) showEmpty(round, report.total.events);
      }));
    const others = MEASURES.filter((measure) => !isOfEvents(measure));
    const asked = { ...question, measures: others.map(({ name }) => name).join(",") };
    const rest = load(place, round, reportPath(withComparison(asked, state)), (report) => {
      for (const measure of others) show(measure, report, round);
      setText(byId("reason"), report.reason ? `“–” stands where there is no exact number: ${report.reason}.` : "");
      const asOf = report.generation ? `As of ${moment(round.until * 1000, state.tz)}.` : "Nothing has been folded yet.";
      setText(byId("as-of"), `${asOf} Times are in ${state.tz}. ${botsText(state.bots)}`);
    });
    await Promise.all([...quick, rest]);
  },
};

/** @param {Measure} measure */
const isOfEvents = ({ name, of }) => (of ?? name) === "events";

/** The question for one number. @param {Measure} measure @param {Record<string, string>} question */
export const askFor = ({ name, of, event }, question) => ({ ...question, measures: of ?? name, ...(event ? { event } : {}) });

/** @param {Record<string, string>} asked @param {import("../state.js").State} state */
export const withComparison = (asked, state) => (state.compare === "none" ? asked : { ...asked, compare: state.compare });

/** @param {string} bots */
const botsText = (bots) =>
  bots === "only" ? "Only known bots." : bots === "include" ? "Known bots are included." : "Known bots are left out.";

/** @param {Measure} measure @param {any} report @param {import("./panel.js").Round} round */
function show(measure, report, round) {
  const name = measure.of ?? measure.name;
  const now = report.total[name];
  const before = report.total.previous?.[name];
  const card = cardOf(measure);
  const isChosen = round.state.measure === measure.name;
  card.setAttribute("aria-pressed", String(isChosen));
  card.onclick = () => round.change({ measure: measure.name });
  setText(part(card, ".number"), measure.format(now));
  part(card, ".number").title = now === null ? (report.reason ?? "") : `${measure.meaning}: ${measure.full(now)}`;
  const share = change(now, before);
  const mark = part(card, ".change");
  setText(mark, report.compare ? changeText(share) : "");
  mark.title = report.compare ? `${measure.full(before)} before` : "";
  mark.className = `change ${judge(measure, share)}`;
}

/** @param {Measure} measure @param {number | null} share */
const judge = (measure, share) => (!share || Math.abs(share) < 0.005 ? "" : // it is written as 0%
  share > 0 === (measure.isBetter === "more") ? "good" : "bad");

/** @param {Measure} measure */
function cardOf(measure) {
  let card = cards.get(measure.name);
  if (!card || !card.isConnected) {
    card = element("button", { type: "button", class: "card total", "data-measure": measure.name },
      element("span", { class: "label" }, measure.label),
      element("span", { class: "number" }, ""),
      element("span", { class: "change" }, ""));
    cards.set(measure.name, card);
    place.append(card);
  }
  return card;
}

/** @param {HTMLElement} card @param {string} selector */
const part = (card, selector) => /** @type {HTMLElement} */ (card.querySelector(selector));
