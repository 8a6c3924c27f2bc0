// Types of Foldlog's browser script (docs/tracker.md). Copy this file into a project that has it in its pages.

export interface FoldlogDetails {
  /** At most 30 keys of up to 100 characters; text up to 2,000 characters. */
  props?: Record<string, string | number | boolean | null>;
  /** A finite number, such as an amount of money. */
  value?: number;
}

export interface Foldlog {
  /** Sends an event of this page. Its name has 1 to 120 characters; `pageview` is a page view. */
  (name: string, details?: FoldlogDetails): void;
  /** `true`: the visitor agrees, and what was held is sent. `false`: nothing is sent, and what was held or kept is forgotten. */
  consent(agrees: boolean): void;
  /** Leaves this browser out of the counts of this site. `false` takes it back. */
  ignore(leaveOut?: boolean): void;
}

declare global {
  interface Window {
    foldlog: Foldlog;
  }
  const foldlog: Foldlog;
}
