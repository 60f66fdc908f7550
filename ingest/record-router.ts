/**
 * From the records of one partition to rows by view and entity key. A record that cannot be used becomes a dead letter, of
 * all views or of the one whose filter or projection threw.
 */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { ProjectionError, thrownClass } from '../engine/definitions/projection-error.ts';
import { type EventId, positionEventId, textEventId } from '../engine/event-id.ts';
import type { IncomingRow } from '../engine/tiles/state-update.ts';
import type { ChunkOrigins, OriginCursor } from './chunk-origins.ts';
import type { EventTimes } from './consumer-observer.ts';
import type { DeadLetter } from './dead-letter.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import type { LogRecord } from './log/event-log.ts';
import { RecordReader } from './record-reader.ts';
import { shardOf } from './view-writer.ts';

export interface RoutedRecords {
  /** Of every view, by entity key, in the order of the log. */
  readonly rows: ReadonlyMap<CompiledView, ReadonlyMap<string, readonly IncomingRow[]>>;
  readonly deadLetters: readonly DeadLetter[];
  /** Records that were routed, from the first: those behind wait for what cannot be had for now. */
  readonly taken: number;
  /** Of the events that could be decoded; −1: none could. */
  readonly maxEventTimeMs: number;
  /** Likewise, in the order of the log. */
  readonly events: readonly EventTimes[];
}

export class RecordRouter {
  readonly #source: CompiledSource;
  readonly #views: readonly CompiledView[];
  readonly #shards: number;
  readonly #reader: RecordReader;

  constructor(args: {
    source: CompiledSource;
    views: readonly CompiledView[];
    shards: number;
    decoder: RecordDecoder;
  }) {
    this.#source = args.source;
    this.#views = args.views;
    this.#shards = args.shards;
    this.#reader = new RecordReader(args.source, args.decoder);
  }

  /**
   * @param origins of the same cursors; is told which records cannot be used, and which copies settle theirs
   * @throws what the decoder fails with for now, where it fails with the first record: they are to be routed again
   */
  async route(
    records: readonly LogRecord[],
    cursors: readonly OriginCursor[],
    origins: ChunkOrigins,
  ): Promise<RoutedRecords> {
    const taken = await this.#reader.prepare(records);
    const routed = taken === records.length ? records : records.slice(0, taken);
    return { ...this.#sort(routed, cursors, origins), taken };
  }

  #sort(
    records: readonly LogRecord[],
    cursors: readonly OriginCursor[],
    origins: ChunkOrigins,
  ): Omit<RoutedRecords, 'taken'> {
    const rows = new Map(this.#views.map((view) => [view, new Map<string, IncomingRow[]>()]));
    const from = new Map<CompiledView, number>();
    for (const { view, nextOffset } of cursors) {
      from.set(view, Math.min(from.get(view) ?? Number.POSITIVE_INFINITY, nextOffset));
    }
    const deadLetters: DeadLetter[] = [];
    const events: EventTimes[] = [];
    let maxEventTimeMs = -1;
    for (const record of records) {
      const isCopy = record.originOffset !== null;
      // Of what every view has already.
      if (isCopy && !origins.isWanted(record, null)) continue;
      const offset = record.originOffset ?? record.offset;
      const letter = (
        reason: DeadLetter['reason'],
        message: string,
        view: CompiledView | null,
        thrown: string | null = null,
      ): void => {
        origins.cannotUse(record, view);
        const { name: source } = this.#source;
        const place = { offset, readOffset: record.offset };
        const why = { reason, message, ...(thrown === null ? {} : { thrown }) };
        deadLetters.push({ ...record, ...place, ...why, source, view: view?.name ?? null });
      };
      const event = this.#reader.read(record);
      if (!event.ok) {
        letter(event.reason, event.message, null);
        continue;
      }
      const { appendedMs } = record;
      const { eventTimeMs } = event;
      maxEventTimeMs = Math.max(maxEventTimeMs, eventTimeMs);
      events.push({ offset: record.offset, appendedMs, eventTimeMs, isCopy });
      const id = event.eventId ?? positionEventId(record.partition, offset);
      const ownId = isCopy ? id : null;
      const dedupeId: EventId | null =
        event.eventId ?? (record.stamp === null ? ownId : textEventId(record.stamp));
      for (const [view, byKey] of rows) {
        if (record.offset < from.get(view)!) continue;
        if (isCopy && !origins.isWanted(record, { view })) continue;
        let key: string | null;
        let values: IncomingRow['values'] | null;
        try {
          key = view.keyOf(event.row);
          values = key === null ? null : view.project(event.row);
        } catch (error) {
          // Whatever else fails there is a defect of ours: nothing is known of what its text holds.
          const isKnown = error instanceof ProjectionError;
          const message = isKnown ? error.message : `view ${view.name}: it failed (${thrownClass(error)})`;
          letter('filter_or_projection', message, view, isKnown ? error.thrown : null);
          continue;
        }
        const skips =
          isCopy && key !== null && !origins.isWanted(record, { view, shard: shardOf(key, this.#shards) });
        if (isCopy) origins.settle(record, view);
        if (key === null || values === null || skips) continue;
        const row = {
          partition: record.partition,
          offset: record.offset,
          appendedMs: record.appendedMs,
          timeMs: event.eventTimeMs,
          id,
          dedupeId,
          values,
          originOffset: record.originOffset,
        };
        const sameKey = byKey.get(key);
        if (sameKey === undefined) byKey.set(key, [row]);
        else sameKey.push(row);
      }
    }
    return { rows, deadLetters, maxEventTimeMs, events };
  }
}
