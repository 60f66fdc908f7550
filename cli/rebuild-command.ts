/** What `millrace rebuild` is asked for. */
export interface RebuildCommand {
  /** Name of the view. */
  readonly view: string;
  readonly abort: boolean;
  readonly acceptGap: boolean;
  /** How long the former state is kept up to date after the switch, ms; the default in an embedded engine. */
  readonly graceMs: number;
}

/** The view is being made anew in another way. */
export const beingBackfilled = (view: string): string =>
  `view ${view} is being filled from a history: millrace backfill goes on with that (--abort gives it up)`;

/** What helps where the log has lost what the view can reach: follows the refusal. */
export const ACCEPT_GAP_HINT = '(--accept-gap rebuilds it from what is left)';
