/**
 * The watermarks of one partition, of each view on each shard: read, made where there are none, and moved by
 * compare-and-set.
 */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { type LogGap, withGap } from '../engine/store/log-gap.ts';
import type { MoveWatermark, Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { OriginCursor } from './chunk-origins.ts';
import { isWithinReach } from './gap-reach.ts';
import type { LastRecord } from './last-record.ts';
import { checkIdentity } from './replaced-log.ts';
import type { StateWriting } from './view-writer.ts';

/** A watermark as it was read or moved last. */
export interface WatermarkCursor extends OriginCursor {
  readonly name: WatermarkName;
  token: string;
  nextOffset: number;
  unapplied: UnappliedOffsets;
  maxEventTimeMs: number;
  last: LastRecord;
  gaps: readonly LogGap[];
  incarnation: string;
}

/** Where watermarks go. */
export interface WatermarkTarget {
  readonly nextOffset: number;
  /** −1: no event was applied. */
  readonly maxEventTimeMs: number;
  /** null: as it was. */
  readonly last: LastRecord | null;
  /** What was gone from the log before a watermark passes it. */
  readonly gapOf?: (cursor: WatermarkCursor) => LogGap;
  /** What a watermark has passed then without having applied it. @default as it was */
  readonly unapplied?: (cursor: WatermarkCursor) => UnappliedOffsets;
}

const passes = ({ unapplied }: WatermarkCursor): UnappliedOffsets => unapplied;

export class PartitionWatermarks {
  readonly #source: CompiledSource;
  readonly #views: readonly CompiledView[];
  readonly #partition: number;
  readonly #writing: StateWriting;
  /** Of the log that the watermarks are of, since they were read last. */
  #logIdentity = '';

  constructor(args: {
    source: CompiledSource;
    views: readonly CompiledView[];
    partition: number;
    writing: StateWriting;
  }) {
    this.#source = args.source;
    this.#views = args.views;
    this.#partition = args.partition;
    this.#writing = args.writing;
  }

  /** @throws {LogReplacedError} where one was written for a log with another identity */
  async read(logIdentity: string): Promise<WatermarkCursor[]> {
    this.#logIdentity = logIdentity;
    const { store, shards } = this.#writing;
    const names = this.#views.map((view) => ({
      namespace: view.namespace,
      source: this.#source.name,
      partition: this.#partition,
    }));
    const cursors: WatermarkCursor[] = [];
    for (let shard = 0; shard < shards; shard++) {
      // The incarnation first: should the store fall back in between, moving the watermark will fail.
      const incarnation = await store.incarnation(shard);
      const watermarks = await this.#present(shard, names, incarnation);
      this.#views.forEach((view, i) => {
        const { token, nextOffset, maxEventTimeMs, appendedMs, checksum = null, gaps = [] } = watermarks[i]!;
        const unapplied = watermarks[i]!.unapplied ?? UnappliedOffsets.unknownBefore(nextOffset);
        const position = {
          token,
          nextOffset,
          maxEventTimeMs,
          last: { appendedMs, checksum },
          gaps,
          unapplied,
        };
        cursors.push({ view, shard, name: names[i]!, incarnation, ...position });
      });
    }
    return cursors;
  }

  /**
   * Moves those that are behind the target, and gives each cursor its new position where its watermark moved.
   * @returns false where another owner moved one meanwhile, or the store fell back: they are to be read again
   */
  async move(
    cursors: readonly WatermarkCursor[],
    { nextOffset, maxEventTimeMs, last, gapOf, unapplied = passes }: WatermarkTarget,
  ): Promise<boolean> {
    const nowMs = this.#writing.clock.nowMs();
    const moves: MoveWatermark[] = [];
    const moving: { readonly cursor: WatermarkCursor; readonly moved: Partial<WatermarkCursor> }[] = [];
    for (const cursor of cursors) {
      if (cursor.nextOffset >= nextOffset) continue;
      const gaps = (gapOf === undefined ? cursor.gaps : withGap(cursor.gaps, gapOf(cursor))).filter((gap) =>
        isWithinReach(cursor.view, gap, nowMs),
      );
      const moved = {
        nextOffset,
        token: this.#writing.newToken(cursor.token),
        maxEventTimeMs: Math.max(cursor.maxEventTimeMs, maxEventTimeMs),
        last: last ?? cursor.last,
        gaps,
        unapplied: unapplied(cursor),
      };
      const { appendedMs, checksum } = moved.last;
      moving.push({ cursor, moved });
      moves.push({
        shard: cursor.shard,
        name: cursor.name,
        expected: cursor.token,
        incarnation: cursor.incarnation,
        next: {
          nextOffset,
          token: moved.token,
          maxEventTimeMs: moved.maxEventTimeMs,
          appendedMs,
          clockMs: nowMs,
          logIdentity: this.#logIdentity,
          ...(checksum === null ? {} : { checksum }),
          ...(gaps.length === 0 ? {} : { gaps }),
          unapplied: moved.unapplied,
        },
      });
    }
    const won = await this.#writing.store.moveWatermarks(moves);
    moving.forEach(({ cursor, moved }, i) => {
      if (won[i]) Object.assign(cursor, moved);
    });
    return won.every(Boolean);
  }

  /**
   * The watermarks of a shard; those that are absent are made first. A consumer never moves a watermark *from*
   * absent past records it applied: the store could have been wiped in between and be just as absent again.
   * They are made at 0, wherever the log begins: what it does not hold any more is missing to whoever starts now.
   */
  async #present(shard: number, names: readonly WatermarkName[], incarnation: string): Promise<Watermark[]> {
    const { store, newToken } = this.#writing;
    const present = await store.readWatermarks(shard, names);
    const absent = names.filter((_, i) => present[i] === null);
    if (absent.length > 0) {
      const next = {
        nextOffset: 0,
        maxEventTimeMs: -1,
        appendedMs: -1,
        clockMs: 0,
        logIdentity: this.#logIdentity,
        unapplied: UnappliedOffsets.NONE,
      };
      await store.moveWatermarks(
        absent.map((name) => ({
          shard,
          name,
          expected: null,
          incarnation,
          next: { ...next, token: newToken(null) },
        })),
      );
      return this.#present(shard, names, await store.incarnation(shard));
    }
    present.forEach((watermark, i) => {
      checkIdentity(names[i]!, watermark!, this.#logIdentity);
    });
    return present as Watermark[];
  }
}

/** The least of them: where the partition is to be read. Of views and shards there may be more than a call takes arguments. */
export function lowestOffset(cursors: readonly WatermarkCursor[]): number {
  return cursors.reduce((lowest, { nextOffset }) => Math.min(lowest, nextOffset), Number.POSITIVE_INFINITY);
}

/** The furthest of those that have applied a record; null: none has. */
export function highestApplied(cursors: readonly WatermarkCursor[]): number | null {
  let highest: number | null = null;
  for (const { nextOffset, last } of cursors) {
    if (last.appendedMs >= 0) highest = Math.max(highest ?? 0, nextOffset);
  }
  return highest;
}

/** −1: no event was applied. */
export function highestEventTimeMs(cursors: readonly WatermarkCursor[]): number {
  return cursors.reduce((highest, { maxEventTimeMs }) => Math.max(highest, maxEventTimeMs), -1);
}

/** What each view lacks, over all shards. */
export function missingOf(cursors: readonly WatermarkCursor[]): Map<CompiledView, readonly LogGap[]> {
  const missing = new Map<CompiledView, readonly LogGap[]>();
  for (const { view, gaps } of cursors) missing.set(view, gaps.reduce(withGap, missing.get(view) ?? []));
  return missing;
}
