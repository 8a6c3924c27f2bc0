// Saving what a panel shows: as CSV for a spreadsheet, or as Parquet for programs. The server makes both.

import { askBlob, Problem } from "../ask.js";
import { download, element } from "../dom.js";

/** @typedef {import("./panel.js").Round} Round */
/** @typedef {{ path: string, asked: Record<string, string>, name: string, round: Round }} Saved
 * `path`: of the API; `name`: what the file's name begins with. */

const FORMATS = { csv: "CSV", parquet: "Parquet" };

/** A button for each format. @param {string} title of the panel @param {() => Saved | null} what null: nothing is shown yet */
export const saveButtons = (title, what) =>
  Object.entries(FORMATS).map(([format, label]) => element("button", {
    type: "button", class: "link save", "aria-label": `${title} as ${label}`, onclick: () => save(what(), format),
  }, label));

/** @param {Saved | null} saved @param {string} format */
async function save(saved, format) {
  if (!saved) return;
  const { path, asked, name, round } = saved;
  try {
    const content = await askBlob(`${path}?${new URLSearchParams({ ...asked, format })}`);
    download(content, fileName(name, asked, format));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    round.complain(problem);
  }
}

/** @param {string} name @param {Record<string, string>} asked @param {string} format */
export const fileName = (name, { from, to }, format) => [name, from, to].filter(Boolean).join("-") + `.${format}`;
