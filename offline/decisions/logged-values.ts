/** Values as they were answered, in the tables that computed ones are gathered in: so what is made of them is made by the same code. */
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import { normalLong } from '../../engine/definitions/column-value.ts';
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import { resultTypeOf } from '../../engine/definitions/result-type.ts';
import type { BatchColumn } from '../as-of-batch.ts';
import { type DuckDb, quoted } from '../duckdb.ts';
import { type TransportColumn, transportOf, transportOfType } from '../feature-transport.ts';
import type { ViewValues } from '../on-demand-values.ts';
import { PLACE, SPINE } from '../spine.ts';
import { ValueTable } from '../value-table.ts';
import { DECISION } from './decision-spine.ts';
import { DECISIONS } from './decision-table.ts';

/** Statuses of values that a model may learn from (C9); of others there is null. */
const LEARNABLE: readonly unknown[] = ['present', 'empty', 'coarse'];

export interface LoggedValues {
  readonly views: readonly ViewValues[];
  readonly onDemand: ValueTable | null;
  /** By feature: values that became null for their status. */
  readonly notLearnable: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

interface LoggedColumn {
  readonly name: string;
  readonly type: string;
  readonly transport: TransportColumn;
}

/** Reads them for the rows of the spine, which has `DECISION`. */
export async function loggedValues(db: DuckDb, service: CompiledService): Promise<LoggedValues> {
  const views = service.views.map((view): ViewValues => {
    const table = new ValueTable(db, `values ${view.view.name}`, view.features.map(transportOf));
    return { view, table };
  });
  const isOutput = new Set(service.output.map(({ name }) => name));
  const ofViews = views.map(({ view, table }) =>
    view.features.map(
      (feature, f): LoggedColumn => ({
        // What is only an input was not answered.
        name: isOutput.has(feature.name) ? feature.name : '',
        type: resultTypeOf(feature),
        transport: table.transports[f]!,
      }),
    ),
  );
  const ofOnDemand = service.onDemand.map(
    ({ name, type }): LoggedColumn => ({
      name: isOutput.has(name) ? name : '',
      type,
      transport: transportOfType(type),
    }),
  );
  const onDemand =
    ofOnDemand.length === 0
      ? null
      : new ValueTable(
          db,
          'values on demand',
          ofOnDemand.map(({ transport }) => transport),
        );
  const tables = [
    ...views.map(({ table }, v) => ({ table, columns: ofViews[v]! })),
    ...(onDemand === null ? [] : [{ table: onDemand, columns: ofOnDemand }]),
  ];
  for (const { table } of tables) await table.create();
  const notLearnable = new Map<string, Map<string, number>>();
  const rows = db.stream(
    `SELECT CAST(s.${quoted(PLACE)} AS DOUBLE), CAST(d.features AS VARCHAR), CAST(d.statuses AS VARCHAR)
     FROM ${SPINE} s JOIN ${DECISIONS} d ON d.n = s.${quoted(DECISION)}`,
  );
  for await (const chunk of rows) {
    const records = chunk.getRows() as [number, string, string][];
    const places = Float64Array.from(records, ([place]) => place);
    const answers = records.map(([, features, statuses]) => ({
      features: JSON.parse(features) as Record<string, unknown>,
      statuses: JSON.parse(statuses) as Record<string, unknown>,
    }));
    for (const { table, columns } of tables) {
      const values = columns.map(({ name, type, transport }): BatchColumn => {
        const written = answers.map(({ features, statuses }) => {
          if (name === '' || !Object.hasOwn(features, name)) return transport.write(null);
          const status = Object.hasOwn(statuses, name) ? statuses[name] : null;
          if (LEARNABLE.includes(status))
            return transport.write(loggedValue(type, transport.pairType, features[name]));
          const counts = notLearnable.get(name) ?? new Map<string, number>();
          notLearnable.set(name, counts.set(String(status), (counts.get(String(status)) ?? 0) + 1));
          return transport.write(null);
        });
        return transport.isNumber ? Float64Array.from(written as number[]) : written;
      });
      await table.append({ keys: new Float64Array(places.length), places, columns: values });
    }
  }
  for (const { table } of tables) await table.finish();
  return { views, onDemand, notLearnable };
}

/** From JSON, as `JSON.parse` gives it, to the value that was answered. */
export function loggedValue(type: string, column: string, json: unknown): FeatureValue {
  if (json === null) return null;
  if (type.endsWith('[]'))
    return (json as unknown[]).map((part) => loggedValue(type.slice(0, -2), column, part)) as FeatureValue;
  if (type.startsWith('map<')) {
    const entries = Object.entries(json as object);
    return new Map(
      entries.map(([key, part]) => [key, loggedValue(type.slice(4, -1), column, part)]),
    ) as FeatureValue;
  }
  if (type === 'pair') {
    const [value, count] = json as [unknown, number];
    return [loggedValue(column, column, value), count] as FeatureValue;
  }
  if ((type === 'integer' || type === 'long') && typeof json === 'string') {
    const integer = BigInt(json);
    return normalLong(integer) ?? integer;
  }
  return json as FeatureValue;
}
