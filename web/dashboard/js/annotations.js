// What people note beside the numbers: a deploy, a campaign. Marked on the chart, listed below it and in its table, added and
// deleted here. Kept by the server, for all who may read.

import { Problem, ask } from "./ask.js";
import { byId, element, isolated } from "./dom.js";
import { moment, seconds } from "./format.js";
import { shared } from "./share.js";

/** @typedef {{ id: string, at: string, text: string, site: string | null }} Annotation */
/** @typedef {{ from: number, to: number, label: string }} Bar seconds since 1970, half open */
/** @typedef {import("./panels/panel.js").Round} Round */

const form = /** @type {HTMLFormElement} */ (byId("annotate"));

/** The bar that each is marked at, by the bar's place. A date is that of the zone of the chart; what is outside the chart is
 * not marked. Pure. @param {Annotation[]} all @param {Bar[]} bars @param {(time_s: number) => string} dateOf
 * @returns {Map<number, Annotation[]>} */
export function placed(all, bars, dateOf) {
  const dates = bars.map(({ from, to }) => [dateOf(from), dateOf(to - 1)]);
  /** @type {Map<number, Annotation[]>} */
  const found = new Map();
  for (const each of all) {
    const isDate = each.at.length === 10;
    const at = isDate ? 0 : seconds(each.at);
    const place = bars.findIndex(({ from, to }, i) =>
      isDate ? dates[i][0] <= each.at && each.at <= dates[i][1] : from <= at && at < to);
    if (place >= 0) found.set(place, [...(found.get(place) ?? []), each]);
  }
  return found;
}

/** Those of the sites that are shown; none behind a share link. One that cannot be had costs the marks, not the chart. @param {Round} round
 * @returns {Promise<Annotation[]>} */
export async function annotationsOf({ state, signal }) {
  if (shared) return [];
  try {
    const { annotations } = await ask(`annotations${state.site ? `?${new URLSearchParams({ site: state.site })}` : ""}`, { signal });
    return annotations;
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status === 401) throw problem;
    return [];
  }
}

/** @param {Map<number, Annotation[]>} marked @param {Bar[]} bars @param {Round} round @param {() => void} again shows the chart anew */
export function listAnnotations(marked, bars, round, again) {
  const items = [...marked].sort(([one], [other]) => one - other).flatMap(([place, found]) => found.map((each) =>
    element("li", {}, element("span", { class: "muted" }, each.at.length === 10 ? bars[place].label : moment(each.at, round.state.tz)), " ",
      isolated(each.text), each.site && !round.state.site && element("span", { class: "muted" }, ` (${each.site})`), " ",
      element("button", { type: "button", class: "link", "data-all": true, "aria-label": `Delete the note ${each.text}`,
        onclick: () => change(() => ask(`annotations?${new URLSearchParams({ id: each.id })}`, { method: "DELETE" }), round, again) }, "×"))));
  byId("annotations").replaceChildren(...items);
  form.onsubmit = (event) => {
    event.preventDefault();
    keep(round, again);
  };
}

/** @param {Round} round @param {() => void} again */
function keep(round, again) {
  const given = new FormData(form);
  const { site } = round.state;
  const body = { at: given.get("at"), text: String(given.get("text")).trim(), ...(site ? { site } : {}) };
  change(async () => {
    await ask("annotations", { method: "PUT", body });
    form.reset();
    /** @type {HTMLDetailsElement} */ (byId("annotate-details")).open = false;
  }, round, again);
}

/** @param {() => Promise<unknown>} work @param {Round} round @param {() => void} again */
async function change(work, round, again) {
  try {
    await work();
    again();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    round.complain(problem);
  }
}
