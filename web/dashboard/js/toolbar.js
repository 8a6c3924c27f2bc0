// What is shown: site, period, interval, comparison, bots, time zone. Each control says what the state says, and changes it.

import { byId, element } from "./dom.js";
import { BOTS, COMPARISONS, PERIODS, datesOf, intervalOf, intervalsOf } from "./state.js";

/** @typedef {import("./state.js").State} State */

const INTERVAL_LABELS = { "15m": "Quarter hours", hour: "Hours", day: "Days", week: "Weeks", month: "Months", quarter: "Quarters", year: "Years" };
const BOTS_LABELS = { exclude: "Without bots", include: "With bots", only: "Bots only" };
/** @type {string[]} */
let sites = [];
let limited = false;

/** @param {string} id @returns {HTMLSelectElement} */
const select = (id) => /** @type {HTMLSelectElement} */ (byId(id));
/** @param {string} id @returns {HTMLInputElement} */
const input = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** @param {() => State} state @param {(changed: Partial<State>) => void} change */
export function startToolbar(state, change) {
  byId("period").replaceChildren(element("legend", { class: "visually-hidden" }, "Time to show"),
    ...Object.entries(PERIODS).map(([name, label]) => element("label", {},
      element("input", { type: "radio", name: "period", value: name }), element("span", {}, label))));
  byId("period").onchange = (event) => {
    const period = /** @type {HTMLInputElement} */ (event.target).value;
    change(period === "custom" ? { period, ...datesOf(state(), new Date()), interval: "" } : { period, interval: "" });
  };
  fill(select("compare"), COMPARISONS);
  fill(select("bots"), BOTS_LABELS);
  fill(select("tz"), Object.fromEntries(zones().map((zone) => [zone, zone])));
  for (const name of /** @type {const} */ (["compare", "bots", "tz", "interval", "site"]))
    select(name).onchange = () => change({ [name]: select(name).value });
  for (const name of ["from", "to"]) input(name).onchange = () => changeDates(state(), change);
}

/** @param {State} state @param {(changed: Partial<State>) => void} change */
function changeDates(state, change) {
  const [from, to] = [input("from").value, input("to").value];
  if (from && to) change({ period: "custom", from: from < to ? from : to, to: from < to ? to : from, interval: "" });
}

/** @param {State} state @param {Date} now */
export function showToolbar(state, now) {
  const dates = datesOf(state, now);
  for (const radio of byId("period").querySelectorAll("input")) radio.checked = radio.value === state.period;
  byId("dates").hidden = state.period !== "custom";
  input("from").value = dates.from;
  input("to").value = dates.to;
  const known = intervalsOf(dates);
  fill(select("interval"), Object.fromEntries(Object.entries(INTERVAL_LABELS).filter(([name]) => known.includes(name))));
  select("interval").value = intervalOf(state, now);
  select("compare").value = state.compare;
  select("bots").value = BOTS.includes(state.bots) ? state.bots : BOTS[0];
  if (![...select("tz").options].some(({ value }) => value === state.tz)) select("tz").append(element("option", {}, state.tz));
  select("tz").value = state.tz;
  showSites(sites, state);
}

/** The sites that have events, or those that may be seen, one at a time. @param {string[]} known @param {State} state
 * @param {boolean} isLimited */
export function showSites(known, state, isLimited = limited) {
  sites = known;
  limited = isLimited;
  const all = [...new Set([...known, state.site].filter(Boolean))].sort();
  fill(select("site"), { ...(limited ? {} : { "": "All sites" }), ...Object.fromEntries(all.map((site) => [site, site])) });
  select("site").value = state.site || (limited ? all[0] : "");
}

/** @param {HTMLSelectElement} place @param {Record<string, string>} options */
function fill(place, options) {
  const wanted = Object.entries(options);
  const has = [...place.options].map(({ value, text }) => [value, text]);
  if (String(has) === String(wanted)) return; // an open list does not close
  place.replaceChildren(...wanted.map(([value, label]) => element("option", { value }, label)));
}

function zones() {
  try {
    return [...new Set(["UTC", ...Intl.supportedValuesOf("timeZone")])];
  } catch {
    return ["UTC"];
  }
}
