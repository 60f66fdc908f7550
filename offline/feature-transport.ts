/**
 * How a feature's values go through the tables they are gathered in, and what they are in the end.
 *
 * | type of the catalogue | in the table | in the training set |
 * |---|---|---|
 * | `integer` | DOUBLE, NaN for null | BIGINT |
 * | `double` | DOUBLE, NaN for null | DOUBLE |
 * | `boolean` | DOUBLE, NaN for null | BOOLEAN |
 * | `timestamp` | DOUBLE, ms, NaN for null | TIMESTAMP WITH TIME ZONE |
 * | `long` | BIGINT | BIGINT |
 * | `string` | VARCHAR | VARCHAR |
 * | `T[]`, `map<T>`, `pair` | VARCHAR, JSON | a list, MAP(VARCHAR, T), STRUCT(value, count) |
 */
import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import { LONG_MAX, LONG_MIN, normalLong } from '../engine/definitions/column-value.ts';
import type { CompiledFeature } from '../engine/definitions/compiled.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';

type Stored = number | bigint | string | null;

export interface TransportColumn {
  /** Whether the table holds numbers, NaN for null. */
  readonly isNumber: boolean;
  /** DuckDB's type of the column in the table. */
  readonly tableType: 'DOUBLE' | 'BIGINT' | 'VARCHAR';
  /** DuckDB's type in the training set. */
  readonly sqlType: string;
  /** Type of the values of pairs. */
  readonly pairType: string;
  /** An integer of more than 64 bits is null. */
  write(value: FeatureValue): Stored;
  /** What was written. */
  read(stored: Stored): FeatureValue;
  /** The final value as SQL. @param column the table's column as SQL */
  sql(column: string): string;
}

export function transportOf(feature: CompiledFeature): TransportColumn {
  return transportOfType(resultTypeOf(feature), feature.type ?? 'string');
}

/**
 * @param type as the catalogue shows it
 * @param column type of the aggregated column: of the values of pairs
 */
export function transportOfType(type: string, column = 'string'): TransportColumn {
  return { ...formOf(type, column), pairType: column };
}

function formOf(type: string, column: string): Omit<TransportColumn, 'pairType'> {
  switch (type) {
    case 'integer':
      return numbers(
        'BIGINT',
        (value) => value,
        (x) => `CAST(${orNull(x)} AS BIGINT)`,
      );
    case 'double':
      return numbers('DOUBLE', (value) => value, orNull);
    case 'boolean':
      return numbers(
        'BOOLEAN',
        (value) => value !== 0,
        (x) => `CAST(${orNull(x)} AS BOOLEAN)`,
      );
    case 'timestamp':
      return numbers(
        'TIMESTAMP WITH TIME ZONE',
        (value) => value,
        (x) => `(epoch_ms(CAST(${orNull(x)} AS BIGINT)) AT TIME ZONE 'UTC')`,
      );
    case 'long':
      return {
        ...{ isNumber: false, tableType: 'BIGINT', sqlType: 'BIGINT' },
        write: (value) => (value === null ? null : within64Bits(value as number | bigint)),
        read: (stored) => (typeof stored === 'bigint' ? normalLong(stored) : stored),
        sql: (x) => x,
      };
    case 'string':
      return {
        ...{ isNumber: false, tableType: 'VARCHAR', sqlType: 'VARCHAR' },
        write: (value) => value as string | null,
        read: (stored) => stored,
        sql: (x) => x,
      };
    default: {
      const { sqlType, jsonText, ofJson } = jsonOf(type, column);
      return {
        ...{ isNumber: false, tableType: 'VARCHAR', sqlType },
        write: (value) => (value === null ? null : jsonText(value)),
        read: (stored) => (stored === null ? null : ofJson(JSON.parse(stored as string))),
        sql: (x) => `CAST(CAST(${x} AS JSON) AS ${sqlType})`,
      };
    }
  }
}

/** NaN is no feature value. */
const orNull = (x: string): string => `CASE WHEN isnan(${x}) THEN NULL ELSE ${x} END`;

function numbers(
  sqlType: string,
  read: (stored: number) => FeatureValue,
  sql: (column: string) => string,
): Omit<TransportColumn, 'pairType'> {
  return {
    ...{ isNumber: true, tableType: 'DOUBLE', sqlType, sql },
    write: (value) => (value === null ? Number.NaN : Number(value)),
    read: (stored) => (stored === null || Number.isNaN(stored) ? null : read(stored as number)),
  };
}

function within64Bits(value: number | bigint): number | bigint | null {
  if (Number.isSafeInteger(value)) return value;
  const integer = BigInt(value);
  return integer < LONG_MIN || integer > LONG_MAX ? null : integer;
}

interface JsonForm {
  readonly sqlType: string;
  /** Both for values that are not null. As text: an object would put keys that look like numbers first. */
  jsonText(value: FeatureValue): string;
  ofJson(json: unknown): FeatureValue;
}

const textOf =
  ({ jsonText }: JsonForm) =>
  (value: FeatureValue): string =>
    value === null ? 'null' : jsonText(value);

const partOf =
  ({ ofJson }: JsonForm) =>
  (json: unknown): FeatureValue =>
    json === null ? null : ofJson(json);

function jsonOf(type: string, column: string): JsonForm {
  if (type.endsWith('[]')) {
    const item = jsonOf(type.slice(0, -2), column);
    return {
      sqlType: `${item.sqlType}[]`,
      jsonText: (value) => `[${(value as readonly FeatureValue[]).map(textOf(item)).join(',')}]`,
      ofJson: (json) => (json as unknown[]).map(partOf(item)),
    };
  }
  if (type.startsWith('map<')) {
    const item = jsonOf(type.slice(4, -1), column);
    return {
      sqlType: `MAP(VARCHAR, ${item.sqlType})`,
      jsonText(value) {
        const entries = [...(value as ReadonlyMap<string, FeatureValue>)];
        return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${textOf(item)(v)}`).join(',')}}`;
      },
      ofJson: (json) =>
        new Map(
          Object.entries(json as object)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, v]) => [key, partOf(item)(v)]),
        ),
    };
  }
  switch (type) {
    case 'pair': {
      const item = jsonOf(column, 'string');
      return {
        sqlType: `STRUCT("value" ${item.sqlType}, "count" BIGINT)`,
        jsonText(pair) {
          const [value, count] = pair as readonly [FeatureValue, number];
          return `{"value":${textOf(item)(value)},"count":${count}}`;
        },
        ofJson(json) {
          const { value, count } = json as { value: unknown; count: number };
          return [partOf(item)(value), count];
        },
      };
    }
    case 'integer':
      return plain('BIGINT');
    case 'double':
      return plain('DOUBLE');
    case 'boolean':
      return plain('BOOLEAN');
    case 'string':
      return plain('VARCHAR');
    case 'long':
      return {
        sqlType: 'BIGINT',
        jsonText(value) {
          const long = within64Bits(value as number | bigint);
          return typeof long === 'bigint' ? `"${long}"` : `${long}`;
        },
        ofJson: (json) => (typeof json === 'string' ? normalLong(BigInt(json)) : (json as number)),
      };
    case 'timestamp':
      return {
        sqlType: 'TIMESTAMP WITH TIME ZONE',
        jsonText: (value) => `"${new Date(value as number).toISOString()}"`,
        ofJson: (json) => Date.parse(json as string),
      };
    default:
      throw new TypeError(`no column type for '${type}'`);
  }
}

function plain(sqlType: string): JsonForm {
  return { sqlType, jsonText: (value) => JSON.stringify(value), ofJson: (json) => json as FeatureValue };
}
