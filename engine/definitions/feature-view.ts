import type { ColumnType, FeatureValue } from '../aggregators/partial-aggregate.ts';
import { type Duration, durationMsOrAsIs } from '../windows/duration.ts';
import type { FeatureExtras, FeatureOf } from './aggregation.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import type { RowOf, TypedColumn, ValueOfType } from './column.ts';
import { DESCRIBED_OPTIONS, described, frozenCopy } from './described.ts';
import type { EntityOf } from './entity.ts';
import type {
  Columns,
  Described,
  EventRow,
  Feature,
  FeatureReference,
  FeatureView,
  Projection,
  StreamSource,
} from './types.ts';
import type { AcceptedBy, OperationName, OrderedBy, ValueOfOperation, WithDefault } from './value-types.ts';

export const DEFAULT_AS_OF_RETENTION: Duration = '1d';
export const DEFAULT_MAX_STATE_BYTES = 8 * 2 ** 20;

/** Types a key column may have: keys are compared as text, which other types do not have exactly one of. */
type KeyType = 'string' | 'integer' | 'long';

/** Source columns and projected columns together. */
type ViewColumns<C extends Columns, T, N> = C & {
  readonly [K in keyof T]: TypedColumn<
    T[K] extends ColumnType ? T[K] : ColumnType,
    K extends keyof N ? (N[K] extends true ? true : false) : false
  >;
};

type NoSuchColumn<Col extends string> =
  `column '${Col}' does not exist here; it is neither a column of the source nor a projected one`;

/** `unknown` where a feature fits the columns, otherwise a string type that says why it does not. */
type FeatureProblem<C, F> =
  F extends FeatureOf<infer Op, infer Col, infer _D, infer X>
    ? (Col extends string ? ColumnProblem<C, Col, AcceptedBy<Op>, `${Op} does not take`> : unknown) &
        ExtraProblem<C, X, 'order', OrderedBy<Op>, `${Op} does not order by`> &
        ExtraProblem<C, X, 'where', 'boolean', 'where takes a boolean column,'> &
        ExtraProblem<C, X, 'group', GroupType, 'by does not take'>
    : unknown;

/** Types whose values have one text each. */
type GroupType = Exclude<ColumnType, 'double'>;

type ColumnProblem<C, Col extends string, T extends ColumnType, Text extends string> = Col extends keyof C
  ? C[Col] extends TypedColumn<T>
    ? unknown
    : C[Col] extends TypedColumn<infer Found>
      ? `${Text} column '${Col}' of type ${Found}`
      : never
  : NoSuchColumn<Col>;

/** Where the feature names such a column. */
type ExtraProblem<C, X, Name extends keyof FeatureExtras, T extends ColumnType, Text extends string> =
  X extends Readonly<Record<Name, infer Col extends string>> ? ColumnProblem<C, Col, T, Text> : unknown;

type FeatureProblems<C, Fs> = { readonly [K in keyof Fs]: FeatureProblem<C, Fs[K]> };

type KeyColumnProblem<C, Key extends string> = Key extends keyof C
  ? C[Key] extends TypedColumn<KeyType>
    ? unknown
    : `column '${Key}' cannot be an entity key: its type must be string, integer or long`
  : `the source has no column '${Key}' to take the entity key from; give keyColumn`;

/** The value of a feature, given the columns it may use. */
export type ValueOfFeature<C, F> =
  F extends FeatureOf<infer Op, infer Col, infer D, infer X>
    ? X extends { readonly series: true }
      ? readonly GroupedValue<C, Op, Col, D, X>[]
      : GroupedValue<C, Op, Col, D, X>
    : unknown;

type GroupedValue<
  C,
  Op extends OperationName,
  Col extends string | null,
  D extends FeatureValue,
  X,
> = X extends { readonly group: string }
  ? ReadonlyMap<string, ValueOfOperation<Op, TypeOfColumn<C, Col>>>
  : WithDefault<Op, ValueOfOperation<Op, TypeOfColumn<C, Col>>, D>;

/** An operation without a column is typed as over integers. */
type TypeOfColumn<C, Col> = Col extends keyof C
  ? C[Col] extends TypedColumn<infer T>
    ? T
    : never
  : 'integer';

/** A view whose feature names and value types are known to the compiler. */
export interface FeatureViewOf<C, Fs extends Readonly<Record<string, Feature>>> extends FeatureView<Fs> {
  /**
   * References to its features, for services and on-demand features. Not enumerable, as each refers back.
   *
   * @example customerSpend.feature.mean_30d
   */
  readonly feature: { readonly [K in keyof Fs]: FeatureReference<ValueOfFeature<C, Fs[K]>> };
}

type ProjectedCell<T, Nullable> =
  | (T extends ColumnType ? ValueOfType[T] : never)
  | (Nullable extends true ? null : never);

export interface FeatureViewOptions<
  C extends Columns,
  N extends string,
  Fs extends Readonly<Record<string, Feature>>,
  T extends Readonly<Record<string, ColumnType>>,
  Nullable,
  Key extends string,
> extends Described {
  readonly name: string;
  readonly source: StreamSource<C>;
  readonly entity: EntityOf<N> & KeyColumnProblem<C, Key>;
  /** Source column that holds the entity key; an event whose key is null does not count. @default the entity's name */
  readonly keyColumn?: Key;
  /** Pure: false means that the event does not count in this view. */
  readonly filter?: (event: RowOf<C>) => boolean;
  /** Columns computed from the event, pure, by name. */
  readonly project?: {
    readonly [K in keyof T]: {
      readonly type: T[K];
      readonly nullable?: boolean;
      readonly from: (event: RowOf<C>) => ProjectedCell<T[K], K extends keyof Nullable ? Nullable[K] : false>;
    };
  } & { readonly [K in keyof Nullable]: { readonly nullable?: Nullable[K] } };
  readonly features: Fs & FeatureProblems<ViewColumns<C, T, Nullable>, Fs>;
  /** Allowed error of a window's old edge. @default exact */
  readonly resolution?: Duration;
  /**
   * Size of one key's state, bytes, 64 KiB to 1 GiB. Past it the oldest rows are merged into tiles, so that old edges
   * of windows become coarse there, and the metadata names the bounds. May be changed at any time. @default 8 MiB
   */
  readonly maxStateBytes?: number;
  /** How far back `at` may lie. @default '1d' */
  readonly asOfRetention?: Duration;
  /** Raise when `filter` or a projection changes its meaning: state is rebuilt. @default 1 */
  readonly version?: number;
}

const KNOWN = [
  'name',
  'source',
  'entity',
  'keyColumn',
  'filter',
  'project',
  'features',
  'resolution',
  'maxStateBytes',
  'asOfRetention',
  'version',
  ...DESCRIBED_OPTIONS,
];

function references(view: FeatureView, features: unknown): Readonly<Record<string, FeatureReference>> {
  const byName: Record<string, FeatureReference> = Object.create(null);
  if (typeof features === 'object' && features !== null) {
    for (const name of Object.keys(features)) {
      byName[name] = Object.freeze({ kind: 'feature_reference', view, name });
    }
  }
  return Object.freeze(byName);
}

/** `fromEntries` defines its properties, so that no name (`__proto__`) is special. */
function frozenProjections(project: object): FeatureView['project'] {
  const copies = Object.entries(project).map(([name, projection]) => [name, frozenCopy(projection)]);
  return Object.freeze(Object.fromEntries(copies) as Record<string, Projection<EventRow>>);
}

/**
 * Features of one entity from one source.
 *
 * @example
 * const spend = featureView({
 *   name: 'card_spend',
 *   source: swipes,
 *   entity: card,
 *   filter: (event) => event.amount > 0,
 *   features: { count_1d: count().over('1d'), mean_30d: mean('amount').over('30d') },
 * });
 */
export function featureView<
  C extends Columns,
  const N extends string,
  const Fs extends Readonly<Record<string, Feature>>,
  // biome-ignore lint/complexity/noBannedTypes: {} is "no projections", the neutral element of ViewColumns.
  const T extends Readonly<Record<string, ColumnType>> = {},
  // biome-ignore lint/complexity/noBannedTypes: as above.
  const Nullable = {},
  const Key extends string = N,
>(given: FeatureViewOptions<C, N, Fs, T, Nullable, Key>): FeatureViewOf<ViewColumns<C, T, Nullable>, Fs> {
  const problems = unknownOptions('', given, KNOWN);
  const options = readableOptions(given);
  const view = {
    kind: 'feature_view' as const,
    name: options.name,
    source: options.source as StreamSource,
    entity: options.entity,
    keyColumn: options.keyColumn ?? (options.entity as EntityOf<N> | undefined)?.name ?? '',
    filter: (options.filter as ((event: EventRow) => boolean) | undefined) ?? null,
    project: frozenProjections(options.project ?? {}),
    features: frozenCopy(options.features) as Fs,
    resolutionMs: options.resolution === undefined ? null : durationMsOrAsIs(options.resolution),
    maxStateBytes: options.maxStateBytes ?? DEFAULT_MAX_STATE_BYTES,
    asOfRetentionMs: durationMsOrAsIs(options.asOfRetention ?? DEFAULT_AS_OF_RETENTION),
    version: options.version ?? 1,
    ...described(options),
    ...withProblems(problems),
  };
  Object.defineProperty(view, 'feature', {
    value: references(view as unknown as FeatureView, options.features),
  });
  return Object.freeze(view) as unknown as FeatureViewOf<ViewColumns<C, T, Nullable>, Fs>;
}
