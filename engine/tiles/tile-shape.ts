/** Sizes that shape a state's fields. Tests make them tiny so that deep trees occur. */
export interface TileShape {
  /**
   * A leaf may weigh this many bytes (`rowWeightBytes`) before it splits; for the inline rows of an inner node see
   * `mustSpill`. Default 2048: some 70 rows of a card view with an amount and a merchant, which weigh 29
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

/**
 * Whether the heaviest of a node's inline children has to go to a field of its own. Together they may weigh as much as a
 * leaf, and twice as much while each weighs less than a fourth of one: a field costs more than so few rows, and the wide
 * partials that come with it a multiple. Of a view with sketches and 400,000 events in 90 days that halves the bytes of the
 * state and leaves a fourth of the fields, for 1 kB more a read; where children weigh just more than that, it changes nothing.
 */
export function mustSpill({ leafBytesMax }: TileShape, totalBytes: number, heaviestBytes: number): boolean {
  if (totalBytes <= leafBytesMax) return false;
  return totalBytes > 2 * leafBytesMax || heaviestBytes >= leafBytesMax / 4;
}

export const DEFAULT_TILE_SHAPE: Required<TileShape> = {
  leafBytesMax: 2048,
  tailRowsMax: 32,
  recentIdsMax: 4096,
};
