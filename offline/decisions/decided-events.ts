/**
 * Whether the history has the events that decisions are about. Online such an event counted whether or not it was recorded, so
 * a decision about one that never was cannot be computed again, and is left out. What the call itself recorded must be there:
 * where it is not, the values show it.
 */
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import { type DuckDb, quoted, text } from '../duckdb.ts';
import { type EventHistory, INVALID } from '../event-history.ts';
import { DECISIONS } from './decision-table.ts';

const FOUND = '"decided events"';

/** The decided event's id as the source has it: SQL over the table of decisions. */
export function eventIdSql(service: CompiledService, source: string): string {
  const { eventId, columns } = service.views.find(({ view }) => view.source.name === source)!.view.source;
  return eventId === null || columns[eventId]!.type === 'string'
    ? `${DECISIONS}.event.id`
    : `TRY_CAST(${DECISIONS}.event.id AS BIGINT)`;
}

/**
 * Marks the decisions whose event cannot be computed with.
 * @returns how many events are not in the history although their call recorded them, or told that they had been before
 */
export async function matchEvents(
  db: DuckDb,
  service: CompiledService,
  histories: ReadonlyMap<string, EventHistory>,
): Promise<number> {
  let missing = 0;
  for (const [name, history] of histories) {
    const isAbout = `left_out IS NULL AND event.source = ${text(name)}`;
    const { n } = await db.row(`SELECT count(*) AS n FROM ${DECISIONS} WHERE ${isAbout}`);
    if (Number(n) === 0) continue;
    const { eventId, eventTime } = history.source;
    await leaveOut(
      db,
      'event_without_id',
      `${isAbout} AND event.id IS NULL AND event.ingested IS DISTINCT FROM 'recorded'`,
    );
    if (eventId === null) continue;
    await db.run(
      `CREATE OR REPLACE TABLE ${FOUND} AS SELECT n, bool_or(e.${quoted(eventTime)} = event.time_ms) AS same
       FROM ${DECISIONS} JOIN (${history.select([eventId, eventTime])}) e ON e.${quoted(eventId)} = ${eventIdSql(service, name)}
       WHERE ${isAbout} AND e.${quoted(INVALID)} IS NULL GROUP BY n`,
    );
    const isMissing = `${isAbout} AND event.id IS NOT NULL AND n NOT IN (SELECT n FROM ${FOUND})`;
    const isRecorded = "event.ingested IN ('recorded', 'duplicate')";
    await leaveOut(db, 'event_not_in_history', `${isMissing} AND NOT coalesce(${isRecorded}, false)`);
    await leaveOut(db, 'event_differs', `${isAbout} AND n IN (SELECT n FROM ${FOUND} WHERE NOT same)`);
    const left = await db.row(`SELECT count(*) AS n FROM ${DECISIONS} WHERE ${isMissing} AND ${isRecorded}`);
    missing += Number(left.n);
  }
  await db.run(`DROP TABLE IF EXISTS ${FOUND}`);
  return missing;
}

async function leaveOut(db: DuckDb, reason: string, condition: string): Promise<void> {
  await db.run(`UPDATE ${DECISIONS} SET left_out = ${text(reason)} WHERE ${condition}`);
}
