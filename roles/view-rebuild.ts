/**
 * One rebuild of a view, seen from whoever drives it. All that is known of it is in the store, the binding and the
 * watermarks of the namespace being filled, so that it goes on after any crash, and any number may drive it at once.
 */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { LogInfo } from '../ingest/log/event-log.ts';
import { checkEnd, checkIdentity } from '../ingest/replaced-log.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { checkPassed, type ShardPositions } from './log-reach.ts';
import { aborted, accepting, begun, joined, switched, type ViewBinding } from './view-binding.ts';
import type { ViewBindings } from './view-bindings.ts';

/** What a rebuild finds when it looks. */
export interface RebuildLook {
  /**
   * `backfilling`: a history is being written to it, and nothing of the log. `filling`: behind; whoever drives it applies the
   * log. `joined`: near the end, ingest applies it as well. `switched`: done. `given_up`: aborted, or the store has lost it.
   */
  readonly state: 'backfilling' | 'filling' | 'joined' | 'switched' | 'given_up';
  /** Of what the log holds now, over all partitions: applied to every shard. */
  readonly appliedRecords: number;
  readonly totalRecords: number;
  /** Below this offset of each partition the log is not needed any more; −1: some shard has no watermark of it. */
  readonly nextOffsets: readonly number[];
  /** Partitions that are not as far as the active namespace, so that they hold up the switch. */
  readonly awaited: readonly number[];
}

export interface ViewRebuildOptions {
  readonly source: CompiledSource;
  /** As defined. */
  readonly view: CompiledView;
  readonly bindings: ViewBindings;
  readonly writing: Pick<StateWriting, 'shards' | 'newToken' | 'clock'> & {
    readonly store: Pick<TileStore, 'readWatermarks'>;
  };
  readonly log: LogInfo;
  /** Processing time, ms. */
  readonly nowMs: () => number;
  /** How long the former namespace is kept applied after the switch, ms. */
  readonly graceMs: number;
  /** So near the end of each partition ingest can take over without falling behind itself. @default 4,000 */
  readonly joinWithinRecords?: number;
  /**
   * Called before a namespace is made: throws where the log does not hold what the view's windows can reach. Not asked
   * where a rebuild is under way.
   */
  readonly check: () => Promise<void>;
  /** Go on where the log has lost events that the active namespace counts; kept with the rebuild. @default false */
  readonly acceptGap?: boolean;
  /**
   * A history holds everything below these offsets of the partitions: see `Backfill`. Where one is under way, its own cut is
   * kept. @default none: the log is all there is
   */
  readonly cut?: readonly number[];
  /** With a cut: what tells the history from another one. */
  readonly history?: string;
}

/** The view is being made anew in another way already. */
export class OtherRebuildError extends Error {
  override readonly name = 'OtherRebuildError';
}

const JOIN_WITHIN_RECORDS = 4_000;

export class ViewRebuild {
  /** The view in the namespace being filled. */
  readonly building: CompiledView;
  /** Whether it was under way already. */
  readonly resumed: boolean;
  /** See `ViewRebuildOptions`; null: there is no history. */
  readonly cut: readonly number[] | null;
  readonly #options: ViewRebuildOptions;

  /**
   * Makes a namespace to be filled, or takes up the one that is.
   * @throws what `check` throws; LogReplacedError where the log is not the one that the view was filled from;
   * OtherRebuildError where one without a history is under way, and this one has one
   */
  static async begin(options: ViewRebuildOptions): Promise<ViewRebuild> {
    const { view, bindings, check, writing, acceptGap = false, cut = null, history = null } = options;
    for (;;) {
      const binding = await read(options);
      const { building } = binding;
      if (building !== null) {
        if (cut !== null && building.cut === null) {
          throw new OtherRebuildError(
            `view ${view.name} is being rebuilt from the log: wait for the end of that, or give it up (millrace rebuild --abort)`,
          );
        }
        if (cut !== null && building.history !== history) {
          throw new OtherRebuildError(
            `view ${view.name} is being filled from another history: go on with that one, or give it up (millrace rebuild --abort)`,
          );
        }
        const isAccepted = building.acceptGap || !acceptGap;
        if (!isAccepted && !(await bindings.change(view, accepting(binding)))) continue;
        return new ViewRebuild(options, building, true);
      }
      if (!acceptGap) await check();
      const namespace = writing.newToken(null);
      const rebuild = new ViewRebuild(options, { namespace, cut }, false);
      await rebuild.#partitions(binding.active);
      if (await bindings.change(view, begun(binding, namespace, { acceptGap, cut, history }))) return rebuild;
    }
  }

  private constructor(
    options: ViewRebuildOptions,
    { namespace, cut }: Pick<NonNullable<ViewBinding['building']>, 'namespace' | 'cut'>,
    resumed: boolean,
  ) {
    this.#options = options;
    this.building = options.bindings.bound(options.view, namespace);
    this.cut = cut;
    this.resumed = resumed;
  }

  /**
   * Looks how far it is, and takes the step that is due.
   * @throws LogTooShortError where it has passed records that the active namespace counts, and nobody has accepted that;
   * LogReplacedError where the log is not the one that the view was filled from
   */
  async look(): Promise<RebuildLook> {
    const { view, bindings, nowMs, graceMs, joinWithinRecords = JOIN_WITHIN_RECORDS } = this.#options;
    const binding = await read(this.#options);
    const namespace = this.building.namespace;
    const partitions = await this.#partitions(binding.active);
    const progress = progressOf(partitions);
    if (binding.building?.namespace !== namespace) {
      return { ...progress, state: binding.active === namespace ? 'switched' : 'given_up' };
    }
    if (!binding.building.acceptGap) this.#checkPassed(partitions);
    // Of partitions that were added since, the log has everything.
    const ofHistory = partitions.slice(0, this.cut?.length ?? 0);
    if (!ofHistory.every(isBegun)) return { ...progress, state: 'backfilling' };
    if (!binding.building.joined) {
      // One without a watermark was not begun: whoever fills it says first what the log lacks.
      const isNear = (partition: PartitionPositions): boolean =>
        isBegun(partition) && lagOf(partition) <= joinWithinRecords;
      if (!partitions.every(isNear)) {
        return { ...progress, state: 'filling' };
      }
      await bindings.change(view, joined(binding));
      return { ...progress, state: 'joined' };
    }
    if (progress.awaited.length > 0) return { ...progress, state: 'joined' };
    // The next look tells: somebody may have been faster, and a store that loses its newest writes is joined again.
    await bindings.change(view, switched(binding, nowMs() + graceMs));
    return { ...progress, state: 'joined' };
  }

  #checkPassed(partitions: readonly PartitionPositions[]): void {
    const { view, writing } = this.#options;
    const nowMs = writing.clock.nowMs();
    for (const [partition, { shards }] of partitions.entries()) {
      for (const shard of shards) checkPassed(view, partition, shard, nowMs);
    }
  }

  async #partitions(active: string): Promise<PartitionPositions[]> {
    const { source, log, writing } = this.#options;
    const count = await log.partitions();
    const names = [active, this.building.namespace].flatMap((namespace) =>
      Array.from({ length: count }, (_, partition) => ({ namespace, source: source.name, partition })),
    );
    // Of one shard at one instant: what is compared belongs together.
    const shards = await Promise.all(
      Array.from({ length: writing.shards }, (_, shard) => writing.store.readWatermarks(shard, names)),
    );
    // The ends after the watermarks, as everywhere.
    return Promise.all(
      Array.from({ length: count }, async (_, partition) => {
        const identity = await log.identity(partition);
        const ends = await log.ends(partition);
        const place = { source: source.name, partition };
        for (const mark of shards.flatMap((marks) => [marks[partition]!, marks[count + partition]!])) {
          if (mark === null) continue;
          checkIdentity(place, mark, identity);
          checkEnd(place, mark.nextOffset, ends.endOffset);
        }
        return {
          ...ends,
          shards: shards.map((marks) => ({ active: marks[partition]!, building: marks[count + partition]! })),
        };
      }),
    );
  }
}

/** Ends a rebuild; what it has filled is removed by compaction. @returns whether there was one */
export async function abortRebuild(
  options: Pick<ViewRebuildOptions, 'view' | 'bindings' | 'nowMs'>,
): Promise<boolean> {
  for (;;) {
    const binding = await read(options);
    if (binding.building === null) return false;
    if (await options.bindings.change(options.view, aborted(binding, options.nowMs()))) return true;
  }
}

interface PartitionPositions {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly shards: readonly ShardPositions[];
}

async function read({ view, bindings }: Pick<ViewRebuildOptions, 'view' | 'bindings'>): Promise<ViewBinding> {
  const [binding] = await bindings.read([view]);
  bindings.adopt(view, binding!);
  return binding!;
}

function nextOffsetOf({ startOffset, shards }: PartitionPositions): number {
  return Math.max(
    startOffset,
    Math.min(...shards.map(({ building }) => building?.nextOffset ?? startOffset)),
  );
}

/** Whether it has a watermark on every shard. */
const isBegun = ({ shards }: PartitionPositions): boolean =>
  shards.every(({ building }) => building !== null);

const lagOf = (partition: PartitionPositions): number => partition.endOffset - nextOffsetOf(partition);

/** Whoever read the active namespace must not see less after the switch. */
function isAsFar({ active, building }: ShardPositions): boolean {
  return active === null || (building !== null && building.nextOffset >= active.nextOffset);
}

function progressOf(partitions: readonly PartitionPositions[]): Omit<RebuildLook, 'state'> {
  let appliedRecords = 0;
  let totalRecords = 0;
  const awaited: number[] = [];
  for (const [number, partition] of partitions.entries()) {
    appliedRecords += nextOffsetOf(partition) - partition.startOffset;
    totalRecords += Math.max(0, partition.endOffset - partition.startOffset);
    if (!partition.shards.every(isAsFar)) awaited.push(number);
  }
  const nextOffsets = partitions.map((partition) => (isBegun(partition) ? nextOffsetOf(partition) : -1));
  return { appliedRecords, totalRecords, nextOffsets, awaited };
}
