// The page as a share link opens it: one site, to be read. What is an operator's is hidden (page.css, by `data-own` and
// `data-all`), and the server would not answer it.

import { Problem } from "./ask.js";
import { byId, setText } from "./dom.js";
import { openShare, shared } from "./share.js";
import { say, showSignedIn } from "./sign_in.js";

const field = /** @type {HTMLInputElement} */ (byId("share-password"));

/** @param {() => void} begin what follows */
export function startShared(begin) {
  document.body.classList.add("shared", "limited");
  if (shared?.isEmbedded) document.body.classList.add("embedded");
  byId("sign-in").hidden = true;
  byId("share-form").onsubmit = (event) => {
    event.preventDefault();
    open(begin, field.value);
  };
  open(begin, "");
}

/** @param {() => void} begin @param {string} password */
async function open(begin, password) {
  try {
    const { site, name } = await openShare(password);
    byId("share-form").hidden = true;
    showSignedIn(true);
    setText(byId("shared-site"), site);
    document.title = `${name} · ${site}`;
    begin();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    const needs = problem.code === "password" || problem.status === 429;
    byId("share-form").hidden = !needs;
    say(problem.code === "password" && !password ? "" : problem.message, "error");
    if (needs) field.focus();
  }
}
