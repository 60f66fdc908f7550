/**
 * A batch of answers as an Arrow IPC stream: one record batch, one row for each question, in their order.
 *
 * | column | type | content |
 * |---|---|---|
 * | each feature | as in the catalogue, see `arrowType` | its value; null where it has none, and in refused rows |
 * | `FEATURE.status` | dictionary of text | its status (C9), whether or not metadata is asked for; null in refused rows |
 * | `row.at` | timestamp in ms, UTC | the as-of time; null in refused rows |
 * | `row.metadata` | text | `metadata` of the JSON answer, as JSON; null where that has none |
 * | `row.error` | text | why the row was refused, as JSON; null where it was not |
 *
 * Names of features have no dot, so that no other column can be taken for one. The schema's metadata has `service`.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import type * as Arrow from 'apache-arrow';
import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import { LONG_MAX, LONG_MIN } from '../engine/definitions/column-value.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';
import { ApiError } from './error-catalogue.ts';
import type { FeatureAnswer, FeatureStatus } from './feature-answer.ts';
import type { FeatureReader } from './feature-reader.ts';
import { collectMetadata } from './feature-response.ts';
import { UnservableValueError } from './json-value.ts';

/** Rows written before others get a turn on the thread. */
const SLICE_ROWS = 64;

export interface AnsweredRow {
  readonly answers: FeatureAnswer[];
  readonly atMs: number;
}

type ToArrow = (value: FeatureValue) => unknown;

interface ArrowColumn {
  readonly type: Arrow.DataType;
  /** A value as a builder of that type takes it. @throws UnservableValueError */
  readonly of: ToArrow;
}

export async function arrowStream(args: {
  service: CompiledService;
  output: FeatureReader['output'];
  rows: readonly (AnsweredRow | ApiError)[];
  metadata: boolean;
  statuses: Map<FeatureStatus, number>;
}): Promise<Buffer> {
  // Loaded by the first answer: most processes never write one, and loading takes a tenth of a second.
  const arrow = await import('apache-arrow');
  const { service, output, rows, metadata, statuses } = args;
  const columns = output.map(({ name }) => columnOf(arrow, service, name));
  const text = () => new arrow.Utf8();
  const build = <T extends Arrow.DataType>(type: T): Arrow.Builder<T> =>
    arrow.makeBuilder({ type, nullValues: [null] });
  const values = columns.map(({ type }) => build(type));
  const statusesOf = columns.map(() => build(new arrow.Dictionary(text(), new arrow.Int8())));
  const at = build(new arrow.TimestampMillisecond('UTC'));
  const metadataOf = build(text());
  const errors = build(text());

  for (const [r, row] of rows.entries()) {
    if (r > 0 && r % SLICE_ROWS === 0) await immediate();
    if (row instanceof ApiError) {
      for (const builder of [...values, ...statusesOf, at, metadataOf]) builder.append(null);
      errors.append(JSON.stringify(row.body().error));
      continue;
    }
    const found = collectMetadata(
      { output, answers: row.answers, atMs: row.atMs, metadata, statuses },
      (value, i) => (value === null ? null : columns[i]!.of(value)),
      (i, value, status) => {
        values[i]!.append(value);
        statusesOf[i]!.append(status);
      },
    );
    at.append(row.atMs);
    metadataOf.append(found === null ? null : JSON.stringify(found));
    errors.append(null);
  }

  const named: [string, Arrow.Builder][] = [
    ...output.map(({ name }, i): [string, Arrow.Builder] => [name, values[i]!]),
    ...output.map(({ name }, i): [string, Arrow.Builder] => [`${name}.status`, statusesOf[i]!]),
    ['row.at', at],
    ['row.metadata', metadataOf],
    ['row.error', errors],
  ];
  const fields = named.map(([name, { type }]) => new arrow.Field(name, type, true));
  const schema = new arrow.Schema(fields, new Map([['service', service.name]]));
  const children = named.map(([, builder]) => builder.finish().flush());
  const data = arrow.makeData({
    type: new arrow.Struct(fields),
    length: rows.length,
    nullCount: 0,
    children,
  });
  const writer = arrow.RecordBatchStreamWriter.writeAll([new arrow.RecordBatch(schema, data)]);
  return Buffer.from(writer.toUint8Array(true));
}

function columnOf(arrow: typeof Arrow, service: CompiledService, name: string): ArrowColumn {
  const { view } = service.output.find((output) => output.name === name)!;
  if (view === null)
    return arrowColumn(arrow, service.onDemand.find((feature) => feature.name === name)!.type, null);
  const feature = view.features.find((own) => own.name === name)!;
  return arrowColumn(arrow, resultTypeOf(feature), feature.type);
}

/**
 * A type of the catalogue: `integer` and `long` int64, `double` float64, `timestamp` in ms and UTC, `string` utf8,
 * `boolean` bool; `T[]` a list, `map<T>` a map of text to T, `pair` a struct of `value` (of the column's type) and
 * `count`.
 */
function arrowColumn(arrow: typeof Arrow, type: string, column: string | null): ArrowColumn {
  if (type.endsWith('[]')) {
    const item = arrowColumn(arrow, type.slice(0, -2), column);
    return {
      type: new arrow.List(new arrow.Field('item', item.type, true)),
      of: (value) => partsOf(value).map(nullable(item.of)),
    };
  }
  if (type.startsWith('map<')) {
    const item = arrowColumn(arrow, type.slice(4, -1), column);
    const entry = new arrow.Struct<{ key: Arrow.Utf8; value: Arrow.DataType }>([
      new arrow.Field('key', new arrow.Utf8(), false),
      new arrow.Field('value', item.type, true),
    ]);
    const own = nullable(item.of);
    return {
      type: new arrow.Map_(new arrow.Field('entries', entry, false)),
      of: (value) => {
        if (!(value instanceof Map)) throw new UnservableValueError('the value is no map');
        return new Map([...(value as ReadonlyMap<string, FeatureValue>)].map(([key, v]) => [key, own(v)]));
      },
    };
  }
  switch (type) {
    case 'pair': {
      const item = arrowColumn(arrow, column ?? 'string', null);
      const own = nullable(item.of);
      return {
        type: new arrow.Struct<Record<string, Arrow.DataType>>([
          new arrow.Field('value', item.type, true),
          new arrow.Field('count', new arrow.Int64(), true),
        ]),
        of: (pair) => {
          const [value, count] = partsOf(pair);
          return { value: own(value!), count: toInt64(count!) };
        },
      };
    }
    case 'integer':
    case 'long':
      return { type: new arrow.Int64(), of: toInt64 };
    case 'double':
      return { type: new arrow.Float64(), of: toFinite };
    case 'timestamp':
      return { type: new arrow.TimestampMillisecond('UTC'), of: toFinite };
    case 'boolean':
      return { type: new arrow.Bool(), of: only('boolean') };
    case 'string':
      return { type: new arrow.Utf8(), of: only('string') };
    default:
      throw new TypeError(`no Arrow type for '${type}'`);
  }
}

const nullable =
  (of: ToArrow): ToArrow =>
  (value) =>
    value === null ? null : of(value);

function partsOf(value: FeatureValue): readonly FeatureValue[] {
  if (!Array.isArray(value)) throw new UnservableValueError('the value is no array');
  return value;
}

const only =
  (type: 'boolean' | 'string'): ToArrow =>
  (value) => {
    if (typeof value !== type) throw new UnservableValueError(`the value is no ${type}`);
    return value;
  };

/** Sums may be larger: they are then not to be had in this encoding, and say so by their status. */
function toInt64(value: FeatureValue): bigint {
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value))
    throw new UnservableValueError('the value is no integer');
  const integer = BigInt(value as number | bigint);
  if (integer < LONG_MIN || integer > LONG_MAX)
    throw new UnservableValueError('the value has more than 64 bits');
  return integer;
}

function toFinite(value: FeatureValue): number {
  const number = Number(value);
  if ((typeof value !== 'number' && typeof value !== 'bigint') || !Number.isFinite(number))
    throw new UnservableValueError('the value is no finite number');
  return number;
}
