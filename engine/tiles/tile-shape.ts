/** Sizes that shape a state's fields. Tests make them tiny so that deep trees occur. */
export interface TileShape {
  /**
   * A leaf, or the inline rows of an inner node together, may weigh this many bytes (`rowWeightBytes`) before
   * it splits or spills. Default 2048: some 70 rows of a card view with an amount and a merchant, which weigh 29
   * bytes each; written they are smaller, as ids, times and amounts seldom take the bytes they may.
   */
  readonly leafBytesMax: number;
  /** Rows the live tail may hold before a write folds it into the tree. Default 32. */
  readonly tailRowsMax: number;
  /**
   * Recent ids a state keeps after a write, where rows tell a repeat as well. Default 4096, which is reached at more
   * than an event a second within a dedupe horizon of an hour. They are read and rewritten with every batch of their
   * key, 20 kB (integers) to 40 kB (texts); fewer would have rows looked for in the tree more often: 4096 are the last
   * 40 s at 100 events/s, and only events older than that are looked for.
   */
  readonly recentIdsMax?: number;
}

export const DEFAULT_TILE_SHAPE: Required<TileShape> = {
  leafBytesMax: 2048,
  tailRowsMax: 32,
  recentIdsMax: 4096,
};
