/**
 * Events that an answer could not have: appended after it, with a time that it asks for. Offline they count from their event
 * time on. Where the history says when its records were appended, as an archive does, such answers are told from others.
 */
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import { reachMs } from '../../engine/windows/window-reach.ts';
import { type DuckDb, quoted, text } from '../duckdb.ts';
import { ARRIVAL, type EventHistory, INVALID } from '../event-history.ts';
import { keyColumn } from '../spine.ts';
import { eventIdSql } from './decided-events.ts';
import { DECISIONS } from './decision-table.ts';

/** Table of those found: `view` (its place in the service) and `n` of the decision. */
export const LATE = '"late events"';

/**
 * Looks for them among the decisions given, of those views that are given.
 * @param of.some query of `view` and `n`
 * @param of.lagMs what was appended less than this before an answer may not have been visible yet
 */
export async function findLateEvents(
  db: DuckDb,
  of: {
    readonly service: CompiledService;
    readonly histories: ReadonlyMap<string, EventHistory>;
    readonly some: string;
    readonly lagMs: number;
  },
): Promise<void> {
  const { service, histories, some, lagMs } = of;
  await db.run(`CREATE OR REPLACE TABLE ${LATE} (view INTEGER, n BIGINT)`);
  for (const [v, { view, features }] of service.views.entries()) {
    const history = histories.get(view.source.name)!;
    const { appendedAt } = history;
    const { n } = await db.row(`SELECT count(*) AS n FROM (${some}) WHERE view = ${v}`);
    if (appendedAt === null || Number(n) === 0) continue;
    const { eventTime, eventId } = view.source;
    const column = view.definition.keyColumn;
    const reach = Math.max(...features.map(({ window }) => reachMs(window)));
    const time = `e.${quoted(eventTime)}`;
    const names = [...new Set([eventTime, column, ...(eventId === null ? [] : [eventId])])];
    // The decided event counted before it was appended.
    const isOwn =
      eventId === null
        ? 'false'
        : `coalesce(event.source = ${text(view.source.name)} AND e.${quoted(eventId)} = ${eventIdSql(service, view.source.name)}, false)`;
    await db.run(
      `INSERT INTO ${LATE} SELECT DISTINCT ${v}, n FROM ${DECISIONS}
       JOIN (${history.select(names)}) e ON CAST(e.${quoted(column)} AS VARCHAR) = ${DECISIONS}.${quoted(keyColumn(view.entity.name))}
       WHERE n IN (SELECT n FROM (${some}) WHERE view = ${v}) AND e.${quoted(INVALID)} IS NULL AND NOT ${isOwn}
         AND ${time} <= at_ms ${Number.isFinite(reach) ? `AND ${time} > at_ms - ${reach}` : ''} AND e.${appendedAt} > answered_ms - ${lagMs}
         AND e.${quoted(ARRIVAL)} NOT IN (SELECT arrival FROM ${quoted(`repeated ${view.name}`)})`,
    );
  }
}
