/** What is asked of the process that opens what a power loss has left, and its answers. */
import type { SourceName } from './purchases.ts';

export interface ExaminationRequest {
  /** `store`: look at the store only. `everything`: also open the engine, let it catch up, and ask it. */
  readonly what: 'store' | 'everything';
  readonly dataDir: string;
}

export interface StoreContent {
  /** Newest transaction; 0: the store was empty. */
  readonly transaction: number;
  /** Of all keys and values, before the engine has written any. */
  readonly hash: string;
}

export interface Examination {
  readonly store: StoreContent;
  /** Numbers of the events that the log holds, in its order. Empty where only the store was looked at. */
  readonly logged: Readonly<Record<SourceName, readonly number[]>>;
  /** What is wrong; empty: nothing. */
  readonly problems: readonly string[];
}
