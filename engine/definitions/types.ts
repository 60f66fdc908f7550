/**
 * What a feature repo is made of: plain frozen data plus pure functions. The builders beside this file make
 * these shapes and infer names and types; `compile.ts` checks a whole repo and turns it into what ingest and
 * serve run on.
 */
import type { ColumnType, ColumnValue, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CalendarUnit, WeekStart } from '../windows/calendar-period.ts';

/** Names of everything: sources, columns, entities, views, features, services. */
export const NAME_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

export interface Described {
  readonly description?: string;
  readonly owner?: string;
  readonly tags?: readonly string[];
}

/** Made by a builder. */
export interface Built {
  /** What the builder was given that cannot work: `compileRepo` reports it. Left out: nothing. */
  readonly problems?: readonly string[];
}

export interface Column extends Built {
  readonly type: ColumnType;
  /** A nullable column may be null or left out; in CSV its empty field is null. */
  readonly nullable: boolean;
}

export type Columns = Readonly<Record<string, Column>>;

/** An event after decoding: every declared column is present. */
export type EventRow = Readonly<Record<string, ColumnValue>>;

/** Where the rows of a batch source come from: `millrace load` reads them. No part of any view's identity. */
export interface BatchTable {
  /** Files, by a path that begins at the feature repo, or a query for DuckDB. */
  readonly from: { readonly path: string } | { readonly sql: string; readonly setup?: string };
  /** Names of the columns that say what a fact is about. */
  readonly key: readonly string[];
  /** Names of the table's own columns; the source has `fact_id` and maybe `loaded_at` beside them. */
  readonly columns: readonly string[];
  /** Column of the table; null: a row holds from when it was loaded. */
  readonly effectiveTime: string | null;
  /** How often it is looked at, ms; null: not by itself. */
  readonly everyMs: number | null;
}

export interface StreamSource<C extends Columns = Columns> extends Described, Built {
  readonly kind: 'stream_source';
  readonly name: string;
  /** Kafka topic or embedded log; defaults to the name. */
  readonly topic: string;
  readonly columns: C;
  /** A non-nullable `timestamp` column. */
  readonly eventTime: string;
  /** A non-nullable `string`, `integer` or `long` column; null: the log position identifies an event. */
  readonly eventId: string | null;
  /** How far apart in event time two events with one id are still the same event. Default 1 h. */
  readonly dedupeHorizonMs: number;
  /** Events further ahead of their append time than this are refused. Default 10 min. */
  readonly maxFutureMs: number;
  /** How long folding waits for late events. Never drops anything. Default 1 min. */
  readonly latenessMs: number;
  /** Left out: events come as they happen. */
  readonly batch?: BatchTable;
}

export interface Entity extends Described, Built {
  readonly kind: 'entity';
  /** Also the name under which requests give the key, e.g. `customer_id`. */
  readonly name: string;
}

export type Window =
  /** Events with T − offset − size < time ≤ T − offset. */
  | { readonly kind: 'sliding'; readonly sizeMs: number; readonly offsetMs: number }
  /** Events with time ≤ T − offset. */
  | { readonly kind: 'lifetime'; readonly offsetMs: number }
  /**
   * Sliding windows of one size, a step apart: the newest ends at T − end, the oldest begins no earlier than T − start.
   * The answer is an array, oldest first.
   */
  | {
      readonly kind: 'series';
      readonly startMs: number;
      readonly endMs: number;
      readonly sizeMs: number;
      readonly stepMs: number;
    }
  /** Events since the hour, day, week, month or year of T began in a time zone, up to T. */
  | {
      readonly kind: 'calendar';
      readonly unit: CalendarUnit;
      /** IANA name. */
      readonly timeZone: string;
      readonly weekStart: WeekStart;
    }
  /**
   * The newest `count` events with time ≤ T, of those with T − within < time where `withinMs` is not null. For T ≈ now:
   * a state remembers some more rows than asked for, not all.
   */
  | { readonly kind: 'last_events'; readonly count: number; readonly withinMs: number | null };

/** An aggregation of a column over a window. */
export interface Feature<Col extends string | null = string | null, V = unknown> extends Described, Built {
  readonly kind: 'feature';
  /** `Operation.name`. */
  readonly operation: string;
  readonly column: Col;
  readonly params: readonly number[];
  /** Column that says in which order rows are taken, where the operation asks for one. */
  readonly orderBy?: string;
  /** Boolean column: only events for which it is true count. Left out: all. */
  readonly where?: string;
  /** One answer for each value of this column, at most `max` of them. Left out: one answer. */
  readonly by?: { readonly column: string; readonly max: number };
  readonly window: Window;
  /** Answer of an empty window instead of the operation's own; undefined: the operation's own. */
  readonly default?: FeatureValue;
  /** The value has the status `stale` where its newest event is older than this at the as-of time, ms. Left out: never. */
  readonly maxAgeMs?: number;
  /** Phantom: the inferred type of the value. Never set. */
  readonly __value?: V;
}

/** A column computed from the event; must be pure. A thrown error dead-letters the event for this view. */
export interface Projection<Row> {
  readonly type: ColumnType;
  /** Default false: a null is then an error. */
  readonly nullable?: boolean;
  readonly from: (event: Row) => ColumnValue;
}

export interface FeatureView<Fs = Readonly<Record<string, Feature>>> extends Described, Built {
  readonly kind: 'feature_view';
  readonly name: string;
  readonly source: StreamSource;
  readonly entity: Entity;
  /** Source column that holds the entity key; defaults to the entity's name. A null key: not counted. */
  readonly keyColumn: string;
  /** Pure; false: the event does not count in this view. */
  readonly filter: ((event: EventRow) => boolean) | null;
  readonly project: Readonly<Record<string, Projection<EventRow>>>;
  readonly features: Fs;
  /** Allowed error of a window's old edge, ms; null: exact. */
  readonly resolutionMs: number | null;
  /** Size of one key's state, bytes, past which the oldest of it is coarsened. Default 8 MiB. */
  readonly maxStateBytes: number;
  /** How far back `at` may lie. Default 1 day. */
  readonly asOfRetentionMs: number;
  /** Raise when `filter` or a projection changes its meaning. Default 1. */
  readonly version: number;
}

/** One feature of a view, as services and on-demand features refer to it. */
export interface FeatureReference<V = unknown> {
  readonly kind: 'feature_reference';
  readonly view: FeatureView;
  readonly name: string;
  /** Phantom. */
  readonly __value?: V;
}

/** A function of request data, the as-of time and other features; must be pure. */
export interface OnDemandFeature<V = unknown> extends Described, Built {
  readonly kind: 'on_demand_feature';
  readonly name: string;
  readonly type: ColumnType;
  /** Local name → feature it reads. */
  readonly inputs: Readonly<Record<string, FeatureReference | OnDemandFeature>>;
  /** Request data it needs. */
  readonly request: Columns;
  readonly compute: (args: {
    readonly features: Readonly<Record<string, FeatureValue>>;
    readonly request: Readonly<Record<string, ColumnValue>>;
    readonly atMs: number;
  }) => FeatureValue;
  /** Phantom. */
  readonly __value?: V;
}

export interface FeatureService extends Described, Built {
  readonly kind: 'feature_service';
  readonly name: string;
  /** In the order of the response. A whole view stands for all its features. */
  readonly features: readonly (FeatureReference | OnDemandFeature)[];
  /** Left out: `DEFAULT_DEADLINE`. */
  readonly deadlineMs?: number;
  /** Left out: never. */
  readonly staleForMs?: number;
}

export type Definition = StreamSource | Entity | FeatureView | OnDemandFeature | FeatureService;
