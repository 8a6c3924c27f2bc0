// Who came back: visitors by the week of their first event, and which share of them came in each later one. Asked for only
// once it is opened: it reads every event of the time.

import { byId, element } from "../dom.js";
import { exact, intervalLabel, percent } from "../format.js";
import { saveButtons } from "./files.js";
import { load } from "./panel.js";

const place = /** @type {HTMLDetailsElement} */ (byId("cohorts"));
const choice = /** @type {HTMLSelectElement} */ (byId("cohort-period"));
const body = byId("cohort-body");

/** @type {import("./panel.js").Round | null} */
let last = null;

/** @type {import("./panel.js").Panel} */
export const cohorts = {
  async load(round) {
    last = round;
    if (place.open) await show(round);
  },
};

export function startCohorts() {
  place.ontoggle = () => {
    if (place.open && last) show(last);
  };
  choice.onchange = () => last && show(last);
  byId("cohort-foot").replaceChildren(...saveButtons("Returning visitors", () =>
    last && { path: "cohorts", asked: question(last), name: "returning", round: last }));
}

/** Without `from`: by default about twelve periods up to the last date. @param {import("./panel.js").Round} round
 * @returns {Record<string, string>} */
function question({ question: { from: _, ...others } }) {
  return { ...others, period: choice.value };
}

/** @param {import("./panel.js").Round} round */
async function show(round) {
  const period = choice.value;
  await load(byId("cohort-panel"), round, `cohorts?${new URLSearchParams(question(round))}`, (report) => {
    const most = Math.max(0, ...report.rows.map((/** @type {any} */ row) => row.returned.length));
    const heads = ["First seen", "Visitors", ...Array.from({ length: most }, (__, i) => `+${i + 1}`)];
    body.replaceChildren(
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...report.rows.map((/** @type {any} */ row) => tableRow(row, period, round.state.tz))));
    const daily = report.total.daily_visitors;
    byId("cohort-note").textContent = daily ? `${exact(daily)} visitors have an id of one day only and cannot come back: they are left out.` : "";
  });
}

/** @param {any} row @param {string} period @param {string} tz */
function tableRow(row, period, tz) {
  return element("tr", {}, element("th", { scope: "row" }, intervalLabel(row.time, row.time, period, tz)),
    element("td", {}, exact(row.visitors)),
    ...row.returned.map((/** @type {number | null} */ came) => {
      const share = came === null || !row.visitors ? null : came / row.visitors;
      const cell = element("td", { class: "heat", title: exact(came) }, percent(share));
      cell.style.setProperty("--heat", String(share ?? 0));
      return cell;
    }));
}
