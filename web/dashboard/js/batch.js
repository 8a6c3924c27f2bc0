// Reports with a filter are asked together, for the server then reads the events that match once. What each asks, and which part
// of the answer is its own. Pure; ask.js asks.

const EACH = ["by", "interval", "week", "event", "limit", "measures", "compare"]; // what each report has of its own
export const REPORTS_MOST = 12;
const LENGTH_MOST = 6000; // a request of the server's most, without the names of hosts and headers

/** @param {string} path */
const askedBy = (path) => new URLSearchParams(path.slice(path.indexOf("?")));

/** What reports have in common that may be asked together; null for a question that is asked alone. @param {string} path */
export function commonOf(path) {
  const asked = askedBy(path);
  if (!path.startsWith("report?") || !asked.has("filter") || asked.has("format")) return null;
  for (const name of EACH) asked.delete(name);
  return String(asked);
}

/** Whether a report needs no visitors: it is answered long before those that do, and must not wait for them. @param {string} path */
export const isQuick = (path) => askedBy(path).get("measures") === "events";

/** The question for several reports that have `common` in common; null where it is not one, or too long. @param {string} common
 * @param {string[]} paths */
export function batchPath(common, paths) {
  const own = paths.map((path) => Object.fromEntries([...askedBy(path)].filter(([name]) => EACH.includes(name))));
  const path = `batch?${common}&${new URLSearchParams({ reports: JSON.stringify(own) })}`;
  return paths.length > 1 && path.length <= LENGTH_MOST ? path : null;
}

/** The report at a place of the answer, as it would be alone, or its `problem`. @param {any} answer @param {number} place */
export function reportOf({ kind, reports, ...once }, place) {
  return { ...once, ...reports[place] };
}
