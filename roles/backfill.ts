/**
 * A rebuild whose beginning comes from a history: states that were made elsewhere are written to the namespace being filled,
 * each at once and compacted; then watermarks are made at the cut, and the log goes on from there.
 *
 * The cut is one offset for each partition: what is below it counts by the history, the rest by the log. It is part of the
 * binding, so that whoever goes on after a crash has the same. A state is written where there is none, so that it does not
 * matter how often that is done; nobody else writes to the namespace before it has watermarks.
 */
import type { LogGap } from '../engine/store/log-gap.ts';
import type { CompareAndSet, MoveWatermark, TileStore } from '../engine/store/tile-store.ts';
import { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { BuiltState } from '../engine/tiles/state-builder.ts';
import { isWithinReach } from '../ingest/gap-reach.ts';
import type { LogEnds } from '../ingest/log/event-log.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import { type StateWriting, shardOf } from '../ingest/view-writer.ts';
import { LogTooShortError } from './log-reach.ts';
import { OtherRebuildError, ViewRebuild, type ViewRebuildOptions } from './view-rebuild.ts';

/** What a history says of one partition of the log. */
export interface HistoryPosition {
  /** It has every record below, as far as it can be used. */
  readonly nextOffset: number;
  /** Identity of the log that it is of; null: it does not say. */
  readonly logIdentity: string | null;
  /** What it lacks below: the log had lost it before. */
  readonly gaps: readonly LogGap[];
}

export interface BackfilledState extends BuiltState {
  /** Entity key. */
  readonly key: string;
}

/** The store has lost writes, or somebody has given the rebuild up: what was written does not count. Begin again. */
export class BackfillLostError extends Error {
  override readonly name = 'BackfillLostError';
}

export interface BackfillOptions extends Omit<ViewRebuildOptions, 'check' | 'cut' | 'history' | 'writing'> {
  readonly writing: Pick<StateWriting, 'shards' | 'newToken' | 'clock'> & {
    readonly store: Pick<TileStore, 'readWatermarks' | 'compareAndSet' | 'incarnation' | 'moveWatermarks'>;
  };
  /**
   * By partition; null: the history does not know of offsets. It is cut where the log begins, and what is in both is told by
   * the events' ids.
   */
  readonly positions: readonly HistoryPosition[] | null;
  /** What tells a history without offsets from another one; an archive may have gone on. @default nothing does */
  readonly history?: string;
}

/** An archive only grows: whoever goes on may have more of it. */
const ARCHIVE = 'archive';

export class Backfill {
  readonly rebuild: ViewRebuild;
  /** By partition: the history counts below. */
  readonly cut: readonly number[];
  readonly #options: BackfillOptions;
  #incarnations: readonly string[] = [];
  readonly #gaps: readonly (readonly LogGap[])[];

  /**
   * Begins one, or goes on with the one that is under way.
   * @throws LogTooShortError where records are in neither of the two, and nobody has accepted that; LogReplacedError where
   * the history is of another log; OtherRebuildError where the view is being rebuilt from the log
   */
  static async begin(options: BackfillOptions): Promise<Backfill> {
    const { log, positions, view } = options;
    const count = await log.partitions();
    const partitions = Array.from({ length: count }, (_, partition) => partition);
    const ends = await Promise.all(partitions.map((partition) => log.ends(partition)));
    const gaps = partitions.map((partition) => positions?.[partition]?.gaps ?? []);
    const cut = partitions.map((partition) =>
      positions === null ? ends[partition]!.startOffset : (positions[partition]?.nextOffset ?? 0),
    );
    for (const partition of partitions) {
      const identity = positions?.[partition]?.logIdentity ?? null;
      if (identity !== null && identity !== (await log.identity(partition)))
        throw otherLog(options, partition);
      if (cut[partition]! > ends[partition]!.endOffset) throw otherLog(options, partition);
    }
    // A log has never fewer partitions than before: what they had would count nowhere.
    const beyond = (positions ?? []).findIndex(({ nextOffset }, p) => p >= count && nextOffset > 0);
    if (beyond >= 0) throw otherLog(options, beyond);
    const rebuild = await ViewRebuild.begin({
      ...options,
      cut,
      history: positions === null ? (options.history ?? '') : ARCHIVE,
      check: async () => checkCut(options, { cut, ends, gaps }),
    });
    const short = positions === null ? -1 : rebuild.cut!.findIndex((offset, p) => (cut[p] ?? 0) < offset);
    if (short >= 0) {
      throw new OtherRebuildError(
        `view ${view.name} is being filled from an archive that has partition ${short} up to offset ${rebuild.cut![short]}, and ` +
          `this one has it up to ${cut[short] ?? 0}: go on with that one, or give it up (millrace rebuild --abort)`,
      );
    }
    return new Backfill(options, rebuild, gaps);
  }

  private constructor(options: BackfillOptions, rebuild: ViewRebuild, gaps: readonly (readonly LogGap[])[]) {
    this.#options = options;
    this.rebuild = rebuild;
    // `begin` refuses one without.
    this.cut = rebuild.cut!;
    this.#gaps = gaps;
  }

  /** Before the first state is written. Should the store fall back from here on, no watermark is made of what it had. */
  async start(): Promise<void> {
    const { store, shards } = this.#options.writing;
    this.#incarnations = await Promise.all(
      Array.from({ length: shards }, (_, shard) => store.incarnation(shard)),
    );
  }

  /**
   * Writes states of keys that have none.
   * @returns how many were written; the others are there already
   * @throws BackfillLostError; what the store throws
   */
  async write(states: readonly BackfilledState[]): Promise<number> {
    await this.#checkBuilding();
    const { store, shards, newToken } = this.#options.writing;
    const { namespace } = this.rebuild.building;
    const written = await store.compareAndSet(
      states.map(
        ({ key, head, fields, dueMs }): CompareAndSet => ({
          address: { namespace, key, shard: shardOf(key, shards) },
          expected: null,
          next: { token: newToken(null), head },
          changes: fields,
          dueMs,
        }),
      ),
    );
    return written.filter(Boolean).length;
  }

  /**
   * All states are written: from here on the log is applied.
   * @param newestMs by partition: event time of the newest event of the history; −1, or left out: it has none
   * @param unapplied by partition: which records below the cut do not count by the history; left out: nobody knows
   * @throws BackfillLostError; what the store throws
   */
  async complete(newestMs: readonly number[], unapplied: readonly UnappliedOffsets[]): Promise<void> {
    await this.#checkBuilding();
    const { writing, source, log, view } = this.#options;
    const { store, shards, newToken, clock } = writing;
    const { namespace } = this.rebuild.building;
    if (this.#incarnations.length === 0) throw new Error('it was not started');
    const nowMs = clock.nowMs();
    const names = this.cut.map((_, partition) => ({ namespace, source: source.name, partition }));
    const identities = await Promise.all(names.map(({ partition }) => log.identity(partition)));
    const moves: MoveWatermark[] = [];
    for (let shard = 0; shard < shards; shard++) {
      const present = await store.readWatermarks(shard, names);
      for (const [partition, name] of names.entries()) {
        if (present[partition] !== null) continue;
        const nextOffset = this.cut[partition]!;
        // Whoever goes on may have a longer history; what lies behind the cut is the log's business.
        const gaps = (this.#gaps[partition] ?? [])
          .filter((gap) => gap.fromOffset < nextOffset && isWithinReach(view, gap, nowMs))
          .map((gap) => ({ ...gap, toOffset: Math.min(gap.toOffset, nextOffset) }));
        moves.push({
          ...{ shard, name, expected: null, incarnation: this.#incarnations[shard]! },
          next: {
            token: newToken(null),
            nextOffset,
            maxEventTimeMs: newestMs[partition] ?? -1,
            appendedMs: -1,
            clockMs: nowMs,
            logIdentity: identities[partition]!,
            ...(gaps.length === 0 ? {} : { gaps }),
            unapplied: unapplied[partition] ?? UnappliedOffsets.unknownBefore(nextOffset),
          },
        });
      }
    }
    const moved = await store.moveWatermarks(moves);
    if (!moved.every(Boolean)) throw lost(this.#options);
  }

  async #checkBuilding(): Promise<void> {
    const { view, bindings } = this.#options;
    const [binding] = await bindings.read([view]);
    if (binding!.building?.namespace !== this.rebuild.building.namespace) throw lost(this.#options);
  }
}

function lost({ view }: BackfillOptions): BackfillLostError {
  return new BackfillLostError(
    `the backfill of view ${view.name} was given up, or the store has fallen back to a moment before it: begin again`,
  );
}

function otherLog({ source }: BackfillOptions, partition: number): LogReplacedError {
  return new LogReplacedError(
    `the history is not of the log of source ${source.name}, partition ${partition}: its offsets say nothing of that log. ` +
      `Where the log was begun anew, give the files alone (DIR/source=${source.name}/**/*.parquet): what is in both is then told by the events' ids`,
  );
}

/** What is in neither the history nor the log, as far as a window may ask for it. */
function checkCut(
  { view, source, writing }: BackfillOptions,
  {
    cut,
    ends,
    gaps,
  }: {
    readonly cut: readonly number[];
    readonly ends: readonly LogEnds[];
    readonly gaps: readonly (readonly LogGap[])[];
  },
): void {
  const nowMs = writing.clock.nowMs();
  for (const [partition, { startOffset }] of ends.entries()) {
    const place = `of source ${source.name}, partition ${partition},`;
    if (cut[partition]! < startOffset) {
      throw new LogTooShortError(
        `records ${cut[partition]} to ${startOffset - 1} ${place} are not in the history, and the log does not have them any more`,
      );
    }
    const gap = gaps[partition]!.find((own) => isWithinReach(view, own, nowMs));
    if (gap === undefined) continue;
    throw new LogTooShortError(
      `records ${gap.fromOffset} to ${gap.toOffset - 1} ${place} were lost before they came to the history, and view ` +
        `${view.name} may count them`,
    );
  }
}
