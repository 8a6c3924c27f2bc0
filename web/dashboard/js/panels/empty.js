// What stands in place of numbers where there are none: how to send the first event, or when there were some.

import { byId, setText } from "../dom.js";
import { exact } from "../format.js";
import { load, reportPath } from "./panel.js";

/** @param {import("./panel.js").Round} round */
export async function showEmpty(round) {
  const { balance, days } = round.status;
  for (const place of document.querySelectorAll(".origin")) setText(/** @type {HTMLElement} */ (place), location.origin);
  await load(byId("empty"), round, reportPath({ ...round.question, measures: "events" }), ({ total }) => {
    const isNew = balance?.accepted === 0;
    byId("empty").hidden = total.events !== 0;
    byId("report").hidden = total.events === 0;
    byId("first-event").hidden = !isNew;
    setText(byId("empty-title"), isNew ? "No events yet" : "No events in this time");
    setText(byId("empty-text"), [
      isNew && "Foldlog is ready. This is how to send the first event.",
      !isNew && round.state.filters.length > 0 && "No event matches all filters.",
      days && `There is data from ${days.first} to ${days.last} (UTC).`,
      balance?.not_yet_folded > 0 && `Waiting to be folded: ${exact(balance.not_yet_folded)}. “Fold now” counts them at once.`,
    ].filter(Boolean).join(" "));
  });
}
