/** Sizes that shape a state's fields. Tests make them tiny so that deep trees occur. */
export interface TileShape {
  /**
   * A leaf, or the inline rows of an inner node together, may weigh this many bytes (`rowWeightBytes`) before
   * it splits or spills. Default 4096: some 140 rows of a card view with an amount and a merchant, which weigh 29
   * bytes each; written they are smaller, as ids, times and amounts seldom take the bytes they may.
   */
  readonly leafBytesMax: number;
  /** Rows the live tail may hold before a write folds it into the tree. Default 32. */
  readonly tailRowsMax: number;
}

export const DEFAULT_TILE_SHAPE: TileShape = { leafBytesMax: 4096, tailRowsMax: 32 };
