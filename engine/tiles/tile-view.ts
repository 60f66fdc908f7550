import type { PartialAggregate } from '../aggregators/partial-aggregate.ts';
import type { ColumnStorage } from './row-block.ts';

/** What the tile tree needs to know of a feature view; `CompiledView` is one. */
export interface TileView {
  readonly storages: readonly ColumnStorage[];
  readonly partials: readonly PartialAggregate[];
  /** Whether some partial is an ordered one: what is combined must then be combined in the total order of C3. */
  readonly ordered: boolean;
  readonly hasLifetime: boolean;
}
