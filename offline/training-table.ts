/** The finished training set as a query: the spine's columns, then the features, in the order of the spine. */
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type TransportColumn, transportOf, transportOfType } from './feature-transport.ts';
import type { ViewValues } from './on-demand-values.ts';
import { PLACE, SPINE } from './spine.ts';
import type { ValueTable } from './value-table.ts';

export interface TrainingColumn {
  readonly name: string;
  /** DuckDB's type. */
  readonly sqlType: string;
  readonly sql: string;
  /** Type of the catalogue; null: a column of the spine. */
  readonly feature: string | null;
  /** Of a feature: as it is in the tables it was gathered in; null: a column of the spine. */
  readonly stored: { readonly sql: string; readonly transport: TransportColumn } | null;
}

export interface TrainingTable {
  readonly columns: readonly TrainingColumn[];
  /** What stands behind FROM; to be ordered by `s."$place"`. */
  readonly from: string;
  /** Of the definitions and the inputs: text by name. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** @param of.prefix before the names of features */
export async function trainingTable(of: {
  readonly db: DuckDb;
  readonly service: CompiledService;
  readonly spineColumns: readonly string[];
  readonly views: readonly ViewValues[];
  readonly onDemand: ValueTable | null;
  readonly prefix: string;
  readonly metadata: ReadonlyMap<string, string>;
}): Promise<TrainingTable> {
  const { db, service, spineColumns, views, onDemand, prefix, metadata } = of;
  const spineTypes = await db.columns(SPINE);
  const columns: TrainingColumn[] = spineColumns.map((name) => ({
    name,
    sqlType: spineTypes.get(name)!,
    sql: `s.${quoted(name)}`,
    ...{ feature: null, stored: null },
  }));
  for (const { name, view } of service.output) {
    const { transport, column, type } =
      view === null ? onDemandColumn(service, name) : featureColumn(views, view.name, name);
    columns.push({
      name: `${prefix}${name}`,
      sqlType: transport.sqlType,
      sql: transport.sql(column),
      feature: type,
      stored: { sql: column, transport },
    });
  }
  const join = (table: ValueTable, as: string): string =>
    `LEFT JOIN ${quoted(table.name)} ${as} ON ${as}.place = s.${quoted(PLACE)}`;
  const joins = views.map(({ table }, v) => join(table, `v${v}`));
  if (onDemand !== null) joins.push(join(onDemand, 'o'));
  return { columns, from: `${SPINE} s ${joins.join(' ')}`, metadata };
}

interface FeatureColumn {
  readonly transport: TransportColumn;
  readonly column: string;
  readonly type: string;
}

function featureColumn(views: readonly ViewValues[], view: string, name: string): FeatureColumn {
  const v = views.findIndex((own) => own.view.view.name === view);
  const f = views[v]!.view.features.findIndex((feature) => feature.name === name);
  const feature = views[v]!.view.features[f]!;
  return { transport: transportOf(feature), column: `v${v}.f${f}`, type: resultTypeOf(feature) };
}

function onDemandColumn(service: CompiledService, name: string): FeatureColumn {
  const o = service.onDemand.findIndex((feature) => feature.name === name);
  const { type } = service.onDemand[o]!;
  return { transport: transportOfType(type), column: `o.f${o}`, type };
}

/** The query. @param written how a column is written. @default as it is */
export function selectOf(
  { columns, from }: TrainingTable,
  written = ({ sql }: TrainingColumn): string => sql,
): string {
  const selected = columns.map((column) => `${written(column)} AS ${quoted(column.name)}`);
  return `SELECT ${selected.join(', ')} FROM ${from} ORDER BY s.${quoted(PLACE)}`;
}
