/** A checked feature repo in the form that ingest, compaction and serve run on. Made by `compile.ts`. */
import type {
  ColumnNeed,
  ColumnType,
  FeatureValue,
  Operation,
  PartialAggregate,
} from '../aggregators/partial-aggregate.ts';
import type { NewestRowsSpec } from '../tiles/newest-rows.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import type {
  Entity,
  EventRow,
  FeatureService,
  FeatureView,
  OnDemandFeature,
  StreamSource,
  Window,
} from './types.ts';

/** A column kept in the rows of a view's state. */
export interface StoredColumn {
  /** Source or projected column. */
  readonly name: string;
  readonly type: ColumnType;
  readonly need: ColumnNeed;
  readonly storage: ColumnStorage;
}

export interface CompiledFeature {
  readonly name: string;
  readonly operation: Operation;
  /** Declared type of the aggregated column; null where there is none. */
  readonly type: ColumnType | null;
  readonly params: readonly number[];
  readonly window: Window;
  /**
   * Indexes into `CompiledView.partials`, in the order `operation.finalize` takes their states; with a secondary key
   * one, of a `GroupedState`.
   */
  readonly partials: readonly number[];
  /** With a secondary key: indexes into the states of a group, in that order, and the key's type. null: without. */
  readonly groups: { readonly inner: readonly number[]; readonly type: ColumnType } | null;
  /** Index of the partial that counts the rows that count here; null: all rows do, or groups tell. */
  readonly presence: number | null;
  /** Past which age of the newest row that counts the value is stale, ms, and the partial that has its time; null: past none. */
  readonly maxAge: { readonly ms: number; readonly partial: number } | null;
  /** Index into `CompiledView.newestRows` where the window is one of last events; −1 elsewhere. */
  readonly newestRows: number;
  /** Answer of an empty window. */
  readonly empty: FeatureValue;
}

export interface CompiledView {
  readonly definition: FeatureView;
  readonly name: string;
  readonly source: StreamSource;
  readonly entity: Entity;
  /** Identity of the view's state (C11): 16 hex digits, a hash of the fingerprint. */
  readonly namespace: string;
  /** The canonical JSON whose hash is `namespace`. */
  readonly fingerprint: string;
  readonly columns: readonly StoredColumn[];
  readonly storages: readonly ColumnStorage[];
  /** All, the narrow ones first: those before the wide ones, see `TileView`. */
  readonly partials: readonly PartialAggregate[];
  readonly narrow: readonly PartialAggregate[];
  readonly wide: readonly PartialAggregate[];
  readonly features: readonly CompiledFeature[];
  /** How far back its windows reach, those without an old edge left out, ms; 0 when there are none. */
  readonly longestWindowMs: number;
  /** How far back a new edge lies at most, ms. */
  readonly largestOffsetMs: number;
  readonly hasLifetime: boolean;
  /** Whether some partial needs its rows in order: see `PartialAggregate`. */
  readonly ordered: boolean;
  /** Largest offset of its lifetime windows, ms. */
  readonly lifetimeOffsetMs: number;
  /** What is remembered for windows of last events. */
  readonly newestRows: readonly NewestRowsSpec[];
  /** Whether some window has no old edge, so that no event is too old. */
  readonly keepsForever: boolean;
  readonly asOfRetentionMs: number;
  readonly resolutionMs: number | null;
  readonly maxStateBytes: number;
  readonly latenessMs: number;
  readonly dedupeHorizonMs: number;
  /** Whether the source has event ids. */
  readonly hasEventIds: boolean;
  /** The entity key as text, or null when the event has none. @throws ProjectionError where it is longer than 1024 bytes */
  keyOf(event: EventRow): string | null;
  /** Filter and projections: the values of `columns` as stored (hashes taken), or null when filtered out. @throws what the user's function threw, as ProjectionError */
  project(event: EventRow): readonly (number | bigint | string | null)[] | null;
}

export interface CompiledSource {
  readonly definition: StreamSource;
  readonly name: string;
  readonly views: readonly CompiledView[];
  /** Retention the log needs: the largest of the views' asOfRetention + longest window + resolution, ms; Infinity with a lifetime window. */
  readonly retentionMs: number;
}

export interface CompiledService {
  readonly definition: FeatureService;
  readonly name: string;
  /** Entities a request must name, in order of first use. */
  readonly entities: readonly Entity[];
  /** Request data a request must give: every column some on-demand feature needs. */
  readonly request: Readonly<Record<string, { readonly type: ColumnType; readonly nullable: boolean }>>;
  /** Views to read, each once, and which of their features are needed. */
  readonly views: readonly { readonly view: CompiledView; readonly features: readonly CompiledFeature[] }[];
  /** On-demand features to compute, inputs before users; includes those needed only as inputs. */
  readonly onDemand: readonly OnDemandFeature[];
  /** Names in the order of the response. */
  readonly output: readonly {
    readonly name: string;
    readonly kind: 'aggregate' | 'on_demand';
    readonly view: CompiledView | null;
  }[];
  /** Of a question that names none, ms. */
  readonly deadlineMs: number;
  /** How old a value may be that is answered where the store cannot be read, ms; 0: none is. */
  readonly staleForMs: number;
}

export interface CompiledRepo {
  readonly sources: ReadonlyMap<string, CompiledSource>;
  readonly entities: ReadonlyMap<string, Entity>;
  readonly views: ReadonlyMap<string, CompiledView>;
  readonly services: ReadonlyMap<string, CompiledService>;
}

export const sourcesOf = ({ sources }: CompiledRepo): StreamSource[] =>
  [...sources.values()].map(({ definition }) => definition);
