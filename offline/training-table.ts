/** The finished training set as a relation: the spine's columns, then the features. */
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

/** from ≤ place < to */
export interface PlaceRange {
  readonly from: number;
  readonly to: number;
}

export interface TrainingTable {
  readonly columns: readonly TrainingColumn[];
  readonly rows: number;
  /** What stands behind FROM: all rows, or those of a range. Their places are `s."$place"`. */
  readonly from: (range?: PlaceRange) => string;
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
  const tables = views.map(({ table }, v): [string, string] => [quoted(table.name), `v${v}`]);
  if (onDemand !== null) tables.push([quoted(onDemand.name), 'o']);
  const from = (range?: PlaceRange): string => {
    const within = (relation: string, place: string): string =>
      range === undefined
        ? relation
        : `(FROM ${relation} WHERE ${place} >= ${range.from} AND ${place} < ${range.to})`;
    const joins = tables.map(
      ([name, as]) => `LEFT JOIN ${within(name, 'place')} ${as} ON ${as}.place = s.${quoted(PLACE)}`,
    );
    return `${within(SPINE, quoted(PLACE))} s ${joins.join(' ')}`;
  };
  const { rows } = await db.row(`SELECT count(*) AS rows FROM ${SPINE}`);
  return { columns, rows: Number(rows), from, metadata };
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
