// What the doctor finds on the host, asked when the section is opened: each run costs the host a process.

import { Problem, ask } from "../ask.js";
import { byId, element, isolated, setText } from "../dom.js";
import { moment } from "../format.js";
import { bySeverity, commandsIn, verdictText } from "./words.js";

/** @typedef {import("./words.js").Finding} Finding */

const place = /** @type {HTMLDetailsElement} */ (byId("doctor"));
const body = byId("doctor-body");
const again = byId("doctor-again");

/** A later question, or a sign-out, makes an answer outdated. */
let asking = new AbortController();

/** @param {() => import("../state.js").State} state */
export function startDoctor(state) {
  place.ontoggle = () => {
    if (place.open && !body.childElementCount) look(state);
  };
  again.onclick = () => {
    if (again.ariaDisabled !== "true") look(state);
  };
}

export function forgetDoctor() {
  asking.abort();
  place.open = false;
  body.replaceChildren();
  setText(byId("doctor-state"), "");
}

/** @param {() => import("../state.js").State} state */
async function look(state) {
  asking.abort();
  const { signal } = (asking = new AbortController());
  again.ariaDisabled = "true"; // `disabled` would take the keyboard's focus away
  setText(byId("doctor-state"), "Looking…");
  try {
    const { at, findings } = await ask("doctor", { signal });
    if (signal.aborted) return;
    setText(byId("doctor-state"), `${verdictText(findings)}. As of ${moment(at, state().tz)}; the host is looked at once in half a minute at most.`);
    body.replaceChildren(...bySeverity(findings).map(group));
  } catch (problem) {
    if (signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    setText(byId("doctor-state"), "");
    body.replaceChildren(element("p", { class: "problem", role: "alert" }, problem.message));
  } finally {
    if (!signal.aborted) again.ariaDisabled = "false";
  }
}

/** @param {ReturnType<typeof bySeverity>[number]} group */
function group({ level, title, findings }) {
  const list = element("ul", { class: "findings" }, ...findings.map(item));
  if (level === "ok") return element("details", {}, element("summary", {}, title), list);
  const id = `doctor-${level}`;
  return element("section", { "aria-labelledby": id }, element("h3", { id, class: level === "wrong" ? "bad" : "" }, title), list);
}

/** @param {Finding} finding */
const item = ({ check, found, do: advice }) => element("li", {}, element("b", {}, check), ": ", ...inWords(found),
  advice ? element("p", {}, element("span", { class: "muted" }, "To do: "), ...inWords(advice)) : null);

/** @param {string} text */
const inWords = (text) => commandsIn(text).map((part) => (part.isCode ? element("code", {}, part.text) : isolated(part.text)));
