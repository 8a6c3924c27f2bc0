// Numbers and times as text, in the language of the browser. Pure.

const NUMBER = new Intl.NumberFormat();
const COMPACT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const DECIMAL = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const CHANGE = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero" });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** What stands for a number that cannot be known, and for one that is on its way. */
export const UNKNOWN = "–";
export const PENDING = "…";

/** @typedef {number | null | undefined} Known null: cannot be known; undefined: not asked, or not there yet */

/** @param {Known} number @param {(number: number) => string} format */
const unlessUnknown = (number, format) => (number === undefined ? PENDING : number === null ? UNKNOWN : format(number));

/** Every digit. @param {Known} number */
export const exact = (number) => unlessUnknown(number, (known) => DECIMAL.format(known));

/** Short: 12.3K. @param {Known} number */
export const short = (number) => unlessUnknown(number, (known) => (Math.abs(known) < 10_000 ? DECIMAL : COMPACT).format(known));

/** @param {Known} share between 0 and 1 */
export const percent = (share) => unlessUnknown(share, (known) => PERCENT.format(known));

/** "2m 05s" of seconds. @param {Known} seconds */
export const duration = (seconds) =>
  unlessUnknown(seconds, (known) => {
    const whole = Math.round(known);
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
    if (hours) return `${NUMBER.format(hours)}h ${two(minutes)}m`;
    return minutes ? `${minutes}m ${two(rest)}s` : `${rest}s`;
  });

/** By how much a number differs from the one before, as a share; null where that cannot be said.
 * @param {Known} now @param {Known} before */
export function change(now, before) {
  if (typeof now !== "number" || typeof before !== "number") return null;
  if (before === 0) return now === 0 ? 0 : null;
  return (now - before) / before;
}

/** @param {number | null} share */
export const changeText = (share) => (share === null ? "" : CHANGE.format(share));

/** @param {number} number */
export function bytes(number) {
  const power = number < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(number) / 10));
  return `${(number / 1024 ** power).toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${UNITS[power]}`;
}

/** Seconds since 1970 of an instant. @param {string} time */
export const seconds = (time) => Date.parse(time) / 1000;

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string} zone @param {Intl.DateTimeFormatOptions} options */
function dateFormat(zone, options) {
  const key = zone + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) formats.set(key, (found = new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone })));
  return found;
}

/** @param {string | number | Date} time @param {string} zone */
export const moment = (time, zone) => dateFormat(zone, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const OF_INTERVAL = {
  day: { weekday: "short", day: "numeric", month: "short" },
  week: { day: "numeric", month: "short", year: "numeric" },
  month: { month: "long", year: "numeric" },
  quarter: { month: "short", year: "numeric" },
  year: { year: "numeric" },
};
/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = { hour: "2-digit", minute: "2-digit" };

/** What an interval is called: "Sat, 28 Nov", "Sat, 28 Nov, 12:00–13:00".
 * @param {string} from @param {string} to @param {string} interval @param {string} zone */
export function intervalLabel(from, to, interval, zone) {
  const options = OF_INTERVAL[interval];
  const begin = dateFormat(zone, options ?? OF_INTERVAL.day).format(new Date(from));
  if (interval === "week") return `Week of ${begin}`;
  if (options) return begin;
  const clock = dateFormat(zone, CLOCK);
  return `${begin}, ${clock.format(new Date(from))}–${clock.format(new Date(to))}`;
}

/** The label of a tick of the time axis. @param {number} tick seconds @param {number} step_s @param {string} zone */
export function tickLabel(tick, step_s, zone) {
  const at = new Date(tick * 1000);
  if (step_s >= 27 * 86_400) return dateFormat(zone, { month: "short", year: "2-digit" }).format(at);
  const clock = dateFormat(zone, { ...CLOCK, hourCycle: "h23" }).format(at);
  if (step_s >= 86_400 || clock === "00:00") return dateFormat(zone, { day: "numeric", month: "short" }).format(at);
  return dateFormat(zone, CLOCK).format(at);
}

const REGIONS = new Intl.DisplayNames(undefined, { type: "region" });
const LANGUAGES = new Intl.DisplayNames(undefined, { type: "language" });

/** How a value of a dimension is shown: "Germany" for the country DE.
 * @param {string} dimension @param {string} value */
export function valueName(dimension, value) {
  try {
    if (dimension === "country" && /^[A-Z]{2}$/.test(value)) return REGIONS.of(value) ?? value;
    if (dimension === "language" && value) return LANGUAGES.of(value) ?? value;
  } catch {
    // a client may send whatever it likes as its language
  }
  return value;
}
