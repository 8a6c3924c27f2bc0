// Share links: who has one reads the reports of its site; making and revoking them.

import { ask } from "../ask.js";
import { element } from "../dom.js";
import { day, make, revokeButton, row, shownOnce, table, told, words } from "./secrets.js";

const list = element("div");
const made = element("div", { role: "status" });
/** @param {string} label @param {Record<string, string | number | boolean>} attributes */
const asked = (label, attributes) => element("label", {}, `${label} `, element("input", { autocomplete: "off", spellcheck: "false", ...attributes }));
const form = element("form", { class: "stack", id: "share-link-form" },
  asked("Site", { name: "site", required: true, placeholder: "shop.example" }),
  asked("Name", { name: "name", required: true, maxlength: 100, placeholder: "who it is for" }),
  asked("Password", { name: "password", minlength: 8, maxlength: 200, placeholder: "none" }),
  asked("Until", { name: "expires", type: "date" }),
  asked("May be framed by", { name: "embed", placeholder: "no page; or www.example.com" }),
  element("button", { type: "submit" }, "Make a link"));

/** The section, before it has asked. @param {() => import("../state.js").State} state */
export function sharesSection(state) {
  form.onsubmit = (event) => {
    event.preventDefault();
    told(made, () => create(new FormData(form)));
  };
  const site = /** @type {HTMLInputElement} */ (form.elements.namedItem("site"));
  if (state().site) site.value = state().site;
  return element("section", { "aria-labelledby": "shares-title" }, element("h2", { id: "shares-title" }, "Share links"), list, made, form);
}

/** @param {FormData} given */
async function create(given) {
  const [site, name, password, until] = ["site", "name", "password", "expires"].map((field) => String(given.get(field) ?? ""));
  const link = await make("shares", { site, name, embed: words(given.get("embed")), ...(password ? { password } : {}),
    ...(until ? { expires: new Date(`${until}T23:59:59`).toISOString() } : {}) });
  const at = (/** @type {string} */ path) => new URL(`../${path}`, location.href).href;
  const frame = link.embed_path && `<iframe src="${at(link.embed_path)}" title="Visitors of ${site}" width="100%" height="800"></iframe>`;
  made.replaceChildren(shownOnce("The link, shown this once", at(link.path)), ...(frame ? [shownOnce("For a page that frames it", frame)] : []));
  form.reset();
  await showShares();
}

export const showShares = () => told(list, async () => {
  const { shares, reason } = await ask("shares");
  const heads = ["Link", "Site", "Made", "Until", "Password", "Framed by", "Last used", ""];
  list.replaceChildren(table("Share links", heads, shares.map((/** @type {any} */ each) => row(each.name,
    [each.site, day(each.created), each.has_expired ? "over" : day(each.expires), each.has_password ? "yes" : "no", each.embed.join(", ") || null, day(each.last_used)],
    revokeButton(`the link ${each.name}`, () => told(made, async () => {
      await ask(`shares/${each.id}`, { method: "DELETE" });
      made.replaceChildren();
      await showShares();
    }))))));
  if (reason) list.prepend(element("p", { class: "problem" }, reason));
});

export function forgetShares() {
  list.replaceChildren();
  made.replaceChildren();
}
