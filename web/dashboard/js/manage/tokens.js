// Tokens: what each may, for which sites; making and revoking them.

import { ask } from "../ask.js";
import { element } from "../dom.js";
import { day, make, revokeButton, row, shownOnce, table, told, words } from "./secrets.js";

const MAY = { read: "read reports", admin: "read and administer", ingest: "send events", pixel: "pixel" };
const list = element("div");
const made = element("div", { role: "status" });
const form = element("form", { class: "stack", id: "token-form" },
  element("label", {}, "May ", element("select", { name: "scope" },
    ...["read", "admin", "ingest"].map((scope) => element("option", { value: scope }, MAY[/** @type {"read"} */ (scope)])))),
  element("label", {}, "Sites ", element("input", { name: "sites", placeholder: "all; or shop.example, blog.example", autocomplete: "off", spellcheck: "false" })),
  element("button", { type: "submit" }, "Make a token"));

/** The section, before it has asked. */
export function tokensSection() {
  form.onsubmit = (event) => {
    event.preventDefault();
    told(made, async () => {
      const given = new FormData(form);
      const { token, id } = await make("tokens", { scope: given.get("scope"), sites: words(given.get("sites")) });
      made.replaceChildren(shownOnce(`Token ${id}, shown this once`, token));
      form.reset();
      await showTokens();
    });
  };
  return element("section", { "aria-labelledby": "tokens-title" }, element("h2", { id: "tokens-title" }, "Tokens"), list, made, form);
}

export const showTokens = () => told(list, async () => {
  const { tokens } = await ask("tokens");
  list.replaceChildren(table("Tokens", ["Token", "May", "Sites", "Made", "Last used", ""], tokens.map((/** @type {any} */ each) => row(each.id,
    [MAY[/** @type {"read"} */ (each.scope)], each.sites ? each.sites.join(", ") : "all", day(each.created), day(each.last_used)],
    revokeButton(`token ${each.id}`, () => told(made, async () => {
      await ask(`tokens/${each.id}`, { method: "DELETE" });
      made.replaceChildren();
      await showTokens();
    }))))));
});

export function forgetTokens() {
  list.replaceChildren();
  made.replaceChildren();
}
