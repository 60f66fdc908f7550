/**
 * Types of a spine's columns that a file has as texts: labels, which are carried through and mean nothing here. A column gets
 * another type than text only where every value can be had back from it: '007' is no number, 'F' no boolean, 01/02/2024 no day.
 */
import { type DuckDb, quoted } from './duckdb.ts';

interface TextType {
  readonly sqlType: string;
  /** Holds for values that can be of the type without loss. @param x a text as SQL, not null */
  holds(x: string): string;
}

const matches = (x: string, pattern: string): string => `regexp_full_match(${x}, '${pattern}')`;
const INTEGER = '-?(0|[1-9][0-9]{0,18})';
const DAY = '[0-9]{4}-[0-9]{2}-[0-9]{2}';
const CLOCK = '[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?';
const ZONE = '(Z|[+-][0-9]{2}:?[0-9]{2})';

const cast = (x: string, sqlType: string): string => `TRY_CAST(${x} AS ${sqlType}) IS NOT NULL`;

const NUMBERS: readonly TextType[] = [
  { sqlType: 'BOOLEAN', holds: (x) => `${x} IN ('true', 'false')` },
  {
    sqlType: 'BIGINT',
    holds: (x) => `${matches(x, INTEGER)} AND ${x} <> '-0' AND ${cast(x, 'BIGINT')}`,
  },
  {
    // 15 digits are the same in a double.
    sqlType: 'DOUBLE',
    holds: (x) =>
      `${matches(x, '-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]{1,3})?')} AND isfinite(TRY_CAST(${x} AS DOUBLE))
       AND (length(regexp_replace(${x}, '[eE].*|[^0-9]', '', 'g')) <= 15 OR ${isShortest(x)})`,
  },
];

/** Programs write doubles with up to 17 digits, which are read as the same double. */
function isShortest(x: string): string {
  return `(contains(${x}, '.') AND length(regexp_replace(${x}, '[eE].*|[^0-9]', '', 'g')) <= 18)`;
}

const TIMES: readonly TextType[] = [
  { sqlType: 'DATE', holds: (x) => `${matches(x, DAY)} AND ${cast(x, 'DATE')}` },
  {
    sqlType: 'TIMESTAMP',
    holds: (x) => `${matches(x, `${DAY}[T ]${CLOCK}`)} AND ${cast(x, 'TIMESTAMP')}`,
  },
  {
    sqlType: 'TIMESTAMP WITH TIME ZONE',
    holds: (x) => `${matches(x, `${DAY}[T ]${CLOCK}${ZONE}`)} AND ${cast(x, 'TIMESTAMP WITH TIME ZONE')}`,
  },
];

/**
 * DuckDB's types for columns of texts, by one scan of them; VARCHAR where nothing else holds for every value.
 * @param of.numbers whether a text may be a number or a boolean: in CSV everything is a text, in JSON a text is meant
 */
export async function textTypes(
  db: DuckDb,
  of: { readonly sql: string; readonly names: readonly string[]; readonly numbers: boolean },
): Promise<Map<string, string>> {
  const { sql, names, numbers } = of;
  if (names.length === 0) return new Map();
  const types = numbers ? [...NUMBERS, ...TIMES] : TIMES;
  const asked = names.flatMap((name, c) => {
    const x = quoted(name);
    const holding = types.map(
      ({ holds }, t) =>
        `coalesce(bool_and(coalesce(${holds(x)}, false)) FILTER (${x} IS NOT NULL), false) AS c${c}_${t}`,
    );
    return holding;
  });
  const found = await db.row(`SELECT ${asked.join(', ')} FROM ${sql}`);
  return new Map(
    names.map((name, c) => [name, types.find((_, t) => found[`c${c}_${t}`] === true)?.sqlType ?? 'VARCHAR']),
  );
}

/** Columns of texts as the types found for them. @param types by name; others stay as they are */
export function typedTexts(sql: string, types: ReadonlyMap<string, string>): string {
  const casts = [...types]
    .filter(([, type]) => type !== 'VARCHAR')
    .map(([name, type]) => `CAST(${quoted(name)} AS ${type}) AS ${quoted(name)}`);
  return casts.length === 0 ? sql : `(SELECT * REPLACE (${casts.join(', ')}) FROM ${sql})`;
}
