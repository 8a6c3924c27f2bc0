// Goals: what visitors shall do, how many did, and what that was worth. A goal is kept from the filters that are shown, or
// from a condition that is typed.

import { Problem, ask } from "../ask.js";
import { byId, element, isolated } from "../dom.js";
import { exact, percent, short } from "../format.js";
import { saveButtons } from "./files.js";
import { load } from "./panel.js";

const HEADS = ["Goal", "Visitors", "Rate", "Value"];

const body = element("tbody");
/** @type {import("./panel.js").Round | null} */
let last = null;
const place = element("section", { class: "card loading panel", "data-panel": "goals", "aria-label": "Goals" });
const save = saveButtons("Goals", () => last && { path: "goals/report", asked: last.question, name: "goals", round: last });

/** @type {import("./panel.js").Panel} */
export const goals = {
  async load(round) {
    last = round;
    const form = /** @type {HTMLFormElement} */ (place.querySelector("form"));
    form.onsubmit = (event) => {
      event.preventDefault();
      keep(form, round);
    };
    await load(place, round, `goals/report?${new URLSearchParams(round.question)}`, (report) => {
      body.replaceChildren(...report.goals.map((/** @type {any} */ goal) => row(goal, round)));
      for (const button of save) button.hidden = !report.goals.length;
    });
  },
};

export function buildGoals() {
  body.replaceChildren();
  place.classList.add("loading");
  place.replaceChildren(
    element("div", { class: "head" }, element("h2", {}, "Goals")),
    element("table", { class: "values", id: "top-goals" },
      element("thead", {}, element("tr", {}, ...HEADS.map((text) => element("th", { scope: "col" }, text)))), body),
    element("div", { class: "foot" }, ...save),
    element("details", { "data-all": true }, element("summary", {}, "Add a goal"),
      element("form", { class: "stack" },
        element("label", {}, "Name ", element("input", { name: "name", required: true, maxlength: 100, autocomplete: "off" })),
        element("label", {}, "Who ", element("input", { name: "filter", required: true, placeholder: "event==signup", autocomplete: "off", spellcheck: "false" })),
        element("label", {}, "Worth ", element("input", { name: "value", type: "number", step: "any", placeholder: "as each event says" })),
        element("button", { type: "submit" }, "Keep"))));
  byId("breakdowns").append(place);
}

/** @param {any} goal @param {import("./panel.js").Round} round */
function row(goal, round) {
  const head = element("th", { scope: "row" },
    element("button", { type: "button", class: "pick", title: `Only ${goal.filter}`,
      onclick: () => round.change({ filters: [...new Set([...round.state.filters, goal.filter])] }) }, isolated(goal.goal)));
  head.style.setProperty("--share-width", `${100 * (goal.rate ?? 0)}%`);
  const remove = element("button", { type: "button", class: "link", "data-all": true, "aria-label": `Delete the goal ${goal.goal}`,
    onclick: () => change(() => ask(`goals?${new URLSearchParams({ name: goal.goal })}`, { method: "DELETE" }), round) }, "×");
  return element("tr", {}, head, element("td", { title: `${exact(goal.visitors)} by ${exact(goal.events)} events` }, short(goal.visitors)),
    element("td", {}, percent(goal.rate)), element("td", { title: exact(goal.value_sum) }, short(goal.value_sum), " ", remove));
}

/** @param {HTMLFormElement} form @param {import("./panel.js").Round} round */
function keep(form, round) {
  const given = new FormData(form);
  const worth = given.get("value");
  const goal = { name: given.get("name"), filter: given.get("filter"), ...(worth ? { value: Number(worth) } : {}) };
  change(async () => {
    await ask("goals", { method: "PUT", body: goal });
    form.reset();
  }, round);
}

/** @param {() => Promise<unknown>} work @param {import("./panel.js").Round} round */
async function change(work, round) {
  try {
    await work();
    await goals.load(round);
  } catch (problem) {
    if (problem instanceof Problem) round.complain(problem);
    else throw problem;
  }
}
