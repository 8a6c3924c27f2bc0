// What lists of tokens and share links have in common: rows with a button that revokes, and secrets that are shown once.

import { Problem, ask } from "../ask.js";
import { element, isolated, setText } from "../dom.js";

/** A table. @param {string} label @param {string[]} heads @param {HTMLTableRowElement[]} rows */
export const table = (label, heads, rows) => element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
  element("table", { class: "listed" },
    element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows)));

/** @param {string} first @param {(string | null)[]} others @param {HTMLElement} button */
export const row = (first, others, button) => element("tr", {}, element("th", { scope: "row" }, isolated(first)),
  ...others.map((text) => element("td", {}, isolated(text ?? "–"))), element("td", {}, button));

/** A button that asks once more before it does something. @param {string} what @param {() => Promise<unknown>} work */
export function revokeButton(what, work) {
  const button = element("button", { type: "button", class: "link", "aria-label": `Revoke ${what}` }, "Revoke");
  button.onclick = () => {
    if (button.dataset.sure) work();
    else {
      button.dataset.sure = "yes";
      setText(button, "Revoke for good?");
      button.ariaLabel = `Revoke ${what} for good?`;
    }
  };
  button.onblur = () => {
    delete button.dataset.sure;
    setText(button, "Revoke");
    button.ariaLabel = `Revoke ${what}`;
  };
  return button;
}

/** A text that is shown this once, with a button that copies it. @param {string} label @param {string} secret */
export function shownOnce(label, secret) {
  const text = element("code", {}, secret);
  const state = element("span", { role: "status" });
  const copy = element("button", { type: "button", class: "quiet", "aria-label": `Copy: ${label}` }, "Copy");
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(secret);
      setText(state, "Copied.");
    } catch {
      getSelection()?.selectAllChildren(text); // a page without TLS may not write there
      setText(state, "Selected: copy it with the keyboard.");
    }
  };
  return element("div", { class: "row made" }, element("span", {}, label), element("pre", { tabindex: "0" }, text), copy, state);
}

/** Ask, and say what came of it. @param {HTMLElement} place @param {() => Promise<void>} work */
export async function told(place, work) {
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    place.replaceChildren(element("p", { class: "problem", role: "alert" }, problem.message));
  }
}

/** @param {string} path @param {unknown} body */
export const make = (path, body) => ask(path, { method: "POST", body });

/** Words between commas or blanks. @param {FormDataEntryValue | null} text */
export const words = (text) => String(text ?? "").split(/[\s,]+/).filter(Boolean);

/** @param {string | null} instant */
export const day = (instant) => instant && instant.slice(0, 10);
