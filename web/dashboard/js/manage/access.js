// Who may see what: tokens and share links, asked for when the section is opened.

import { byId } from "../dom.js";
import { forgetShares, sharesSection, showShares } from "./shares.js";
import { forgetTokens, showTokens, tokensSection } from "./tokens.js";

const place = /** @type {HTMLDetailsElement} */ (byId("access"));

/** @param {() => import("../state.js").State} state */
export function startAccess(state) {
  place.ontoggle = () => {
    if (!place.open) return;
    if (!byId("access-body").childElementCount) byId("access-body").append(tokensSection(), sharesSection(state));
    showTokens();
    showShares();
  };
}

/** No secret is left in the page. */
export function forgetAccess() {
  place.open = false;
  forgetTokens();
  forgetShares();
}
