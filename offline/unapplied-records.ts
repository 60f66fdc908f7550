/**
 * Which records of a log do not count by a history that has them: those that it lacks below the cut, those that break the
 * source's schema, and those that the view's filter or a projection fails on. A copy of one of these, replayed after a fix,
 * counts; a copy of any other record does not. See "Dead letters" in ARCHITECTURE.md.
 */
import { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type EventHistory, INVALID, OFFSET, ORIGIN, PARTITION } from './event-history.ts';

/** Of each partition the newest this many are remembered: bounds memory, should none be of use. */
const REFUSED_MAX = 65_536;
/** Of each partition the newest this many; of more, a watermark forgets the older ones anyway. */
const RANGES_MAX = 1_024;

/** Records that cannot be used, as they are come upon: in the order of their keys. */
export class RefusedRecords {
  readonly #offsets = new Map<number, number[]>();
  /** By partition: of what lies below, not all is known. */
  readonly #knownFrom = new Map<number, number>();

  add(partition: number, offset: number): void {
    const offsets = this.#offsets.get(partition);
    if (offsets === undefined) {
      this.#offsets.set(partition, [offset]);
      return;
    }
    offsets.push(offset);
    if (offsets.length <= 2 * REFUSED_MAX) return;
    offsets.sort((a, b) => a - b);
    const forgotten = offsets.splice(0, offsets.length - REFUSED_MAX);
    this.#knownFrom.set(partition, forgotten.at(-1)! + 1);
  }

  of(partition: number): { readonly knownFrom: number; readonly offsets: readonly number[] } {
    return {
      knownFrom: this.#knownFrom.get(partition) ?? 0,
      offsets: this.#offsets.get(partition) ?? [],
    };
  }
}

/**
 * One scan of the offsets.
 * @param cut by partition: records below it are the history's business
 * @returns by partition
 */
export async function unappliedRecords(args: {
  readonly db: DuckDb;
  readonly history: EventHistory;
  readonly cut: readonly number[];
  readonly refused: RefusedRecords;
}): Promise<UnappliedOffsets[]> {
  const { db, history, cut, refused } = args;
  if (cut.length === 0) return [];
  const columns = [PARTITION, OFFSET, ORIGIN].map(quoted);
  // The cut stands for a record behind the last. Whether an offset is there twice does not matter.
  const rows = await db.rows(`
    WITH events AS (SELECT ${columns.join(', ')} FROM (${history.select([])}) WHERE ${quoted(INVALID)} IS NULL),
      present AS (
        SELECT ${quoted(PARTITION)} AS p, ${quoted(OFFSET)} AS o FROM events
        UNION ALL SELECT ${quoted(PARTITION)}, ${quoted(ORIGIN)} FROM events WHERE ${quoted(ORIGIN)} IS NOT NULL
        UNION ALL FROM (VALUES ${cut.map((offset, partition) => `(${partition}, ${offset})`).join(', ')})),
      gaps AS (SELECT p, lag(o, 1, -1) OVER (PARTITION BY p ORDER BY o) + 1 AS first, o AS stop FROM present)
    SELECT p, first, stop FROM gaps
    WHERE stop > first AND stop <= CASE p ${cut.map((offset, partition) => `WHEN ${partition} THEN ${offset}`).join(' ')} END
    QUALIFY row_number() OVER (PARTITION BY p ORDER BY stop DESC) <= ${RANGES_MAX}`);
  const ranges = cut.map((): [number, number][] => []);
  for (const { p, first, stop } of rows) ranges[Number(p)]!.push([Number(first), Number(stop)]);
  return ranges.map((missing, partition) => {
    const { knownFrom, offsets } = refused.of(partition);
    const ofRefused = offsets
      .filter((offset) => offset >= knownFrom && offset < cut[partition]!)
      .map((offset): [number, number] => [offset, offset + 1]);
    const oldest = missing.length < RANGES_MAX ? 0 : Math.min(...missing.map(([first]) => first));
    const fromOffset = Math.max(knownFrom, oldest);
    const known = missing.filter(([, stop]) => stop > fromOffset);
    return UnappliedOffsets.of(fromOffset, [
      ...known.map(([first, stop]): [number, number] => [Math.max(first, fromOffset), stop]),
      ...ofRefused.filter(([first]) => first >= fromOffset),
    ]);
  });
}
