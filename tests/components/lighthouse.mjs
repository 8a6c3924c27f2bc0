// Lighthouse on one page of a server, signed in: `node lighthouse.mjs MODULES CHROMIUM ADDRESS TOKEN` prints its scores and what
// it found. MODULES is the folder of node_modules. Without a token it looks at the sign-in.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, chromium, address, token] = process.argv.slice(2);
const require = createRequire(join(modules, "lighthouse", "package.json"));
const { default: lighthouse } = await import(pathToFileURL(join(modules, "lighthouse", "core", "index.js")).href);
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);

const browser = await puppeteer.launch({
  executablePath: chromium, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  protocolTimeout: 600_000,
});
try {
  const page = await browser.newPage();
  if (token) await page.evaluateOnNewDocument((kept) => sessionStorage.setItem("foldlog.token", kept), token);
  const { lhr } = await lighthouse(address, {
    output: "json", logLevel: "error", disableStorageReset: true, maxWaitForLoad: 240_000,
    onlyCategories: ["performance", "accessibility", "best-practices", "seo"],
    skipAudits: ["is-crawlable"], // a page behind a token is in no index on purpose
  }, undefined, page);
  const isSignedIn = await page.evaluate(() => document.querySelector("#dashboard")?.hidden === false);
  const scores = Object.fromEntries(Object.values(lhr.categories).map(({ id, score }) => [id, Math.round(100 * score)]));
  const found = Object.values(lhr.categories).filter(({ id }) => id !== "performance").flatMap(({ id, auditRefs }) => auditRefs
    .map((each) => ({ ...lhr.audits[each.id], category: id }))
    .filter(({ score, scoreDisplayMode }) => score !== null && score < 1 && scoreDisplayMode !== "informative")
    .map(({ category, title, details }) => ({ category, title, items: (details?.items ?? []).slice(0, 5) })));
  console.log(JSON.stringify({ scores, found, isSignedIn, error: lhr.runtimeError ?? null }));
} finally {
  await browser.close();
}
