// A funnel: how many visitors took some steps one after another. Its steps stand in the address; it is asked for once it is
// opened.

import { byId, element, isolated } from "../dom.js";
import { duration, exact, percent, short } from "../format.js";
import { saveButtons } from "./files.js";
import { load } from "./panel.js";

const STEPS_MOST = 8;
const place = /** @type {HTMLDetailsElement} */ (byId("funnel"));
const form = /** @type {HTMLFormElement} */ (byId("funnel-form"));
const fields = byId("funnel-steps");
const body = byId("funnel-body");

/** @type {import("./panel.js").Round | null} */
let last = null;

/** @type {import("./panel.js").Panel} */
export const funnel = {
  async load(round) {
    last = round;
    fill(round.state.steps);
    if (round.state.steps.length) place.open = true;
    if (place.open) await show(round);
  },
};

export function startFunnel() {
  place.ontoggle = () => {
    if (place.open && last) show(last);
  };
  byId("funnel-more").onclick = () => {
    fields.append(field("", fields.children.length));
    /** @type {HTMLInputElement} */ (fields.lastElementChild?.querySelector("input")).focus();
    limit();
  };
  byId("funnel-foot").replaceChildren(...saveButtons("Funnel", () =>
    last && last.state.steps.length > 1 ? { path: "funnel", asked: question(last), name: "funnel", round: last } : null));
  form.onsubmit = (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const steps = given.getAll("step").map((step) => String(step).trim()).filter(Boolean);
    last?.change({ steps, window: String(given.get("window")) });
  };
}

/** @param {string[]} steps */
function fill(steps) {
  const shown = [...fields.querySelectorAll("input")].map(({ value }) => value).filter(Boolean);
  if (fields.children.length && (!steps.length || String(shown) === String(steps))) return; // what is typed stays
  fields.replaceChildren(...(steps.length ? steps : ["", ""]).map(field));
  limit();
}

const limit = () => {
  byId("funnel-more").hidden = fields.children.length >= STEPS_MOST;
};

/** @param {string} step @param {number} index */
const field = (step, index) =>
  element("label", {}, `Step ${index + 1} `, element("input", { name: "step", value: step, autocomplete: "off", spellcheck: "false",
    placeholder: ["path==/pricing", "event==signup"][index] ?? "event==…" }));

/** @param {import("./panel.js").Round} round */
const question = ({ question: asked, state: { steps, window } }) => ({ ...asked, steps: steps.join(";;"), window });

/** @param {import("./panel.js").Round} round */
async function show(round) {
  const { steps, window } = round.state;
  byId("funnel-foot").hidden = steps.length < 2;
  /** @type {HTMLSelectElement} */ (byId("funnel-window")).value = window;
  if (steps.length < 2) return body.replaceChildren();
  await load(byId("funnel-panel"), round, `funnel?${new URLSearchParams(question(round))}`, (report) => {
    body.replaceChildren(
      element("thead", {}, element("tr", {}, ...["Step", "Visitors", "Of the first", "Of the one before", "Median time"].map((text) =>
        element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...report.steps.map(row)));
    const daily = report.total.daily_visitors;
    byId("funnel-note").textContent = [report.reason, daily && `${exact(daily)} of them have an id of one day only: what they do on the next day is another visitor's.`]
      .filter(Boolean).join(" ");
  });
}

/** @param {any} step */
function row(step) {
  const head = element("th", { scope: "row" }, isolated(step.filter));
  head.style.setProperty("--share-width", `${100 * (step.conversion ?? 0)}%`);
  return element("tr", {}, head, element("td", { title: exact(step.visitors) }, short(step.visitors)),
    element("td", {}, percent(step.conversion)), element("td", {}, percent(step.step_conversion)),
    element("td", {}, step.median_s === null ? "" : duration(step.median_s)));
}
