// Filters that are kept under a name: at the server, for everyone who may read.

import { Problem, ask } from "./ask.js";
import { byId, element } from "./dom.js";

/** @typedef {{ name: string, filter: string }} Saved */

const choice = /** @type {HTMLSelectElement} */ (byId("saved"));

/** @param {() => import("./state.js").State} state @param {(changed: Partial<import("./state.js").State>) => void} change
 * @param {(problem: Problem) => void} complain */
export function startSavedFilters(state, change, complain) {
  choice.onchange = () => {
    if (choice.value) change({ filters: splitConditions(choice.value) });
    choice.value = "";
  };
  byId("save-filter").onsubmit = (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const saved = { name: new FormData(form).get("name"), filter: state().filters.join(";") };
    tell(ask("filters", { method: "PUT", body: saved }).then(() => form.reset()), complain);
  };
}

/** @param {AbortSignal} signal */
export async function showSavedFilters(signal) {
  const { filters } = await ask("filters", { signal });
  if (signal.aborted) return;
  choice.hidden = filters.length === 0;
  choice.replaceChildren(element("option", { value: "" }, "Saved filters"),
    ...filters.map((/** @type {Saved} */ { name, filter }) => element("option", { value: filter }, name)));
}

/** The conditions of a filter: `;` between them, `\;` within. @param {string} filter */
export const splitConditions = (filter) => filter.split(/(?<!\\);/).filter(Boolean);

/** @param {Promise<unknown>} work @param {(problem: Problem) => void} complain */
async function tell(work, complain) {
  try {
    await work;
    await showSavedFilters(new AbortController().signal);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    complain(problem);
  }
}
