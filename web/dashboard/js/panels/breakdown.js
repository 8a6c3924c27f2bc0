// A panel that breaks the visitors down by a dimension, with a tab for each. A click on a value keeps only its events.

import { Problem, askAndShow, isKept } from "../ask.js";
import { byId, element, isolated } from "../dom.js";
import { exact, short, valueName } from "../format.js";
import { condition } from "../state.js";
import { saveButtons } from "./files.js";
import { load, reportPath } from "./panel.js";

/** @typedef {import("../measures.js").Tab} Tab */
/** @typedef {import("./panel.js").Round} Round */

const SHOWN = 9;
const ALL = 500;
const MOST = "10000";
// Of these a visitor's way can be asked.
const WAYS = { path: "path", entry: "path", exit: "path", event: "event" };
const COLUMNS = [{ name: "visitors", label: "Visitors" }, { name: "events", label: "Events" }];
const LONG_MS = 92 * 86_400_000;
const MEASURES = COLUMNS.map(({ name }) => name).join(",");

/** @param {{ name: string, title: string, tabs: Tab[] }} described @returns {import("./panel.js").Panel} */
export function breakdown({ name, title, tabs }) {
  const body = element("tbody");
  const first = element("th", { scope: "col" }, "");
  const heads = element("tr", {}, first, ...COLUMNS.map(({ label }) => element("th", { scope: "col" }, label)));
  // A table whose role is another one is no table to a screen reader.
  const table = element("div", { role: "tabpanel", "aria-label": title },
    element("table", { class: "values", id: `top-${name}` }, element("thead", {}, heads), body));
  const bar = element("div", { role: "tablist", "aria-label": title, class: "tabs" });
  const all = element("button", { type: "button", class: "link" }, "All");
  /** @type {import("./files.js").Saved | null} */
  let saved = null;
  const save = saveButtons(title, () => saved);
  const place = element("section", { class: "card loading panel", "data-panel": name, "aria-label": title },
    element("div", { class: "head" }, element("h2", {}, title), bar), table, element("div", { class: "foot" }, all, ...save));
  byId("breakdowns").append(place);
  showTabs(bar, tabs, tabs[0], () => {});

  return {
    async load(round) {
      const chosen = tabs.find((tab) => tab.dimension === round.state.tabs[name]) ?? tabs[0];
      showTabs(bar, tabs, chosen, (tab) => round.change({ tabs: { ...round.state.tabs, [name]: tab.dimension } }));
      const asked = { ...round.question, by: chosen.dimension, measures: MEASURES };
      all.onclick = () => showAll(round, asked, chosen, title);
      saved = { path: "report", asked: { ...asked, limit: MOST }, name: `${name}-${chosen.dimension}`, round };
      const path = reportPath({ ...asked, limit: String(SHOWN) });
      let isWhole = false;
      /** @param {any} report */
      const show = (report) => {
        first.textContent = chosen.label;
        body.replaceChildren(...rowsOf(report, chosen, round));
        all.hidden = report.rows.length < SHOWN;
        for (const button of save) button.hidden = !report.rows.length;
      };
      const whole = load(place, round, path, (report) => {
        isWhole = true;
        show(report);
      });
      if (isLong(round.question) && round.state.filters.length && !isKept(path)) {
        showEvents(round, reportPath({ ...asked, limit: String(SHOWN), measures: "events" }), (report) => isWhole || show(report));
      }
      await whole;
    },
  };
}

/** Over a long time visitors that match take seconds to count: events are shown before. @param {Record<string, string>} question */
const isLong = ({ from, to }) => Date.parse(to) - Date.parse(from) > LONG_MS;

/** What goes wrong here, the question for both says. @param {Round} round @param {string} path @param {(report: any) => void} show */
function showEvents({ signal }, path, show) {
  askAndShow(path, signal, (report) => signal.aborted || show(report)).catch((problem) => {
    if (!signal.aborted && !(problem instanceof Problem)) throw problem;
  });
}

/** @param {HTMLElement} bar @param {Tab[]} tabs @param {Tab} chosen @param {(tab: Tab) => void} choose */
function showTabs(bar, tabs, chosen, choose) {
  bar.hidden = tabs.length < 2;
  const had = bar.contains(document.activeElement);
  bar.replaceChildren(...tabs.map((tab) => element("button", {
    type: "button", role: "tab", "aria-selected": String(tab === chosen), tabindex: tab === chosen ? 0 : -1,
    onclick: () => choose(tab),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]);
    },
  }, tab.label)));
  if (had) /** @type {HTMLElement} */ (bar.querySelector("[aria-selected=true]")).focus();
}

/** @param {any} report @param {Tab} tab @param {Round} round */
function rowsOf(report, tab, round) {
  const most = Math.max(1, ...report.rows.map((/** @type {any} */ row) => row.events));
  return report.rows.map((/** @type {any} */ row) => {
    const label = row.value === null ? tab.absent : valueName(tab.dimension, row.value);
    const pick = element("button", { type: "button", class: "pick", title: `Only ${label}`, // the whole of what is cut off
      onclick: () => addFilter(round, tab.dimension, row.value) }, isolated(label));
    const head = element("th", { scope: "row", class: row.value === null ? "absent" : "" }, pick, wayButton(tab, row.value, round));
    head.style.setProperty("--share-width", `${(100 * row.events) / most}%`);
    return element("tr", {}, head, ...COLUMNS.map(({ name }) =>
      name in row ? element("td", { title: exact(row[name]) }, short(row[name])) : element("td", { class: "muted", title: "Being counted" }, "…")));
  });
}

/** Leads to what visitors did before and after a page or an event. @param {Tab} tab @param {string | null} value @param {Round} round */
function wayButton({ dimension }, value, { change }) {
  const of = WAYS[/** @type {"path"} */ (dimension)];
  if (!of || !value) return null;
  return element("button", { type: "button", class: "way", "aria-label": `Paths around ${value}`, title: "Before and after",
    onclick: () => {
      change({ at: value, of });
      closeAll();
      byId("paths").scrollIntoView();
    } });
}

/** @param {Round} round @param {string} dimension @param {string | null} value */
function addFilter({ state, change }, dimension, value) {
  const added = condition(dimension, value);
  if (!state.filters.includes(added)) change({ filters: [...state.filters, added] });
  closeAll();
}

function closeAll() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("all"));
  if (dialog.open) dialog.close();
}

/** @param {Round} round @param {Record<string, string>} asked @param {Tab} tab @param {string} title */
async function showAll(round, asked, tab, title) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("all"));
  const body = element("tbody");
  const search = element("input", { type: "search", placeholder: "Search", "aria-label": `Search ${tab.label.toLowerCase()}` });
  search.oninput = () => {
    for (const row of body.rows) row.hidden = !row.cells[0].innerText.toLowerCase().includes(search.value.toLowerCase());
  };
  const heads = [tab.label, ...COLUMNS.map(({ label }) => label)].map((label) => element("th", { scope: "col" }, label));
  byId("all-title").textContent = tab.label === title ? title : `${title}: ${tab.label.toLowerCase()}`;
  byId("all-body").replaceChildren(search,
    element("table", { class: "values" }, element("thead", {}, element("tr", {}, ...heads)), body));
  dialog.showModal();
  await load(byId("all-body"), round, reportPath({ ...asked, limit: String(ALL) }), (report) => {
    body.replaceChildren(...rowsOf(report, tab, round));
  });
}

