import type { PartialAggregate } from '../aggregators/partial-aggregate.ts';
import type { NewestRowsSpec } from './newest-rows.ts';
import type { ColumnStorage } from './row-block.ts';

/** What the tile tree needs to know of a feature view; `CompiledView` is one. */
export interface TileView {
  readonly storages: readonly ColumnStorage[];
  readonly partials: readonly PartialAggregate[];
  readonly hasLifetime: boolean;
  /** Whether some partial is ordered: late rows then go straight to their place in the tree. */
  readonly ordered: boolean;
  /** What is remembered for windows of last events. */
  readonly newestRows: readonly NewestRowsSpec[];
}
