/** Sizes that shape a state's fields. Tests make them tiny so that deep trees occur. */
export interface TileShape {
  /**
   * A leaf, or the inline rows of an inner node together, may weigh this many bytes (`rowWeightBytes`) before
   * it splits or spills. Default 2048: with the ~25-byte rows of a card view some 80 rows.
   */
  readonly leafBytesMax: number;
  /** Rows the live tail may hold before a write folds it into the tree. Default 32. */
  readonly tailRowsMax: number;
}

export const DEFAULT_TILE_SHAPE: TileShape = { leafBytesMax: 2048, tailRowsMax: 32 };
