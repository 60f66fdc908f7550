/**
 * What tells a reader that a shard has lost what it had: read with the states, and compared with the mark that was seen
 * together with the watermarks.
 *
 * Whoever moves watermarks counts the moves. A shard that was emptied has no mark, one that fell back has fewer moves; and
 * should it come to as many again, the history is another one: the first move after a loss begins it.
 */
export interface ShardMark {
  /** Random, 16 hex digits; made anew by the first move of a watermark in a shard without a mark, or after a restart. */
  readonly history: string;
  /** Calls that moved watermarks, in this history. */
  readonly moves: number;
}

/** Whether a shard has lost something that it had when `seen` was read. @param found read later than `seen` */
export function hasLostSince(seen: ShardMark | null, found: ShardMark | null): boolean {
  if (seen === null) return false;
  return found === null || found.history !== seen.history || found.moves < seen.moves;
}
