// Signing in and out. What an operator types is tried before it is kept.

import { Problem, ask, token } from "./ask.js";
import { tokenOfCode } from "./code.js";
import { byId, setText } from "./dom.js";

export const WRONG_TOKEN = "That token is not valid. Check that all of it was copied, or make another with: foldlog token create";

const SAID_MS = 20_000;
const field = /** @type {HTMLInputElement} */ (byId("token"));

/** @param {() => void} begin what follows a sign-in @param {() => void} forget what takes every number out of the page */
export function startSignIn(begin, forget) {
  byId("sign-in").onsubmit = (event) => {
    event.preventDefault();
    signIn(field.value.trim(), begin);
  };
  byId("sign-out").onclick = () => {
    forget();
    signOut("Signed out.");
  };
}

/** @param {string} given @param {() => void} begin */
async function signIn(given, begin) {
  try {
    if (!/^[\x21-\x7e]+$/.test(given)) throw new Problem(401, WRONG_TOKEN); // no header can carry it
    await ask("status", { token: given });
  } catch (problem) {
    say(problem instanceof Problem && problem.status === 401 ? WRONG_TOKEN : String(/** @type {Error} */ (problem).message), "error");
    return;
  }
  token.set(given);
  showSignedIn(true);
  begin();
}

/** Sign in by the code in the address, if there is one. @param {() => void} begin */
export async function signInByCode(begin) {
  try {
    const given = await tokenOfCode();
    if (!given) return;
    token.set(given);
    showSignedIn(true);
    begin();
  } catch (error) {
    say(/** @type {Error} */ (error).message, "error");
  }
}

/** @param {string} message @param {string} kind */
export function signOut(message, kind = "") {
  token.forget();
  showSignedIn(false);
  say(message, kind);
  field.focus();
}

/** @param {boolean} isSignedIn */
export function showSignedIn(isSignedIn) {
  field.value = "";
  byId("sign-in").hidden = isSignedIn;
  for (const id of ["site-choice", "sign-out", "toolbar", "dashboard"]) byId(id).hidden = !isSignedIn;
  say("");
}

let forgetting = 0;

/** Say something of the whole page. An error stays until `wellAgain`. @param {string} text @param {string} kind */
export function say(text, kind = "") {
  clearTimeout(forgetting);
  setText(byId("message"), text);
  byId("message").className = kind;
  if (text && !kind) forgetting = setTimeout(() => say(""), SAID_MS);
}

/** What was wrong with the whole page is no more. */
export function wellAgain() {
  if (byId("message").className === "error") say("");
}
