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
    else if (isOfFilter(problem)) { // every panel would say the same: it is said once
      round.complain(new Problem(problem.status, `A filter cannot be asked: remove it above, or add it anew. ${problem.message}`));
      saySo(place, "No answer: a filter above cannot be asked.");
    } else saySo(place, problem.message, () => load(place, round, path, show));
  }
  if (round.signal.aborted) return; // the next round is busy with it
  place.setAttribute("aria-busy", "false");
  place.classList.remove("loading");
}

/** @param {Problem} problem */
const isOfFilter = ({ status, code, message }) => status === 400 && code === "query" && /^filter\b/i.test(message);

/** @param {HTMLElement} place @param {string} text @param {() => void} [again] absent where the same question has the same answer */
function saySo(place, text, again) {
  place.querySelector(":scope > .problem")?.remove();
  const button = again && element("button", { type: "button", class: "quiet", onclick: again }, "Try again");
  place.prepend(element("p", { class: "problem", role: again ? "alert" : null }, text, " ", button));
}
