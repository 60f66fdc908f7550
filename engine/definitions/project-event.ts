/**
 * From a decoded event to the values a view stores: filter, projections, hashes. Which columns are needed and
 * how is decided once; per event a fixed list of closures runs.
 */
import type { ColumnType, ColumnValue } from '../aggregators/partial-aggregate.ts';
import { hash53 } from '../hash64.ts';
import { isFailure, valueReader } from './column-value.ts';
import type { StoredColumn } from './compiled.ts';
import { checkEntityKey, ENTITY_KEY_MAX_BYTES, entityKeyText } from './entity-key.ts';
import { ProjectionError, thrownClass } from './projection-error.ts';
import type { EventRow, FeatureView, Projection } from './types.ts';

type StoredValue = number | bigint | string | null;

/** A promise is never meant: its rejection must not go unhandled, nor its truth be taken for an answer. */
function settle(value: unknown): void {
  if (typeof value === 'object' && value !== null && 'then' in value) Promise.resolve(value).catch(() => {});
}

/**
 * Equal values have equal text and different values of one column have different text, so its hash tells them
 * apart: numbers and 64-bit integers in decimal, booleans as words, text as itself.
 */
const hashOf = (value: ColumnValue): number | null =>
  value === null ? null : hash53(typeof value === 'string' ? value : String(value));

const asStored = (value: ColumnValue): StoredValue => (typeof value === 'boolean' ? (value ? 1 : 0) : value);

function projectionReader(view: FeatureView, name: string): (event: EventRow) => ColumnValue {
  const { type, nullable = false, from } = view.project[name] as Projection<EventRow>;
  const read = valueReader(type, name, 'the value returned by from()');
  return (event) => {
    let value: unknown;
    try {
      value = from(event);
    } catch (error) {
      throw new ProjectionError(view.name, name, `from() threw an error (${thrownClass(error)})`, {
        cause: error,
      });
    }
    if (value === null) {
      if (nullable) return null;
      throw new ProjectionError(view.name, name, 'from() returned null but the column is not nullable');
    }
    const result = acceptsProjected(type, value) ? read(value) : undefined;
    if (result === undefined || isFailure(result)) {
      settle(value);
      throw new ProjectionError(
        view.name,
        name,
        result?.message ?? `the value returned by from() must be ${EXPECTED[type]}`,
      );
    }
    return result;
  };
}

/** Text stands for a long or a timestamp in JSON, not in code. */
function acceptsProjected(type: ColumnType, value: unknown): boolean {
  return type === 'string' || typeof value !== 'string';
}

const EXPECTED: Readonly<Record<ColumnType, string>> = {
  string: 'a string',
  integer: 'an integer',
  long: 'an integer or a bigint',
  double: 'a number',
  boolean: 'true or false',
  timestamp: 'milliseconds since the epoch',
};

export function projectorOf(
  view: FeatureView,
  columns: readonly StoredColumn[],
): (event: EventRow) => readonly StoredValue[] | null {
  const { filter } = view;
  // Each projection runs once per event, also where its column is stored both as value and as hash.
  const projected = [...new Set(columns.map(({ name }) => name))].filter((name) =>
    Object.hasOwn(view.project, name),
  );
  const readers = projected.map((name) => projectionReader(view, name));
  const steps = columns.map(({ name, need, type }) => {
    const slot = projected.indexOf(name);
    if (slot >= 0) {
      return need === 'hash'
        ? (_: EventRow, values: readonly ColumnValue[]) => hashOf(values[slot]!)
        : (_: EventRow, values: readonly ColumnValue[]) => asStored(values[slot]!);
    }
    if (need === 'hash') return (event: EventRow) => hashOf(event[name]!);
    return type === 'boolean'
      ? (event: EventRow) => asStored(event[name]!)
      : (event: EventRow) => event[name] as StoredValue;
  });
  const count = steps.length;
  const projectedCount = readers.length;
  const none: readonly ColumnValue[] = [];
  return (event) => {
    if (filter !== null) {
      let kept: unknown;
      try {
        kept = filter(event);
      } catch (error) {
        throw new ProjectionError(view.name, null, `it threw an error (${thrownClass(error)})`, {
          cause: error,
        });
      }
      if (kept === false) return null;
      if (kept !== true) {
        settle(kept);
        throw new ProjectionError(view.name, null, 'it must return true or false');
      }
    }
    let values = none;
    if (projectedCount > 0) {
      const computed: ColumnValue[] = new Array(projectedCount);
      for (let i = 0; i < projectedCount; i++) computed[i] = readers[i]!(event);
      values = computed;
    }
    const stored: StoredValue[] = new Array(count);
    for (let i = 0; i < count; i++) stored[i] = steps[i]!(event, values);
    return stored;
  };
}

export function keyReader(view: FeatureView): (event: EventRow) => string | null {
  const { name, keyColumn } = view;
  return (event) => {
    const key = entityKeyText(event[keyColumn] as string | number | bigint | null);
    if (key !== null && checkEntityKey(key) !== null) {
      throw new ProjectionError(
        name,
        keyColumn,
        `an entity key must be at most ${ENTITY_KEY_MAX_BYTES} bytes of UTF-8`,
      );
    }
    return key;
  };
}
