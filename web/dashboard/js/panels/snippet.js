// What goes into the pages of a site so that its visits are counted here.

import { byId, setText } from "../dom.js";

export function startSnippet() {
  const code = byId("snippet-code");
  setText(code, `<script src="${location.origin}/tracker.js" defer></script>`);
  byId("snippet-copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
      setText(byId("snippet-state"), "Copied.");
    } catch {
      getSelection()?.selectAllChildren(code); // a page without TLS may not write there
      setText(byId("snippet-state"), "Selected: copy it with the keyboard.");
    }
  };
}
