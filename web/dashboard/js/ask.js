// The one place that asks the server. A new round aborts what the one before still asks; what was answered is shown again
// at once, while the server is asked anew.
//
// The token is kept in sessionStorage and sent in the Authorization header, never in a URL.

import { REPORTS_MOST, batchPath, commonOf, isQuick, reportOf } from "./batch.js";
import { isShareOpen, openAgain, shareHeaders, shared } from "./share.js";

const TOKEN = "foldlog.token";
const AT_ONCE = 3; // one token has as many places at the server
const KEPT_MOST = 200;
const TRIES = 4;
const MADE_IN_VAIN = ["report_timeout", "report_failed", "report_memory", "doctor_failed", "doctor_timeout"]; // asked again at once, they cost as much again

/** An answer that is no answer. `status` 0: the server was not reached. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail @param {string} code */
  constructor(status, detail, code = "") {
    super(detail.charAt(0).toUpperCase() + detail.slice(1));
    this.status = status;
    this.code = code;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (/** @type {string} */ value) => sessionStorage.setItem(TOKEN, value),
  forget: () => {
    sessionStorage.removeItem(TOKEN);
    kept.clear();
  },
};

/** Whether there is a token, or an open share link, to ask by. */
export const mayAsk = () => (shared ? isShareOpen() : token.get() !== null);

/** @type {Map<string, any>} answers by their path */
const kept = new Map();
let asking = 0;
/** @type {(() => void)[]} */
const waiting = [];

/** @typedef {{ method?: string, token?: string | null, signal?: AbortSignal, body?: unknown }} Options */

/** The decoded answer. Throws Problem, and AbortError when the signal says so. @param {string} path @param {Options} options
 * @returns {Promise<any>} */
export async function ask(path, options = {}) {
  const response = await fetched(path, options);
  return response.status === 204 ? null : response.json();
}

/** @param {string} path @param {Options} options */
export async function askBlob(path, options = {}) {
  return (await fetched(path, options)).blob();
}

/** @typedef {{ path: string, ready: (report: any) => void, fail: (problem: unknown) => void }} Waiting */
/** @type {Map<string, { signal: AbortSignal, asked: Waiting[] }>} reports that this turn has asked for, by what they have in common */
const gathered = new Map();

/** Whether something is known of a path. @param {string} path */
export const isKept = (path) => kept.has(path);

/** Ask for a report with all others of this turn that have as much in common, and are as quick. @param {string} path @param {string} common
 * @param {AbortSignal} signal @returns {Promise<any>} */
function askTogether(path, common, signal) {
  return new Promise((ready, fail) => {
    const of = `${isQuick(path)} ${common}`;
    const known = gathered.get(of);
    if (known?.signal === signal && known.asked.length < REPORTS_MOST) {
      known.asked.push({ path, ready, fail });
      return;
    }
    const round = { signal, asked: [{ path, ready, fail }] };
    gathered.set(of, round);
    setTimeout(() => {
      if (gathered.get(of) === round) gathered.delete(of);
      askGathered(common, round.asked, signal);
    });
  });
}

/** @param {string} common @param {Waiting[]} asked @param {AbortSignal} signal */
async function askGathered(common, asked, signal) {
  const batch = batchPath(common, asked.map(({ path }) => path));
  if (!batch) {
    for (const { path, ready, fail } of asked) ask(path, { signal }).then(ready, fail);
    return;
  }
  try {
    const answer = await ask(batch, { signal });
    asked.forEach(({ ready, fail }, place) => {
      const report = reportOf(answer, place);
      if (report.problem) fail(new Problem(report.problem.status, report.problem.detail, report.problem.code));
      else ready(report);
    });
  } catch (problem) {
    for (const { fail } of asked) fail(problem);
  }
}

/** Show what is known of a path, then what the server says now. @param {string} path @param {AbortSignal} signal
 * @param {(answer: any, isStale: boolean) => void} show */
export async function askAndShow(path, signal, show) {
  if (kept.has(path)) show(kept.get(path), true);
  const common = commonOf(path);
  const answer = await (common === null ? ask(path, { signal }) : askTogether(path, common, signal));
  kept.delete(path);
  kept.set(path, answer);
  if (kept.size > KEPT_MOST) kept.delete(kept.keys().next().value ?? "");
  show(answer, false);
}

/** @param {string} path @param {Options} options */
async function fetched(path, options) {
  for (let tried = 1; ; tried += 1) {
    const response = await inTurn(() => request(path, options), options.signal);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (shared && problem.code === "share" && tried === 1) await openAgain(); // its session is over
    else if (response.status !== 503 || tried === TRIES || MADE_IN_VAIN.includes(problem.code)) throw problem;
    else await pause(Number(response.headers.get("Retry-After")) || 1, options.signal);
  }
}

/** @param {string} path @param {Options} options */
async function request(path, { method = "GET", token: given = token.get(), signal, body }) {
  /** @type {Record<string, string>} */
  const headers = shared ? shareHeaders() : { Authorization: `Bearer ${given}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    // Without `omit` the browser would answer a 401 by opening its own password window. The answers to a link are none.
    return await fetch(`../admin/api/${path}`, {
      method, credentials: shared ? "same-origin" : "omit", headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "The server cannot be reached. The numbers are those of before; the page tries again every minute.");
  }
}

/** @param {Response} response */
export async function problemOf(response) {
  const said = await response.json().catch(() => ({})); // a proxy's answer need not be JSON
  return new Problem(response.status, said.detail ?? `The server answered with status ${response.status}.`, said.code);
}

/** At most AT_ONCE at a time. @template T @param {() => Promise<T>} work @param {AbortSignal} [signal] @returns {Promise<T>} */
async function inTurn(work, signal) {
  if (asking >= AT_ONCE) await new Promise((ready) => waiting.push(() => ready(null)));
  else asking += 1;
  try {
    signal?.throwIfAborted();
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else asking -= 1;
  }
}

/** @param {number} wait_s @param {AbortSignal} [signal] */
function pause(wait_s, signal) {
  return new Promise((ready, fail) => {
    const timer = setTimeout(ready, 1000 * Math.min(wait_s, 30));
    signal?.addEventListener("abort", () => (clearTimeout(timer), fail(signal.reason)), { once: true });
  });
}

/** Read server-sent events until they end. An EventSource sends no token. @param {string} path @param {AbortSignal} signal
 * @param {(data: any) => void} show */
export async function openStream(path, signal, show) {
  const response = await request(path, { signal });
  if (!response.ok || !response.body) throw await problemOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) if (event.startsWith("data: ")) show(JSON.parse(event.slice(6)));
  }
}
