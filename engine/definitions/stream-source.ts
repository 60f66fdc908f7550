import { type Duration, durationMsOrAsIs } from '../windows/duration.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import type { ColumnNames } from './column.ts';
import { DESCRIBED_OPTIONS, described, frozenCopy } from './described.ts';
import type { Columns, Described, StreamSource } from './types.ts';

export const DEFAULT_DEDUPE_HORIZON: Duration = '1h';
export const DEFAULT_MAX_FUTURE: Duration = '10m';
export const DEFAULT_LATENESS: Duration = '1m';

export interface StreamSourceOptions<C extends Columns> extends Described {
  readonly name: string;
  /** Kafka topic or embedded log. @default the name */
  readonly topic?: string;
  readonly columns: C;
  /** A non-nullable `timestamp` column. */
  readonly eventTime: ColumnNames<C, 'timestamp', false>;
  /** A non-nullable `string`, `integer` or `long` column. Without one the log position identifies an event. */
  readonly eventId?: ColumnNames<C, 'string' | 'integer' | 'long', false>;
  /** How far apart in event time two events with one id are still the same event. @default '1h' */
  readonly dedupeHorizon?: Duration;
  /** Events further ahead of the clock than this are refused. @default '10m' */
  readonly maxFuture?: Duration;
  /** How long folding waits for late events; never drops anything. @default '1m' */
  readonly lateness?: Duration;
}

const KNOWN = [
  'name',
  'topic',
  'columns',
  'eventTime',
  'eventId',
  'dedupeHorizon',
  'maxFuture',
  'lateness',
  ...DESCRIBED_OPTIONS,
];

/**
 * A stream of events with a schema.
 *
 * @example
 * const swipes = streamSource({
 *   name: 'swipes',
 *   columns: { id: long(), at: timestamp(), card: string(), amount: double() },
 *   eventTime: 'at',
 *   eventId: 'id',
 * });
 */
export function streamSource<const C extends Columns>(given: StreamSourceOptions<C>): StreamSource<C> {
  const problems = unknownOptions('', given, KNOWN);
  const options = readableOptions(given);
  return Object.freeze({
    kind: 'stream_source',
    name: options.name,
    topic: options.topic ?? options.name,
    columns: frozenCopy(options.columns),
    eventTime: options.eventTime,
    eventId: options.eventId ?? null,
    dedupeHorizonMs: durationMsOrAsIs(options.dedupeHorizon ?? DEFAULT_DEDUPE_HORIZON),
    maxFutureMs: durationMsOrAsIs(options.maxFuture ?? DEFAULT_MAX_FUTURE),
    latenessMs: durationMsOrAsIs(options.lateness ?? DEFAULT_LATENESS),
    ...described(options),
    ...withProblems(problems),
  });
}
