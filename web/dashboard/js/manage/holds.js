// Deletions on hold: what would go, how much, and a button that confirms just that.

import { Problem, ask } from "../ask.js";
import { byId, element, isolated, setText } from "../dom.js";
import { make } from "./secrets.js";
import { daysText, holdQuestion, holdsText, kindText, sizeText } from "./words.js";

/** @typedef {import("./words.js").Hold} Hold */

const dialog = /** @type {HTMLDialogElement} */ (byId("hold-dialog"));
const body = byId("holds-body");
const state = byId("holds-state");
let shown = "";

/** What is confirmed by the dialog. @type {{ kind: string, hold: Hold } | null} */
let asked = null;

/** @param {(problem: Problem) => void} complain */
export function startHolds(complain) {
  byId("hold-keep").onclick = () => dialog.close();
  byId("hold-delete").onclick = () => {
    dialog.close();
    if (asked) confirm(asked.kind, asked.hold, complain);
  };
}

/** @param {{ on_hold: Record<string, Hold>, confirmed: string[] }} retention */
export function showHolds({ on_hold: onHold, confirmed }) {
  setText(byId("holds-count"), holdsText(onHold, confirmed));
  const found = JSON.stringify([onHold, confirmed]);
  if (found === shown) return; // the keyboard may stand on a button
  shown = found;
  const kinds = Object.entries(onHold);
  if (!kinds.length) {
    body.replaceChildren(element("p", { class: "muted" },
      "Nothing waits. A deletion by retention of more than seven days and more than half of a kind would wait here for an answer."));
    return;
  }
  body.replaceChildren(
    element("p", {}, "Retention would delete most of a kind at once, so it waits. Nothing is deleted before it is confirmed, and then no more than is shown."),
    element("ul", { "aria-label": "Deletions on hold" }, ...kinds.map(([kind, hold]) => element("li", { class: "row" },
      element("p", {}, element("b", {}, isolated(kind)), `: ${kindText(kind).what}. ${sizeText(hold)}.`),
      confirmed.includes(kind) ? element("span", { class: "good" }, "Confirmed; the next pass deletes.") : deleteButton(kind, hold)))),
  );
}

export function forgetHolds() {
  dialog.close();
  asked = null;
  shown = "";
  body.replaceChildren();
  setText(state, "");
  setText(byId("holds-count"), "");
}

/** @param {string} kind @param {Hold} hold */
function deleteButton(kind, hold) {
  const button = element("button", { type: "button", class: "quiet", "aria-haspopup": "dialog", "aria-label": `Delete ${daysText(hold.days)} of the ${kind} …` }, "Delete …");
  button.onclick = () => {
    asked = { kind, hold };
    const { title, texts } = holdQuestion(kind, hold);
    setText(byId("hold-title"), title);
    byId("hold-text").replaceChildren(...texts.map((text) => element("p", {}, text)));
    dialog.showModal();
  };
  return button;
}

/** @param {string} kind @param {Hold} hold @param {(problem: Problem) => void} complain */
async function confirm(kind, { first, last, days }, complain) {
  setText(state, "Confirming…");
  try {
    await make(`holds/${kind}`, { first, last, days });
    setText(state, `Confirmed: the next pass deletes ${daysText(days)} of the ${kind}.`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    setText(state, "Nothing was confirmed.");
    complain(problem);
  }
  try {
    showHolds((await ask("status")).last_retention);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem; // the next round says it
  }
}
