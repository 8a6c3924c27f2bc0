// Holds and findings in words. Pure.

import { bytes, exact } from "../format.js";

/** @typedef {{ days: number, kept_days: number, bytes: number, first: string, last: string }} Hold */
/** @typedef {{ check: string, level: "ok" | "warning" | "wrong" | "unknown", found: string, do: string }} Finding */

/** What goes with each kind, and what stays. @type {Record<string, [what: string, stays: string]>} */
const KINDS = {
  log: ["the lines as they were received", "Archive and counters stay, and with them every report; a rebuild has no more to read than what is left."],
  archive: ["the events themselves", "Counters stay: events and visitors by day and dimension. Filters, funnels, paths and exports have no answer for these days any more."],
  counters: ["the last numbers of these days", "Nothing of these days stays but how many events they had in all."],
};

/** "1 day", "12 days". @param {number} count */
export const daysText = (count) => `${exact(count)} ${count === 1 ? "day" : "days"}`;

/** The days of a hold. @param {Hold} hold */
const spanText = ({ first, last }) => (first === last ? first : `${first} to ${last}`);

/** How much a hold is. @param {Hold} hold */
export const sizeText = (hold) => `${exact(hold.days)} of ${exact(hold.kept_days)} days that are kept, ${spanText(hold)} (UTC), ${bytes(hold.bytes)}`;

/** What a kind is, and what stays without it. @param {string} kind */
export const kindText = (kind) => ({ what: KINDS[kind]?.[0] ?? "", stays: KINDS[kind]?.[1] ?? "" });

/** What the dialog asks, and says. @param {string} kind @param {Hold} hold */
export function holdQuestion(kind, hold) {
  const { what, stays } = kindText(kind);
  return {
    title: `Delete ${daysText(hold.days)} of the ${kind} for good?`,
    texts: [
      `${sizeText(hold)}: ${what}. It cannot be taken back; a backup keeps what it has.`,
      stays,
      "If this is not meant, a setting is wrong: keep them, and look at the retention.",
    ],
  };
}

/** What the head of the section says. @param {Record<string, Hold>} onHold @param {string[]} confirmed */
export function holdsText(onHold, confirmed) {
  const waiting = Object.keys(onHold).filter((kind) => !confirmed.includes(kind)).length;
  if (waiting) return `${exact(waiting)} ${waiting === 1 ? "deletion waits" : "deletions wait"} for an answer`;
  return confirmed.length ? "confirmed; the next pass deletes" : "none";
}

/** @type {[Finding["level"], string][]} the worst first */
const LEVELS = [["wrong", "Wrong"], ["warning", "Warnings"], ["unknown", "Cannot be told from here"], ["ok", "Well"]];

/** Findings by severity, without empty groups. @param {Finding[]} findings
 * @returns {{ level: Finding["level"], title: string, findings: Finding[] }[]} */
export const bySeverity = (findings) => LEVELS
  .map(([level, name]) => ({ level, found: findings.filter((each) => each.level === level), name }))
  .filter(({ found }) => found.length)
  .map(({ level, found, name }) => ({ level, title: `${name}: ${exact(found.length)}`, findings: found }));

/** A text in which commands stand between backticks, as parts. @param {string} text
 * @returns {{ text: string, isCode: boolean }[]} */
export const commandsIn = (text) => {
  const parts = text.split("`");
  // An odd number of backticks ends none: then the text is shown as it is.
  if (parts.length % 2 === 0) return [{ text, isCode: false }];
  return parts.map((part, number) => ({ text: part, isCode: number % 2 === 1 })).filter((part) => part.text);
};

/** @param {Finding[]} findings */
export function verdictText(findings) {
  const count = (/** @type {string} */ level) => findings.filter((each) => each.level === level).length;
  const [wrong, warnings] = [count("wrong"), count("warning")];
  return wrong || warnings ? `${exact(wrong)} wrong, ${exact(warnings)} ${warnings === 1 ? "warning" : "warnings"}` : "Nothing wrong";
}
