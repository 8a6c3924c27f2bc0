// What visitors did before and after a page or an event, two steps each way. What is in the middle stands in the address; a
// click on a step puts that one there.

import { byId, element, isolated } from "../dom.js";
import { exact, percent, short } from "../format.js";
import { saveButtons } from "./files.js";
import { load } from "./panel.js";

/** @typedef {{ position: number, via?: string | null, value: string | null, others?: number, moves: number, visitors: number }} Step */
/** @typedef {import("./panel.js").Round} Round */

const LIMIT = "12";
const SIDES = [
  { side: -1, title: "Before", end: "The visit begins" },
  { side: 1, title: "After", end: "The visit ends" },
];
const place = /** @type {HTMLDetailsElement} */ (byId("paths"));
const form = /** @type {HTMLFormElement} */ (byId("paths-form"));
const body = byId("paths-body");

/** @type {Round | null} */
let last = null;

/** @type {import("./panel.js").Panel} */
export const paths = {
  async load(round) {
    last = round;
    const { at, of } = round.state;
    if (at) place.open = true;
    if (at || !form.contains(document.activeElement)) field("at").value = at; // what is being typed stays
    field("of").value = of;
    if (place.open) await show(round);
  },
};

export function startPaths() {
  place.ontoggle = () => {
    if (place.open && last) show(last);
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    last?.change({ at: field("at").value.trim(), of: field("of").value });
  };
  field("at").onfocus = suggest;
  byId("paths-foot").replaceChildren(...saveButtons("Paths", () =>
    last?.state.at ? { path: "paths", asked: { ...question(last), limit: "10000" }, name: "paths", round: last } : null));
}

/** @param {string} name @returns {HTMLInputElement} */
const field = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));

/** What the panels show may be chosen. */
function suggest() {
  const values = document.querySelectorAll(field("of").value === "event" ? "#top-events .pick" : "#top-pages .pick");
  byId("paths-known").replaceChildren(...[...values].map(({ textContent }) => element("option", { value: textContent })));
}

/** @param {Round} round */
const question = ({ question: asked, state: { at, of } }) => ({ ...asked, at, by: of });

/** @param {Round} round */
async function show(round) {
  const { at } = round.state;
  byId("paths-foot").hidden = !at;
  byId("paths-note").textContent = "";
  if (!at) return body.replaceChildren();
  const asked = new URLSearchParams({ ...question(round), limit: LIMIT });
  await load(byId("paths-panel"), round, `paths?${asked}`, (report) => {
    const { stays, visitors } = report.total;
    byId("paths-note").textContent = report.reason ?? `${exact(visitors)} visitors were there ${exact(stays)} times.`;
    body.replaceChildren(...SIDES.map((side) => table(side, report, round)));
  });
}

/** @param {{ side: number, title: string, end: string }} of @param {any} report @param {Round} round */
function table({ side, title, end }, report, round) {
  const heads = [title, "Times", "Of all", "Visitors"].map((text) => element("th", { scope: "col" }, text));
  const rows = ordered(report.rows, side).map((step) => row(step, end, report.total.stays, round));
  return element("table", { class: "values", id: side < 0 ? "paths-before" : "paths-after" },
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

/** The steps of one side as they are read: each first step, then the second steps behind it; last those of others.
 * @param {Step[]} steps @param {number} side -1 or 1 @returns {Step[]} */
export function ordered(steps, side) {
  const first = steps.filter(({ position }) => position === side);
  const second = steps.filter(({ position }) => position === 2 * side);
  const shown = first.filter(({ others, value }) => !others && value !== null);
  const isBehind = (/** @type {Step} */ step, /** @type {Step} */ { value }) => !step.others && step.via === value;
  const rest = second.filter((step) => !shown.some((before) => isBehind(step, before)));
  const others = first.filter((step) => !shown.includes(step));
  return [...shown.flatMap((each) => [each, ...second.filter((step) => isBehind(step, each))]), ...others, ...rest];
}

/** @param {Step} step @param {string} end @param {number} stays @param {Round} round */
function row(step, end, stays, round) {
  const share = stays ? step.moves / stays : null;
  const isSecond = Math.abs(step.position) > 1;
  const head = element("th", { scope: "row", class: [isSecond && "second", step.value === null && "absent"].filter(Boolean).join(" ") },
    isSecond && element("span", { class: "visually-hidden" }, step.via ? `By ${step.via}: ` : "Two steps away: "), name(step, end, round));
  head.style.setProperty("--share-width", `${100 * (share ?? 0)}%`);
  return element("tr", {}, head, element("td", { title: exact(step.moves) }, short(step.moves)), element("td", {}, percent(share)),
    element("td", { title: exact(step.visitors) }, short(step.visitors)));
}

/** @param {Step} step @param {string} end @param {Round} round */
function name({ others, value }, end, { change }) {
  if (others) return `${exact(others)} others`;
  if (value === null) return end;
  return element("button", { type: "button", class: "pick", title: `Around ${value}`, onclick: () => change({ at: value }) }, isolated(value));
}
