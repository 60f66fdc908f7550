/**
 * A process that rebuilds a view, or goes on with it: what `millrace rebuild` does, on the simulated log and store. It looks
 * while its lanes apply the log, may be killed or suspended at any of its steps, and is no exception to any fault.
 * Some of the `MUTATIONS` are planted here.
 */

import { LostPositions } from '../distributed/lost-positions.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { type LaneObserver, PartitionLanes } from '../ingest/partition-lanes.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { type Filling, RebuildDriver } from '../roles/drive-rebuild.ts';
import { checkReachOf, LogTooShortError } from '../roles/log-reach.ts';
import { RebuildDeadLetters } from '../roles/rebuild-dead-letters.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { ViewRebuild } from '../roles/view-rebuild.ts';
import type { FaultyLog } from './faulty-log.ts';
import { Mismatch } from './mismatch.ts';
import { type RunState, SHARDS } from './run-state.ts';
import type { Actor } from './scheduler.ts';

/** How long after the switch a worker asks once more: a shard falls back by less than is written in that time, mostly. */
const CONFIRM_AFTER_MS = 2_500;
/** Steps between two looks: others have theirs. */
const LOOK_EVERY_STEPS = 6;
/** Where nothing else makes time pass. */
const LOOK_MS = 250;

export interface SimulatedRebuildOptions {
  readonly run: RunState;
  readonly actor: Actor;
  /** As defined in the process. */
  readonly view: CompiledView;
  readonly acceptGap: boolean;
  readonly log: FaultyLog;
  readonly writing: StateWriting;
  readonly letters: DeadLetters;
  readonly decoder: RecordDecoder;
  readonly observer: LaneObserver;
  readonly chunkRecords: number;
  /** What is tried again. */
  readonly isForNow: (error: unknown) => boolean;
}

export class SimulatedRebuild {
  readonly #options: SimulatedRebuildOptions;
  /** A bug: nothing that anybody tries again. */
  #broken: unknown = null;

  constructor(options: SimulatedRebuildOptions) {
    this.#options = options;
  }

  /** Until it is switched or given up, or cannot go on. */
  async drive(): Promise<void> {
    const { run, actor, view, log, writing, isForNow } = this.#options;
    // What was read of the view, as far as it was applied when the look under way began.
    let seen = await run.namespaces.seenNow(view);
    const bindings = new ViewBindings({
      views: [view],
      store: writing.store,
      clock: writing.clock,
      newToken: (previous) => {
        const token = writing.newToken(previous);
        run.namespaces.tokenMade(token, seen);
        return token;
      },
    });
    const own = new Set<string>();
    const rebuild = await this.#begin(bindings, own);
    if (rebuild === null) return;
    // Not where it only did not hear that it had begun it.
    if (rebuild.resumed && !own.has(rebuild.building.namespace))
      run.faults.add('rebuild continued by another');
    const lost = new LostPositions();
    const filling: { current: RebuildFilling | null } = { current: null };
    const driver = new RebuildDriver({
      rebuild,
      confirmAfterMs: CONFIRM_AFTER_MS,
      elapsedMs: () => run.clock.nowMs(),
      onLook: ({ nextOffsets }) => {
        for (const partition of lost.look(nextOffsets)) filling.current?.fellBack(partition);
        lost.applied(filling.current?.applied() ?? []);
        // As those who are told by their group.
        filling.current?.take(nextOffsets.length);
      },
      fill: async (failed) => {
        filling.current = new RebuildFilling(this.#options, bindings, rebuild.building, {
          failed,
          broken: (error) => {
            this.#broken ??= error;
          },
          stopped: () => {
            filling.current = null;
          },
        });
        filling.current.take(await log.partitions());
        return filling.current;
      },
    });
    while (!driver.isOver && driver.failure === null) {
      for (let steps = 0; steps < LOOK_EVERY_STEPS; steps++) await run.scheduler.gate(actor);
      if (!run.faulty) run.clock.advanceTo(run.clock.nowMs() + LOOK_MS);
      if (this.#broken !== null) throw this.#broken;
      seen = await run.namespaces.seenNow(view);
      try {
        await driver.step();
      } catch (error) {
        if (!isForNow(error)) throw error;
      }
    }
    await driver.stop();
    if (driver.failure === null) return;
    const { error } = driver.failure;
    if (error instanceof LogReplacedError)
      throw new Mismatch(`another log, a rebuild says: ${error.message}`);
    if (!(error instanceof LogTooShortError)) throw error;
    this.#tooShort();
    run.faults.add('rebuild stopped, the log lost what it needs');
  }

  /** @param own namespaces that it makes. @returns null: the log is too short */
  async #begin(bindings: ViewBindings, own: Set<string>): Promise<ViewRebuild | null> {
    const { run, view, log, writing, acceptGap, isForNow } = this.#options;
    const partitions = await log.partitions();
    const newToken: StateWriting['newToken'] = (previous) => {
      const namespace = writing.newToken(previous);
      own.add(namespace);
      return namespace;
    };
    for (;;) {
      try {
        return await ViewRebuild.begin({
          ...{ source: run.repo.sources.get('swipes')!, view, bindings, log, acceptGap },
          writing: { ...writing, newToken, store: this.#lookedAt() },
          nowMs: () => writing.clock.nowMs(),
          graceMs: run.plan.graceMs,
          joinWithinRecords: run.plan.joinWithinRecords,
          check: () => checkReachOf(view, log, partitions, writing.clock.nowMs()),
        });
      } catch (error) {
        if (error instanceof LogReplacedError)
          throw new Mismatch(`another log, a rebuild says: ${error.message}`);
        if (error instanceof LogTooShortError) {
          this.#tooShort();
          run.faults.add('rebuild refused, the log is too short');
          return null;
        }
        if (!isForNow(error)) throw error;
      }
    }
  }

  #tooShort(): void {
    if (!this.#options.run.truncated)
      throw new Mismatch('a log that has everything is too short for a rebuild');
  }

  /** The store as looks of the rebuild see it. */
  #lookedAt(): Pick<TileStore, 'readWatermarks'> {
    const { store } = this.#options.writing;
    const { mutation } = this.#options.run;
    // Those of what is read come first, then those of what is being filled.
    if (mutation === 'join_without_watermark') {
      return {
        readWatermarks: async (shard, names) => {
          const marks = await store.readWatermarks(shard, names);
          return marks.map((mark, i) => mark ?? marks[i - names.length / 2] ?? null);
        },
      };
    }
    if (mutation === 'rebuild_gap_silent') {
      return {
        readWatermarks: async (shard, names) => {
          const marks = await store.readWatermarks(shard, names);
          return marks.map((mark, i) =>
            mark === null || i < names.length / 2 ? mark : { ...mark, gaps: [] },
          );
        },
      };
    }
    return store;
  }
}

/** Applies the log to a namespace that is being filled, all partitions at once. */
class RebuildFilling implements Filling {
  readonly #options: SimulatedRebuildOptions;
  readonly #building: CompiledView;
  readonly #letters: DeadLetters;
  readonly #bindings: ViewBindings;
  readonly #calls: FillingCalls;
  /** Partition → what its lanes apply: another array makes them anew. */
  readonly #views: (readonly CompiledView[])[] = [];
  readonly #applied = new Map<number, number>();
  readonly #running: Promise<void>[] = [];
  #stopping = false;

  constructor(
    options: SimulatedRebuildOptions,
    bindings: ViewBindings,
    building: CompiledView,
    calls: FillingCalls,
  ) {
    this.#options = options;
    this.#building = building;
    this.#bindings = bindings;
    this.#calls = calls;
    const { run, view, writing, letters } = options;
    this.#letters = new RebuildDeadLetters({
      ...{ view, bindings, store: writing.store, shards: SHARDS },
      letters: run.mutation === 'rebuild_letters_forgotten' ? { write: async () => {} } : letters,
      onWritten: () => run.faults.add('dead letter of a rebuild'),
    });
  }

  /** Applies so many partitions from now on, if these are more. */
  take(partitions: number): void {
    while (this.#running.length < partitions) this.#running.push(this.#fill(this.#running.length));
  }

  /** What watermarks were moved to, as far as this process knows. */
  applied(): { partition: number; nextOffset: number }[] {
    return [...this.#applied].map(([partition, nextOffset]) => ({ partition, nextOffset }));
  }

  /** The store has lost what was applied: positions are read again. */
  fellBack(partition: number): void {
    this.#views[partition] = [this.#building];
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
    this.#calls.stopped();
  }

  async #fill(partition: number): Promise<void> {
    const { run, actor, log, writing, decoder, observer, chunkRecords, isForNow } = this.#options;
    this.#views[partition] = [this.#building];
    const lanes = new PartitionLanes({
      ...{ source: run.repo.sources.get('swipes')!, partition, log, writing, decoder },
      deadLetters: this.#letters,
      views: () => this.#views[partition]!,
      isRead: (view) => this.#bindings.isActive(view),
      consumer: { chunkRecords },
      wallClock: run.clock,
      giveWay: async () => {},
      observer: {
        ...observer,
        chunkApplied: ({ nextOffset }) => this.#applied.set(partition, nextOffset),
        positioned: (_, at, nextOffset) => this.#applied.set(at, nextOffset),
      },
    });
    while (!this.#stopping) {
      await run.scheduler.gate(actor);
      try {
        await lanes.step();
      } catch (error) {
        if (isForNow(error)) continue;
        if (error instanceof LogReplacedError) this.#calls.failed(error);
        else this.#calls.broken(error);
        return;
      }
    }
  }
}

interface FillingCalls {
  /** It cannot go on, and nobody else could. */
  failed(error: unknown): void;
  broken(error: unknown): void;
  stopped(): void;
}
