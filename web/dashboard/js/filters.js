// The filters: a chip for each, and a form that adds one.

import { byId, element, isolated } from "./dom.js";
import { valueName } from "./format.js";
import { BREAKDOWNS, dimensionLabel } from "./measures.js";
import { readCondition } from "./state.js";

/** @typedef {import("./state.js").State} State */

/** @type {Record<string, string>} */
const OPERATORS = { "==": "is", "!=": "is not", "=~": "matches", "!~": "does not match" };

/** @param {() => State} state @param {(changed: Partial<State>) => void} change */
export function startFilters(state, change) {
  const names = BREAKDOWNS.flatMap(({ tabs }) => tabs.map(({ dimension }) => dimension));
  byId("filter-dimension").replaceChildren(...names.map((name) => element("option", { value: name }, dimensionLabel(name))));
  byId("filter-operator").replaceChildren(
    ...Object.entries(OPERATORS).map(([sign, words]) => element("option", { value: sign }, words)));
  byId("add-filter").onsubmit = (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const given = new FormData(form);
    const value = String(given.get("value")).replace(/[\\;]/g, "\\$&");
    change({ filters: [...state().filters, `${given.get("dimension")}${given.get("operator")}${value}`] });
    form.reset();
    /** @type {HTMLDetailsElement} */ (byId("filter-details")).open = false;
  };
}

/** @param {State} state @param {(changed: Partial<State>) => void} change */
export function showFilters(state, change) {
  const chips = state.filters.map((filter) => {
    const { dimension, operator, value } = readCondition(filter);
    const text = operator ? `${dimensionLabel(dimension)} ${OPERATORS[operator] ?? operator} ` : "";
    const shown = operator ? valueName(dimension, value) || "(none)" : filter;
    return element("li", {}, element("button", {
      type: "button", class: "chip", "aria-label": `Remove the filter ${text}${shown}`,
      onclick: () => change({ filters: state.filters.filter((each) => each !== filter) }),
    }, text, element("b", {}, isolated(shown)), element("span", { "aria-hidden": "true" }, " ×")));
  });
  byId("chips").replaceChildren(...chips);
  byId("save-details").hidden = state.filters.length === 0;
  byId("clear-filters").hidden = state.filters.length < 2;
  byId("clear-filters").onclick = () => change({ filters: [] });
}
