/** On-demand features of the rows of a spine: DuckDB joins what was found for their inputs, threads evaluate. */
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { ColumnBuffer, isNumberColumn, transported } from './column-buffer.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type EvaluationPool, inOrder } from './evaluation-pool.ts';
import { transportOfType } from './feature-transport.ts';
import { type OnDemandBatch, onDemandInputs } from './on-demand-evaluator.ts';
import { AT, PLACE, requestColumn, SPINE } from './spine.ts';
import { ValueTable } from './value-table.ts';

/** Rows of a batch at least, but for the last. */
const BATCH_ROWS = 16_384;

/** Where the values of a view's features are. */
export interface ViewValues {
  readonly view: CompiledService['views'][number];
  readonly table: ValueTable;
}

/**
 * Fills a table with the values of all on-demand features of the service, in their order.
 * @param views of the service, in its order
 * @param onRows told how many rows are done, now and then
 * @returns the table, and for how many rows each feature failed, where it did
 */
export async function onDemandValues(
  db: DuckDb,
  service: CompiledService,
  views: readonly ViewValues[],
  pool: EvaluationPool,
  onRows: (done: number) => void,
): Promise<{ readonly table: ValueTable; readonly errors: ReadonlyMap<string, number> }> {
  const table = new ValueTable(
    db,
    'values on demand',
    service.onDemand.map(({ type }) => transportOfType(type)),
  );
  await table.create();
  pool.begin({ kind: 'on_demand', service: service.name });
  const errors = new Map<string, number>();
  let done = 0;
  await inOrder(
    pool,
    batches(db, service, views),
    (batch) => pool.onDemand(batch),
    async (rows) => {
      await table.append(rows);
      rows.errors.forEach((count, o) => {
        const { name } = service.onDemand[o]!;
        if (count > 0) errors.set(name, (errors.get(name) ?? 0) + count);
      });
      done += rows.places.length;
      onRows(done);
    },
  );
  await table.finish();
  return { table, errors };
}

interface ReadColumn {
  readonly sql: string;
  readonly isNumber: boolean;
}

async function* batches(
  db: DuckDb,
  service: CompiledService,
  views: readonly ViewValues[],
): AsyncGenerator<OnDemandBatch> {
  const request = Object.entries(service.request).map(
    ([name, { type }]): ReadColumn => ({
      sql: transported(`s.${quoted(requestColumn(name))}`, type),
      isNumber: isNumberColumn(type),
    }),
  );
  const read = onDemandInputs(service);
  const isRead = views.map((_, v) => read.some(({ view }) => view === v));
  const inputs = read.map(({ view, feature }): ReadColumn => {
    const { isNumber, tableType } = views[view]!.table.transports[feature]!;
    const stored = `v${view}.f${feature}`;
    return { sql: tableType === 'VARCHAR' ? transported(stored, 'string') : stored, isNumber };
  });
  const numbers = [
    `CAST(s.${quoted(PLACE)} AS DOUBLE)`,
    `CAST(s.${quoted(AT)} AS DOUBLE)`,
    ...views.map((_, v) => (isRead[v] ? `CAST(coalesce(v${v}.k, -1) AS DOUBLE)` : "'-1'::DOUBLE")),
  ].map((sql): ReadColumn => ({ sql, isNumber: true }));
  const columns = [...numbers, ...request, ...inputs];
  const joins = views.map(({ table: { name } }, v) =>
    isRead[v] ? `LEFT JOIN ${quoted(name)} v${v} ON v${v}.place = s.${quoted(PLACE)}` : '',
  );
  const buffer = new ColumnBuffer(
    columns.map(({ isNumber }) => isNumber),
    BATCH_ROWS,
  );
  const take = (): OnDemandBatch => {
    const whole = buffer.take(buffer.length);
    const behindKeys = 2 + views.length;
    const [places, times, ...keys] = whole.slice(0, behindKeys) as [
      Float64Array,
      Float64Array,
      ...Float64Array[],
    ];
    const behindRequest = behindKeys + request.length;
    return {
      places,
      times,
      keys,
      request: whole.slice(behindKeys, behindRequest),
      inputs: whole.slice(behindRequest),
    };
  };
  const sql = `SELECT ${columns.map((column) => column.sql).join(', ')} FROM ${SPINE} s ${joins.join(' ')}`;
  for await (const chunk of db.stream(sql)) {
    buffer.add(chunk);
    if (buffer.length >= BATCH_ROWS) yield take();
  }
  if (buffer.length > 0) yield take();
}
