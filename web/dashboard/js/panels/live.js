// Who is here: visitors of the last minutes before the last pass, asked for anew every few seconds while the page is seen.

import { Problem, ask, mayAsk } from "../ask.js";
import { byId, element, isolated, setText } from "../dom.js";
import { UNKNOWN, exact, moment, short } from "../format.js";

const AGAIN_MS = 15_000;
const LISTS = { path: "Pages", source: "Sources" };
const NOT_KNOWN = `${UNKNOWN} visitors in 5 minutes`;

/** @param {() => import("../state.js").State} state */
export function startLive(state) {
  const again = () => {
    if (mayAsk() && !document.hidden) showLive(state());
  };
  setInterval(again, AGAIN_MS);
  document.addEventListener("visibilitychange", again);
  return () => {
    if (byId("live").hidden) setText(byId("live-now"), NOT_KNOWN);
    byId("live").hidden = false;
    again();
  };
}

/** @param {import("../state.js").State} state */
async function showLive({ site, bots, tz }) {
  const asked = new URLSearchParams({ limit: "6" });
  if (site) asked.set("site", site);
  if (bots !== "exclude") asked.set("bots", bots);
  try {
    const live = await ask(`live?${asked}`);
    if (!mayAsk()) return;
    const now = live.total.visitors_5;
    setText(byId("live-now"), `${short(now)} ${now === 1 ? "visitor" : "visitors"} in 5 minutes`);
    byId("live").classList.toggle("quiet-now", !now);
    setText(byId("live-more"), `${exact(live.total.visitors_30)} in 30 minutes, ${exact(live.total.events_30)} events. Up to ${moment(live.at, tz)}.`);
    byId("live-lists").replaceChildren(...Object.entries(LISTS).map(([by, title]) => list(live, by, title)));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    setText(byId("live-now"), NOT_KNOWN);
    setText(byId("live-more"), problem.message);
    byId("live-lists").replaceChildren();
  }
}

/** @param {any} live @param {string} by @param {string} title */
function list(live, by, title) {
  const rows = live.rows.filter((/** @type {any} */ row) => row.by === by && row.visitors_30);
  return element("table", { class: "values" }, element("caption", {}, title), element("tbody", {},
    ...rows.map((/** @type {any} */ row) => element("tr", {},
      element("th", { scope: "row" }, isolated(row.value ?? "(none)")), element("td", {}, exact(row.visitors_30))))));
}

export function forgetLive() {
  byId("live").hidden = true;
  byId("live-lists").replaceChildren();
}
