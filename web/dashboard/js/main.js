// The dashboard: the URL says what is shown (state.js), each panel asks for its own (panels/), and ask.js alone talks to the
// server. Plain modules, no build step.

import { Problem, ask, askAndShow, mayAsk, token } from "./ask.js";
import { byId, setText } from "./dom.js";
import { showFilters, startFilters } from "./filters.js";
import { exact, seconds } from "./format.js";
import { forgetAccess, startAccess } from "./manage/access.js";
import { forgetDoctor, startDoctor } from "./manage/doctor.js";
import { forgetHolds, showHolds, startHolds } from "./manage/holds.js";
import { BREAKDOWNS } from "./measures.js";
import { breakdown } from "./panels/breakdown.js";
import { chart, drawAgain, forgetChart } from "./panels/chart.js";
import { cohorts, startCohorts } from "./panels/cohorts.js";
import { forgetErasure, startErasure } from "./panels/erasure.js";
import { funnel, startFunnel } from "./panels/funnel.js";
import { buildGoals, goals } from "./panels/goals.js";
import { showHealth } from "./panels/health.js";
import { forgetLive, startLive } from "./panels/live.js";
import { reportPath } from "./panels/panel.js";
import { paths, startPaths } from "./panels/paths.js";
import { startSnippet } from "./panels/snippet.js";
import { forgetStream, startStream } from "./panels/stream.js";
import { buildTotals, totals } from "./panels/totals.js";
import { showSavedFilters, startSavedFilters } from "./saved_filters.js";
import { shared } from "./share.js";
import { startShared } from "./share_view.js";
import { WRONG_TOKEN, say, showSignedIn, signInByCode, signOut, startSignIn, wellAgain } from "./sign_in.js";
import { question, readState, writeState } from "./state.js";
import { showSites, showToolbar, startToolbar } from "./toolbar.js";

const REFRESH_MS = 60_000;
const ROUND_MOST_MS = 10 * REFRESH_MS; // an answer that has not come by then does not come

let state = readState(location.search);
let round = new AbortController();
let refreshedAt = 0;
/** @type {import("./panels/panel.js").Panel[]} */
let panels = [];
let knowsSites = false; // and saved filters: a round that is aborted has not asked for them
const showLive = startLive(() => state);

/** @param {Partial<import("./state.js").State>} changed */
function change(changed) {
  state = { ...state, ...changed };
  history.pushState(null, "", location.pathname + writeState(state) + (shared ? location.hash : ""));
  refresh(false);
  if ("site" in changed || "bots" in changed) showLive();
}

/** Ask for everything that the state shows. What the round before still asks is aborted. @param {boolean} isWhole also for what
 * is the same in every state: which sites and saved filters there are */
async function refresh(isWhole = true) {
  round.abort();
  round = new AbortController();
  const asksSites = isWhole || !knowsSites;
  const { signal } = round;
  const now = new Date();
  refreshedAt = now.getTime();
  showToolbar(state, now);
  showFilters(state, change);
  byId("dashboard").ariaBusy = "true";
  try {
    const status = await ask("status", { signal });
    wellAgain();
    if (status.sites) limitTo(status.sites);
    else {
      showHealth(status);
      showHolds(status.last_retention);
    }
    document.body.classList.toggle("limited", Boolean(status.sites));
    const asked = { state, now, question: question(state, now), signal, status, until: countedUntil(status), change, complain };
    await Promise.all([...panels.map((panel) => panel.load(asked)),
      ...(asksSites && !status.sites ? [sites(signal, now)] : []), ...(asksSites && !shared ? [showSavedFilters(signal)] : [])]);
    knowsSites ||= !signal.aborted;
    if (!signal.aborted) byId("dashboard").ariaBusy = "false";
    return !signal.aborted;
  } catch (problem) {
    if (signal.aborted) return false;
    if (!(problem instanceof Problem)) throw problem;
    complain(problem);
    byId("dashboard").ariaBusy = "false";
    return false;
  }
}

/** A token of some sites, or a share link, sees one of these at a time. @param {string[]} of */
function limitTo(of) {
  if (!of.includes(state.site)) state = { ...state, site: of.length > 1 ? of[0] : "" };
  showSites(of, state, true);
}

/** Up to when events are counted, in seconds. A pass that found nothing makes no new generation, so `as_of` may be older.
 * @param {any} status */
function countedUntil(status) {
  const lastPass = status.lag_s === null ? 0 : Date.now() / 1000 - status.lag_s;
  return Math.max(status.as_of ? seconds(status.as_of) : 0, lastPass);
}

/** @param {AbortSignal} signal @param {Date} now */
async function sites(signal, now) {
  const { from, to, tz } = question({ ...state, period: "12mo" }, now);
  const asked = { from, to, tz, by: "site", measures: "events", limit: "200" };
  await askAndShow(reportPath(asked), signal, (report) => {
    if (!signal.aborted) showSites(report.rows.map((/** @type {any} */ row) => row.value).filter(Boolean), state, false);
  });
}

/** @param {Problem} problem */
function complain(problem) {
  if (problem.status === 401) {
    forget();
    signOut(`You were signed out. ${WRONG_TOKEN}`, "error");
  } else say(problem.message, "error");
}

function refreshIfDue() {
  // A round that is still asked is not aborted by the next one: on a slow host it would never end.
  const isBusy = byId("dashboard").ariaBusy === "true";
  const isDue = Date.now() - refreshedAt > (isBusy ? ROUND_MOST_MS : REFRESH_MS / 2);
  if (isDue && mayAsk() && !document.hidden) refresh();
}

async function fold() {
  const button = byId("fold");
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // `disabled` would take the keyboard's focus away
  say("Folding…");
  try {
    const { generation } = await ask("fold", { method: "POST" });
    if (await refresh()) say(`Folded: generation ${exact(generation)} counts every event accepted before.`);
  } catch (problem) {
    if (problem instanceof Problem && token.get()) complain(problem);
  } finally {
    button.ariaDisabled = "false";
  }
}

/** No number is left in the page. */
function forget() {
  round.abort();
  knowsSites = false;
  forgetChart();
  forgetLive();
  forgetStream();
  forgetAccess();
  forgetErasure();
  forgetHolds();
  forgetDoctor();
  for (const id of ["totals", "breakdowns", "warnings", "all-body", "chart-table-rows", "annotations", "cohort-body", "cohort-note", "funnel-body", "funnel-note", "paths-body", "paths-note"]) byId(id).replaceChildren();
  for (const id of ["reason", "as-of", "strip"]) setText(byId(id), "");
}

function begin() {
  byId("breakdowns").replaceChildren();
  buildTotals();
  panels = [totals, chart, ...BREAKDOWNS.map(breakdown), goals, funnel, paths, cohorts];
  buildGoals();
  showLive();
  refresh().then((isShown) => isShown && byId("dashboard").focus({ preventScroll: true }));
}

function start() {
  if (!shared) startSignIn(begin, forget);
  startToolbar(() => state, change);
  startFilters(() => state, change);
  startSavedFilters(() => state, change, complain);
  startCohorts();
  startFunnel();
  startPaths();
  startStream(() => state);
  startSnippet();
  startAccess(() => state);
  startErasure(complain);
  startHolds(complain);
  startDoctor(() => state);
  byId("fold").onclick = fold;
  byId("all-close").onclick = () => /** @type {HTMLDialogElement} */ (byId("all")).close();
  addEventListener("popstate", () => {
    state = readState(location.search);
    if (mayAsk()) refresh(false);
  });
  addEventListener("resize", drawAgain);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
  document.addEventListener("visibilitychange", refreshIfDue);
  setInterval(refreshIfDue, REFRESH_MS);
  if (shared) {
    startShared(begin);
    return;
  }
  addEventListener("hashchange", () => signInByCode(begin));
  const isSignedIn = token.get() !== null;
  showSignedIn(isSignedIn);
  if (isSignedIn) begin();
  signInByCode(begin);
}

start();
