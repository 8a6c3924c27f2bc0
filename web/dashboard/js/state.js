// What the page shows, as its URL says it: period, site, filters, tabs. Pure; main.js alone touches the address bar.

/** @typedef {{
 *   period: string, from: string, to: string, interval: string, compare: string, site: string, tz: string,
 *   bots: string, filters: string[], measure: string, tabs: Record<string, string>, steps: string[], window: string,
 *   at: string, of: string
 * }} State
 * `from` and `to` are dates, both included, of the period "custom" only. `interval` "" is the one that fits.
 * `filters`: conditions as the API takes them. `tabs`: the dimension that each panel shows, where it is not its first. `steps`
 * and `window` are those of the funnel; `at` and `of` what is in the middle of the paths: a path, or the name of an event. */

/** @type {Record<string, string>} */
export const PERIODS = {
  today: "Today", yesterday: "Yesterday", "7d": "7 days", "28d": "28 days", "90d": "90 days", "12mo": "12 months",
  custom: "Custom",
};
const DAYS = { "7d": 7, "28d": 28, "90d": 90 };
export const COMPARISONS = { previous: "Previous period", year: "Year before", none: "Nothing" };
export const BOTS = ["exclude", "include", "only"];
const DATE = /^(19[7-9]\d|2\d{3})-\d\d-\d\d$/;
const INTERVALS = ["15m", "hour", "day", "week", "month", "quarter", "year"];
const LENGTH_DAYS = { "15m": 1 / 96, hour: 1 / 24, day: 1, week: 7, month: 28, quarter: 90, year: 365 };
const BARS_MOST = 400;
const WAYS = ["path", "event"];
const AT_MOST = 2000;
const TAB = /^tab\.([a-z]+)$/;

/** The zone of the browser. */
export function ownZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return !zone || zone === "Etc/Unknown" ? "UTC" : zone;
}

/** @returns {State} */
export const beginning = () => ({
  period: "28d", from: "", to: "", interval: "", compare: "previous", site: "", tz: ownZone(), bots: "exclude",
  filters: [], measure: "visitors", tabs: {}, steps: [], window: "7d", at: "", of: "path",
});

/** The state that a query string says. What it says wrong is left out. @param {string} search */
export function readState(search) {
  const state = beginning();
  const given = new URLSearchParams(search);
  /** @param {"period"|"interval"|"compare"|"bots"|"site"|"measure"|"window"|"at"|"of"} name @param {(value: string) => boolean} isGood */
  const take = (name, isGood) => {
    const value = given.get(name);
    if (value !== null && isGood(value)) state[name] = value;
  };
  take("period", (value) => Object.hasOwn(PERIODS, value));
  take("interval", (value) => INTERVALS.includes(value));
  take("compare", (value) => Object.hasOwn(COMPARISONS, value));
  take("bots", (value) => BOTS.includes(value));
  take("site", () => true);
  take("measure", (value) => /^[a-z_]+$/.test(value));
  take("window", (value) => /^(visit|[1-9]\d{0,2}d)$/.test(value));
  take("at", (value) => value.length <= AT_MOST);
  take("of", (value) => WAYS.includes(value));
  if (isZone(given.get("tz"))) state.tz = given.get("tz") ?? state.tz;
  const [from, to] = [given.get("from") ?? "", given.get("to") ?? ""];
  if (isDate(from) && isDate(to) && from <= to) Object.assign(state, { from, to });
  else if (state.period === "custom") state.period = beginning().period;
  state.filters = given.getAll("filter").filter(Boolean);
  state.steps = given.getAll("step").filter(Boolean).slice(0, 8);
  for (const [name, value] of given) {
    const panel = TAB.exec(name);
    if (panel) state.tabs[panel[1]] = value;
  }
  return state;
}

/** The query string of a state, without what is so by default; "" or with its "?". @param {State} state */
export function writeState(state) {
  const usual = beginning();
  const said = new URLSearchParams();
  for (const name of /** @type {const} */ (["site", "period", "interval", "compare", "tz", "bots", "measure", "window", "at", "of"]))
    if (state[name] !== usual[name]) said.set(name, state[name]);
  if (state.period === "custom") for (const name of /** @type {const} */ (["from", "to"])) said.set(name, state[name]);
  for (const filter of state.filters) said.append("filter", filter);
  for (const step of state.steps) said.append("step", step);
  for (const [panel, dimension] of Object.entries(state.tabs)) said.set(`tab.${panel}`, dimension);
  return String(said) && `?${said}`;
}

/** @param {string} text */
function isDate(text) {
  const day = new Date(text);
  return DATE.test(text) && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

/** @param {string | null} name */
function isZone(name) {
  try {
    return Boolean(name && new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

/** The date in a zone. @param {Date} now @param {string} zone */
export function dateIn(now, zone) {
  const parts = new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short" }).format(now);
  return parts.slice(0, 10);
}

/** The date so many days later. @param {string} date @param {number} days */
export const plusDays = (date, days) => new Date(Date.parse(date) + days * 86_400_000).toISOString().slice(0, 10);

/** The first and the last date of a state. @param {State} state @param {Date} now */
export function datesOf(state, now) {
  const today = dateIn(now, state.tz);
  if (state.period === "custom") return { from: state.from, to: state.to };
  if (state.period === "today") return { from: today, to: today };
  if (state.period === "yesterday") return { from: plusDays(today, -1), to: plusDays(today, -1) };
  if (state.period === "12mo") return { from: `${monthBefore(today, 11)}-01`, to: today };
  return { from: plusDays(today, 1 - DAYS[/** @type {"7d"} */ (state.period)]), to: today };
}

/** @param {string} date @param {number} months */
function monthBefore(date, months) {
  const [year, month] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1 - months, 1)).toISOString().slice(0, 7);
}

/** The intervals that cut so many days into bars that can be told apart, the one that fits best first.
 * @param {{from: string, to: string}} dates */
export function intervalsOf({ from, to }) {
  const days = (Date.parse(to) - Date.parse(from)) / 86_400_000 + 1;
  const fits = days <= 2 ? "hour" : days <= 92 ? "day" : days <= 800 ? "month" : "year";
  const others = INTERVALS.filter((each) => {
    const bars = days / LENGTH_DAYS[/** @type {"day"} */ (each)];
    return each !== fits && bars <= BARS_MOST && bars >= 1;
  });
  return [fits, ...others];
}

/** The interval that is shown. @param {State} state @param {Date} now */
export function intervalOf(state, now) {
  const known = intervalsOf(datesOf(state, now));
  return known.includes(state.interval) ? state.interval : known[0];
}

/** What every question of a state has in common. @param {State} state @param {Date} now
 * @returns {Record<string, string>} */
export function question(state, now) {
  const { from, to } = datesOf(state, now);
  /** @type {Record<string, string>} */
  const asked = { from, to, tz: state.tz };
  if (state.site) asked.site = state.site;
  if (state.filters.length) asked.filter = state.filters.join(";");
  if (state.bots !== "exclude") asked.bots = state.bots;
  return asked;
}

/** The condition that keeps one value of a dimension; null is "no value". @param {string} dimension @param {string | null} value */
export const condition = (dimension, value) => `${dimension}==${(value ?? "").replace(/[\\;|]/g, "\\$&")}`;

/** A condition in parts, as people read it. @param {string} filter */
export function readCondition(filter) {
  const found = /^([^=!<>]+)(==|!=|=~|!~|>|<)(.*)$/s.exec(filter);
  if (!found) return { dimension: filter, operator: "", value: "" };
  return { dimension: found[1], operator: found[2], value: found[3].replace(/\\([\\;|])/g, "$1") };
}
