/**
 * A piece of the as-of stream of one view: the events of its entity keys and the rows of the spine that ask about them,
 * key after key, in the order of their times. Arrays of `rows` elements each; it goes from the thread that reads to the
 * one that evaluates.
 *
 * A batch ends between two milliseconds of a key: rows of the same key and time are never in two of them, but a key may be.
 */

/** A column of a batch: numbers with NaN for null (integers, times in ms, booleans as 0 and 1, doubles), or values. */
export type BatchColumn = Float64Array | readonly (string | number | bigint | null)[];

export interface AsOfBatch {
  readonly rows: number;
  /** Number of the entity key: rows of a key are together. */
  readonly keys: Float64Array;
  /** Event time, or as-of time, ms: ascending within a key. */
  readonly times: Float64Array;
  /** Place of the row in the spine; −1: an event. */
  readonly places: Float64Array;
  /** Of events: their order within a millisecond where the source has no event ids. */
  readonly positions: Float64Array;
  /** Event ids; of a spine's row that of the event it is about, null: none. The whole is null where the source has none. */
  readonly ids: BatchColumn | null;
  /** Those of the source's columns that were fetched, in their order; null in rows of the spine. */
  readonly columns: readonly BatchColumn[];
}

/** Values of a batch's spine rows. */
export interface EvaluatedRows {
  readonly keys: Float64Array;
  readonly places: Float64Array;
  /** By feature: numbers with NaN for null where the type is a number's, else values as `TransportColumn` writes them. */
  readonly columns: readonly BatchColumn[];
  /** Events that were gone through. */
  readonly events: number;
  /** Of these, such as do not count as the filter or a projection fails. */
  readonly refused: number;
}
