import type { PartialAggregate } from '../aggregators/partial-aggregate.ts';
import type { NewestRowsSpec } from './newest-rows.ts';
import type { ColumnStorage } from './row-block.ts';

/** What the tile tree needs to know of a feature view; `CompiledView` is one. */
export interface TileView {
  readonly storages: readonly ColumnStorage[];
  /** All, the narrow ones first. */
  readonly partials: readonly PartialAggregate[];
  /** Those that a tile in its parent's node holds. */
  readonly narrow: readonly PartialAggregate[];
  /** Those in blocks of their own: see `wide-blocks.ts`. */
  readonly wide: readonly PartialAggregate[];
  /**
   * Whether some partial is an ordered one: what is combined must then be combined in the total order
   * of C3, and late rows go straight to their place in the tree.
   */
  readonly ordered: boolean;
  readonly hasLifetime: boolean;
  /** What is remembered for windows of last events. */
  readonly newestRows: readonly NewestRowsSpec[];
}
