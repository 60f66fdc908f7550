/** Decisions as a spine: the question that each of them answered, so that the training set's own code computes it again. */
import { join } from 'node:path';
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import { type DuckDb, quoted, text } from '../duckdb.ts';
import { keyColumn, type SpineOptions } from '../spine.ts';
import type { TableInput } from '../table-relation.ts';
import { typedColumn } from '../typed-column.ts';
import { eventIdSql } from './decided-events.ts';
import { DECISIONS, jsonField } from './decision-table.ts';

/** Names that no entity and no column of a source has. */
export const DECISION = '~decision';
const AT = '~at';
const EVENT = '~event';
const REQUEST = '~request ';

/** Those of one source's events: a spine has ties with one source. */
export interface DecisionSpine {
  readonly input: TableInput;
  readonly options: SpineOptions;
}

/** Request data may be missing where only some features were asked for, which do not need it. */
export function withOptionalRequest(service: CompiledService): CompiledService {
  const request = Object.entries(service.request).map(([name, { type }]) => [name, { type, nullable: true }]);
  return { ...service, request: Object.fromEntries(request) };
}

/** Marks the decisions whose request data is not what the service asks for. */
export async function checkRequestData(db: DuckDb, service: CompiledService): Promise<void> {
  for (const [name, column] of Object.entries(service.request)) {
    const { invalid } = typedColumn(column, jsonField('request_data', name, '->'), 'json')!;
    await db.run(`UPDATE ${DECISIONS} SET left_out = 'request_data' WHERE left_out IS NULL AND ${invalid}`);
  }
}

/**
 * One for each source whose events the decisions are about; they are made one after the other, in the same file.
 * An event that a question named for another moment than its own is one event of many there: it has no tie.
 */
export async function* decisionSpines(
  db: DuckDb,
  service: CompiledService,
  workDir: string,
): AsyncGenerator<DecisionSpine> {
  const tied = `CASE WHEN event.id IS NOT NULL AND event.time_ms = at_ms THEN event.source END`;
  const found = await db.rows(
    `SELECT DISTINCT ${tied} AS source FROM ${DECISIONS} WHERE left_out IS NULL ORDER BY 1 NULLS LAST`,
  );
  const sources = found.flatMap(({ source }) => (source === null ? [] : [source as string]));
  // Decisions without a tie go with the first.
  const groups: readonly (string | null)[] =
    sources.length === 0 ? (found.length === 0 ? [] : [null]) : sources;
  for (const [g, source] of groups.entries()) {
    const file = join(workDir, 'decisions.parquet');
    const columns = [
      `n AS ${quoted(DECISION)}`,
      `at_ms AS ${quoted(AT)}`,
      ...service.entities.map(({ name }) => `${quoted(keyColumn(name))} AS ${quoted(name)}`),
      ...Object.entries(service.request).map(([name, { type }]) => {
        const { value } = typedColumn(
          { type, nullable: true },
          jsonField('request_data', name, '->'),
          'json',
        )!;
        return `${value} AS ${quoted(`${REQUEST}${name}`)}`;
      }),
      ...(source === null
        ? []
        : [
            `CASE WHEN ${tied} = ${text(source)} THEN ${eventIdSql(service, source)} END AS ${quoted(EVENT)}`,
          ]),
    ];
    const own =
      source === null ? '' : `AND (${tied} = ${text(source)}${g === 0 ? ` OR ${tied} IS NULL` : ''})`;
    await db.run(
      `COPY (SELECT ${columns.join(', ')} FROM ${DECISIONS} WHERE left_out IS NULL ${own} ORDER BY n) TO ${text(file)} (FORMAT parquet)`,
    );
    yield {
      input: { path: 'the decisions', format: 'parquet', files: [file] },
      options: {
        ...{ time: AT, requestPrefix: REQUEST },
        ...(source === null ? { eventId: null } : { eventId: EVENT, eventSource: source }),
      },
    };
  }
}
