// The one-time code of a sign-in link (`/admin/#code=…`, which `foldlog demo` prints): exchanged for a token by POST.
// A fragment is sent to no server, and the code leaves the address before anything else happens.

/** The token for the code in the address; null where there is none. Throws an Error with what to show.
 * @returns {Promise<string | null>} */
export async function tokenOfCode() {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  if (!code) return null;
  history.replaceState(null, "", location.pathname + location.search);
  let response;
  try {
    const headers = { "Content-Type": "application/json" };
    response = await fetch("../admin/api/sign-in", { method: "POST", credentials: "omit", headers, body: JSON.stringify({ code }) });
  } catch {
    throw new Error("The server cannot be reached. Open the link again once it runs.");
  }
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said.token;
  const detail = response.status === 404 ? "this server knows no sign-in links" : (said.detail ?? `status ${response.status}`);
  throw new Error(`You are not signed in: ${detail}.`);
}
