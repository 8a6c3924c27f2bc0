// Erasing one visitor for good: first what there is of them, then the id once more, then what happened.

import { Problem, ask } from "../ask.js";
import { byId, element, isolated, setText } from "../dom.js";
import { exact } from "../format.js";

/** @typedef {{ events: number, days: number | null, first_day: string | null, last_day: string | null, sites: { site: string | null, events: number }[] }} Found */

const form = /** @type {HTMLFormElement} */ (byId("erasure-form"));
const confirming = /** @type {HTMLFormElement} */ (byId("erasure-confirm"));
const said = byId("erasure-said");

/** What was looked at: only that can be erased. @type {string} */
let visitor = "";

/** @param {(problem: Problem) => void} complain */
export function startErasure(complain) {
  form.onsubmit = (event) => {
    event.preventDefault();
    look(String(new FormData(form).get("visitor")), complain);
  };
  form.oninput = forgetErasure;
  confirming.onsubmit = (event) => {
    event.preventDefault();
    if (String(new FormData(confirming).get("again")) !== visitor) setText(byId("erasure-state"), "That is another id. Nothing was erased.");
    else erase(complain);
  };
}

export function forgetErasure() {
  visitor = "";
  confirming.hidden = true;
  confirming.reset();
  said.replaceChildren();
  setText(byId("erasure-state"), "");
}

const path = () => `visitors/${encodeURIComponent(visitor)}`;

/** @param {string} id @param {(problem: Problem) => void} complain */
async function look(id, complain) {
  forgetErasure();
  setText(byId("erasure-state"), "Looking…");
  try {
    visitor = id;
    const found = await ask(path());
    if (visitor !== id) return;
    setText(byId("erasure-state"), "");
    said.replaceChildren(...preview(found));
    confirming.hidden = false;
  } catch (problem) {
    forgetErasure();
    tell(problem, complain);
  }
}

/** @param {Found} found */
function preview({ events, days, first_day: first, last_day: last, sites }) {
  const when = days ? ` on ${exact(days)} ${days === 1 ? "day" : "days"}, ${first === last ? first : `from ${first} to ${last}`} (UTC)` : "";
  return [
    element("p", {}, `The archive has ${exact(events)} ${events === 1 ? "event" : "events"} of this visitor${when}. `,
      "An erasure takes them out, and every line of the log and of the quarantine that holds the id; it cannot be taken back. Backups and exports keep what they have."),
    element("ul", { "aria-label": "Events by site" }, ...sites.map(({ site, events: of }) => element("li", {}, isolated(site ?? "(none)"), `: ${exact(of)}`))),
  ];
}

/** @param {(problem: Problem) => void} complain */
async function erase(complain) {
  const button = /** @type {HTMLButtonElement} */ (confirming.querySelector("button"));
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // `disabled` would take the keyboard's focus away
  setText(byId("erasure-state"), "Erasing…");
  try {
    const done = await ask(path(), { method: "DELETE" });
    forgetErasure();
    form.reset();
    setText(byId("erasure-state"), done.state === "pending"
      ? "The request is recorded: the next pass erases the visitor. Health shows when no erasure waits any more."
      : `Erased: ${exact(done.events)} events, ${exact(done.lines)} lines of the log, ${exact(done.quarantined)} of the quarantine.`);
  } catch (problem) {
    setText(byId("erasure-state"), "Nothing is known to be erased: look at the visitor again.");
    tell(problem, complain);
  } finally {
    button.ariaDisabled = "false";
  }
}

/** @param {unknown} problem @param {(problem: Problem) => void} complain */
function tell(problem, complain) {
  if (!(problem instanceof Problem)) throw problem;
  complain(problem);
}
