/** A log of one source, what is in it, and archivers of it that can be left lying as a crash would. */

import { ManualClock } from '../../engine/clock.ts';
import type { CompiledSource } from '../../engine/definitions/compiled.ts';
import { toJsonValue } from '../../engine/definitions/to-json-value.ts';
import type { EventRow, StreamSource } from '../../engine/definitions/types.ts';
import { jsonRecordDecoder } from '../../ingest/decoding/json-record.ts';
import type { EventLog, LogReader } from '../../ingest/log/event-log.ts';
import { Archive, type ArchiveLimits } from '../archive.ts';
import type { ArchiveFiles } from '../archive-files.ts';
import { type ArchiveObserver, PartitionArchiver } from '../partition-archiver.ts';

export const EVERY_MS = 300_000;

/** A record of the log as the archive should have it. */
export interface AcceptedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly appendedMs: number;
  /** Where the source has no event id. */
  readonly stamp: string | null;
  readonly event: EventRow;
}

export const SILENT: ArchiveObserver = {
  positioned: () => {},
  committed: () => {},
  gap: () => {},
  failed: () => {},
  recovered: () => {},
};

export const compiledSource = (definition: StreamSource): CompiledSource => ({
  definition,
  name: definition.name,
  views: [],
  retentionMs: 0,
});

export class ArchivedLog {
  readonly source: CompiledSource;
  readonly log: EventLog;
  readonly clock: ManualClock;
  readonly directory: string;
  /** In the order of their appends. */
  readonly accepted: AcceptedRecord[] = [];

  constructor(args: { source: StreamSource; log: EventLog; directory: string; nowMs: number }) {
    this.source = compiledSource(args.source);
    this.log = args.log;
    this.directory = args.directory;
    this.clock = new ManualClock(args.nowMs);
  }

  /** @param appendedMs @default now */
  async append(
    partition: number,
    events: readonly EventRow[],
    appendedMs = this.clock.nowMs(),
  ): Promise<void> {
    const { eventTime, eventId, maxFutureMs } = this.source.definition;
    const stampOf = (i: number): string | null =>
      eventId === null ? `stamp ${this.accepted.length + i}` : null;
    const offsets = await this.log.append(
      events.map((event, i) => ({
        partition,
        appendedMs,
        stamp: stampOf(i),
        value: Buffer.from(JSON.stringify(toJsonValue(event))),
        eventTimeMs: event[eventTime] as number,
      })),
    );
    const stamps = events.map((_, i) => stampOf(i));
    events.forEach((event, i) => {
      if (appendedMs > 0 && (event[eventTime] as number) > appendedMs + maxFutureMs) return;
      this.accepted.push({ partition, offset: offsets[i]!, appendedMs, stamp: stamps[i]!, event });
    });
  }

  /** Records that are no events. */
  async appendLetters(partition: number, values: readonly string[]): Promise<void> {
    const appendedMs = this.clock.nowMs();
    await this.log.append(
      values.map((value) => ({
        partition,
        appendedMs,
        stamp: null,
        value: Buffer.from(value),
        eventTimeMs: 0,
      })),
    );
  }

  archive(parts: { files?: ArchiveFiles; limits?: Partial<ArchiveLimits> } = {}): Archive {
    return new Archive({ directory: this.directory, everyMs: EVERY_MS, version: '1.2.3' }, parts);
  }

  archiver(
    archive: Archive,
    partition: number,
    args: { observer?: Partial<ArchiveObserver>; log?: LogReader } = {},
  ): PartitionArchiver {
    const { observer = {}, log = this.log } = args;
    return new PartitionArchiver({
      archive,
      source: this.source,
      partition,
      log,
      decoder: jsonRecordDecoder(),
      observer: { ...SILENT, ...observer },
      wallClock: this.clock,
    });
  }

  /** As `ArchiveQuery.rows` gives them. */
  get expectedRows(): Record<string, unknown>[] {
    const { name, columns, eventTime } = this.source.definition;
    const sorted = [...this.accepted].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
    return sorted.map(({ partition, offset, appendedMs, stamp, event }) => {
      const row: Record<string, unknown> = {};
      for (const [column, { type }] of Object.entries(columns)) {
        const value = event[column]!;
        const isInteger = type === 'integer' || type === 'long';
        row[column] = value !== null && isInteger ? BigInt(value as number | bigint) : value;
      }
      return {
        ...row,
        _partition: partition,
        _offset: BigInt(offset),
        _appended_at: appendedMs > 0 ? appendedMs : null,
        _stamp: stamp,
        _origin_offset: null,
        day: new Date(event[eventTime] as number).toISOString().slice(0, 10),
        source: name,
      };
    });
  }
}

/** Steps until the archiver has read all that the log holds, then commits. */
export async function archiveAll(
  archiver: PartitionArchiver,
  log: EventLog,
  partition: number,
): Promise<void> {
  do await archiver.step();
  while (archiver.nextOffset !== (await log.ends(partition)).endOffset);
  await archiver.commit();
}
