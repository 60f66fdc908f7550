/** A checked feature repo in the form that ingest, compaction and serve run on. Made by `compile.ts`. */
import type {
  ColumnNeed,
  ColumnType,
  FeatureValue,
  Operation,
  PartialAggregate,
} from '../aggregators/partial-aggregate.ts';
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
  /** Indexes into `CompiledView.partials`, in the order `operation.finalize` takes their states. */
  readonly partials: readonly number[];
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
  readonly partials: readonly PartialAggregate[];
  /** Whether some partial is an ordered one. */
  readonly ordered: boolean;
  readonly features: readonly CompiledFeature[];
  /** Largest offset + size of its sliding windows, ms; 0 when there are none. */
  readonly longestWindowMs: number;
  readonly hasLifetime: boolean;
  /** Largest offset of its lifetime windows, ms. */
  readonly lifetimeOffsetMs: number;
  readonly asOfRetentionMs: number;
  readonly resolutionMs: number | null;
  readonly latenessMs: number;
  readonly dedupeHorizonMs: number;
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
}

export interface CompiledRepo {
  readonly sources: ReadonlyMap<string, CompiledSource>;
  readonly entities: ReadonlyMap<string, Entity>;
  readonly views: ReadonlyMap<string, CompiledView>;
  readonly services: ReadonlyMap<string, CompiledService>;
}
