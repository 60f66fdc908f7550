/**
 * Events that repeat another of the same key under its id: within the source's dedupe horizon they do not count (C4). The
 * first to arrive does, whatever a view's filter says of either.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { transported } from './column-buffer.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { ARRIVAL, type EventHistory, INVALID, REPEAT_ID } from './event-history.ts';
import { keyTable } from './spine.ts';

/** @returns the table with the arrivals of those that do not count, and how many there are; null: none */
export async function repeatedEvents(
  db: DuckDb,
  view: CompiledView,
  history: EventHistory,
): Promise<{ readonly table: string; readonly count: number } | null> {
  const { source, definition, entity, dedupeHorizonMs } = view;
  const { eventId } = source;
  const idType = eventId === null ? 'string' : source.columns[eventId]!.type;
  const [id, time, key] = [eventId ?? REPEAT_ID, source.eventTime, definition.keyColumn].map(quoted) as [
    string,
    string,
    string,
  ];
  const names = [
    ...new Set([...(eventId === null ? [] : [eventId]), source.eventTime, definition.keyColumn]),
  ];
  const events = `(${history.select(names)})`;
  const table = `repeated ${view.name}`;
  await db.run(`CREATE OR REPLACE TABLE ${quoted(table)} (arrival DOUBLE)`);
  const appender = await db.appender(table);
  const candidates = `
    SELECT k.k, ${transported(`e.${id}`, idType)} AS id, CAST(e.${time} AS DOUBLE), CAST(e.${quoted(ARRIVAL)} AS DOUBLE) AS arrival
    FROM ${events} e JOIN ${quoted(keyTable(entity.name))} k ON k.key = CAST(e.${key} AS VARCHAR)
    WHERE e.${quoted(INVALID)} IS NULL AND e.${id} IN (
      SELECT ${id} FROM ${events} WHERE ${quoted(INVALID)} IS NULL AND ${id} IS NOT NULL GROUP BY 1 HAVING count(*) > 1)
    ORDER BY 1, 2, 4`;
  let repeats = 0;
  let same: { readonly k: unknown; readonly id: unknown; readonly times: number[] } | null = null;
  for await (const chunk of db.stream(candidates)) {
    for (const [k, ofEvent, timeMs, arrival] of chunk.getRows() as [unknown, unknown, number, number][]) {
      if (same === null || same.k !== k || same.id !== ofEvent) same = { k, id: ofEvent, times: [] };
      if (same.times.some((counted) => Math.abs(counted - timeMs) <= dedupeHorizonMs)) {
        appender.appendDouble(arrival);
        appender.endRow();
        repeats++;
      } else same.times.push(timeMs);
    }
  }
  appender.flushSync();
  appender.closeSync();
  return repeats === 0 ? null : { table, count: repeats };
}
