// A share link: `/share/<id>#<secret>`, or `/embed/<id>#<secret>` within a page of another site. The secret is exchanged for a
// session: a cookie that no script reads; within another site, where no cookie is sent, a value that is kept in memory.

import { Problem, problemOf } from "./ask.js";

const address = /\/(share|embed)\/([0-9a-f]{8})$/.exec(location.pathname);

/** Which link this page is opened by; null for the page of an operator. */
export const shared = address && { id: address[2], isEmbedded: address[1] === "embed" };

let session = "";
let password = "";
let isOpen = false;
/** @type {Promise<unknown> | null} */
let opening = null;

export const isShareOpen = () => isOpen;

/** What a question by the link has in its head. @returns {Record<string, string>} */
export const shareHeaders = () => (shared ? { "Foldlog-Share": shared.isEmbedded ? session : shared.id } : {});

/** Open the link. Throws Problem: `password` where it needs one, or another. @param {string} given
 * @returns {Promise<{ site: string, name: string }>} */
export async function openShare(given = "") {
  const secret = location.hash.slice(1);
  const body = { id: shared?.id, secret, embed: shared?.isEmbedded, ...(given ? { password: given } : {}) };
  const said = await post(body);
  session = said.session ?? "";
  password = given;
  isOpen = true;
  return said;
}

/** Once a session is over, the next one, by what is known still; what asks at once waits for the same. */
export function openAgain() {
  opening ??= openShare(password).finally(() => (opening = null));
  return opening;
}

/** @param {unknown} body */
async function post(body) {
  let response;
  try {
    const headers = { "Content-Type": "application/json" };
    response = await fetch("../admin/api/share-session", { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new Problem(0, "The server cannot be reached. Open the link again later.");
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}
