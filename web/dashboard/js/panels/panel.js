// What all panels share: they load on their own, say why they could not, and keep what they showed meanwhile.

import { Problem, askAndShow } from "../ask.js";
import { element } from "../dom.js";

/** @typedef {{ state: import("../state.js").State, now: Date, question: Record<string, string>, signal: AbortSignal,
 *   status: any, until: number, change: (changed: Partial<import("../state.js").State>) => void, complain: (problem: Problem) => void }} Round
 * One round of asking. `status`: the answer of GET /admin/api/status; `until`: up to when events are counted, in seconds; `change` sets the state and begins another round;
 * `complain` is told what concerns the whole page. */

/** @typedef {{ load: (round: Round) => Promise<void> }} Panel */

/** @param {Record<string, string>} asked */
export const reportPath = (asked) => `report?${new URLSearchParams(asked)}`;

/** Ask, show, and say within `place` why that failed. @param {HTMLElement} place @param {Round} round @param {string} path
 * @param {(answer: any) => void} show */
export async function load(place, round, path, show) {
  place.setAttribute("aria-busy", "true");
  try {
    await askAndShow(path, round.signal, (answer, isStale) => {
      if (round.signal.aborted) return;
      place.classList.toggle("stale", isStale);
      place.querySelector(":scope > .problem")?.remove();
      show(answer);
    });
  } catch (problem) {
    if (round.signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401 || problem.status === 0) round.complain(problem);
    else saySo(place, problem, () => load(place, round, path, show));
  }
  if (round.signal.aborted) return; // the next round is busy with it
  place.setAttribute("aria-busy", "false");
  place.classList.remove("loading");
}

/** @param {HTMLElement} place @param {Problem} problem @param {() => void} again */
function saySo(place, problem, again) {
  place.querySelector(":scope > .problem")?.remove();
  const button = element("button", { type: "button", class: "quiet", onclick: again }, "Try again");
  place.prepend(element("p", { class: "problem", role: "alert" }, problem.message, " ", button));
}
