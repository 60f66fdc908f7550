/**
 * The write path of one case: a log of one or several partitions, ViewWriter and Compactor over a store. Batches have
 * random borders and come again with others; compaction runs at random moments, also beside a batch.
 */
import { Compactor, inOwnNamespaces } from '../../../compaction/compactor.ts';
import { logCompleteness } from '../../../compaction/completeness.ts';
import type { EventLog } from '../../../ingest/log/event-log.ts';
import { type StateWriting, ViewWriter } from '../../../ingest/view-writer.ts';
import type { CompiledView } from '../../definitions/compiled.ts';
import { textEventId } from '../../event-id.ts';
import { type IncomingRow, retentionLowMs } from '../../tiles/state-update.ts';
import type { OracleEvent } from '../oracle.ts';
import type { SeededRandom } from '../random.ts';
import type { CaseEvent, CaseEvents } from './case-events.ts';
import type { CaseRepo } from './case-repo.ts';
import type { Coverage } from './coverage.ts';
import { Mismatch } from './mismatch.ts';
import { StatePhases } from './state-phases.ts';

export const SHARDS = 2;

interface LogEntry {
  readonly event: CaseEvent;
  readonly offset: number;
  readonly appendedMs: number;
}

interface Partition {
  readonly entries: LogEntry[];
  /** Up to here the watermark says applied. */
  watermark: number;
  /** Up to here entries were given to the writers at least once. */
  delivered: number;
}

interface CaseWritingArgs {
  readonly random: SeededRandom;
  readonly repo: CaseRepo;
  readonly events: CaseEvents;
  readonly writing: StateWriting;
  readonly coverage: Coverage;
}

export class CaseWriting {
  readonly phases: StatePhases;
  /** Events applied, once each, in no particular order. */
  readonly applied = new Map<CaseEvent, OracleEvent>();
  readonly #appliedOf = new Map<string, OracleEvent[]>();
  /**
   * By view, events that were older than every window when they came. Where states are bounded a window may reach
   * further back than asked; they do not count there.
   */
  readonly #tooLate = new Map<CompiledView, Set<OracleEvent>>();
  readonly #args: CaseWritingArgs;
  readonly #partitions: readonly Partition[];
  readonly #writers: readonly ViewWriter[];
  readonly #compactor: Compactor;

  constructor(args: CaseWritingArgs) {
    const { random, repo, events, writing } = args;
    this.#args = args;
    this.#partitions = Array.from({ length: events.areTold ? random.between(1, 3) : 1 }, () => ({
      entries: [],
      watermark: 0,
      delivered: 0,
    }));
    this.phases = new StatePhases(repo.views);
    const ingesting = { ...writing, store: this.phases.ofIngest(writing.store) };
    this.#writers = repo.views.map((view) => new ViewWriter(view, ingesting));
    const log = {
      partitions: async () => this.#partitions.length,
      ends: async (partition: number) => ({
        startOffset: 0,
        endOffset: this.#partitions[partition]!.entries.length,
      }),
    } as unknown as EventLog;
    this.#compactor = new Compactor(
      inOwnNamespaces(repo.views),
      {
        ...writing,
        store: this.phases.ofCompaction(writing.store, (view, key) => this.appliedTo(view, key)),
      },
      logCompleteness(writing.store, () => log, writing.clock),
      { batchSize: 4, leaseMs: 1 },
    );
  }

  /** Appends to a random partition. */
  append(event: CaseEvent): void {
    const { entries } = this.#args.random.pick(this.#partitions);
    entries.push({ event, offset: entries.length, appendedMs: this.#args.writing.clock.nowMs() });
  }

  /** Events that a window of the view may count, of every key. */
  countedBy(view: CompiledView): readonly OracleEvent[] {
    const tooLate = this.#tooLate.get(view);
    const applied = [...this.applied.values()];
    return tooLate === undefined ? applied : applied.filter((event) => !tooLate.has(event));
  }

  /** Of these, events of the key that the view's filter lets through. */
  appliedTo(view: CompiledView, key: string): readonly OracleEvent[] {
    return this.#appliedOf.get(view.namespace + key) ?? [];
  }

  async deliverSome(): Promise<void> {
    await this.#deliver(this.#args.random.pick(this.#partitions));
  }

  async deliverAll(): Promise<void> {
    for (const partition of this.#partitions) {
      while (partition.watermark < partition.entries.length) await this.#deliver(partition);
    }
  }

  async compact(): Promise<void> {
    for (let shard = 0; shard < SHARDS; shard++) {
      const { compacted, ended, coarsened } = await this.#compactor.step(shard);
      for (const states of coarsened.values()) {
        this.#args.coverage.meet('states coarsened by compaction', states);
      }
      this.#args.coverage.meet('states compacted', compacted);
      this.#args.coverage.meet('states ended', ended);
    }
  }

  async #deliver(partition: Partition): Promise<void> {
    const { random, repo, events, coverage } = this.#args;
    const number = this.#partitions.indexOf(partition);
    // A consumer starts at the watermark. One that was overtaken may still come with what lies before it.
    let from = partition.watermark;
    if (random.chance(0.1)) {
      const back = random.below(from + 1);
      while (from > back && events.isRemembered(partition.entries[from - 1]!.event)) from--;
    }
    const to = Math.min(partition.entries.length, from + random.pick([1, 2, 5, 20, 100]));
    if (from >= to) return;
    if (from < partition.delivered) coverage.meet('redelivery');
    const entries = partition.entries.slice(from, to);
    for (const [v, view] of repo.views.entries()) {
      const applying = this.#writers[v]!.apply(this.#route(view, number, entries));
      if (random.chance(0.2)) await this.compact();
      const counts = await applying;
      coverage.meet('rows skipped as duplicates', counts.duplicate);
      coverage.meet('rows dropped as too late', counts.tooLate);
      coverage.meet('writes lost to another', counts.conflicts);
      coverage.meet('states coarsened by ingest', counts.coarsened);
    }
    for (const { event, offset } of entries) this.#noteApplied(event, number, offset);
    partition.delivered = Math.max(partition.delivered, to);
    // Where rows do not tell, events repeat only within one chunk's time of each other: no crash before the watermark
    // moves.
    if (to > partition.watermark && (!events.haveRows || random.chance(0.8)))
      await this.#moveWatermarks(partition, number, to);
  }

  #noteApplied(event: CaseEvent, partition: number, offset: number): void {
    // Without an id of its own an event is ordered where it was first applied.
    if (this.applied.has(event)) return;
    const { repo, events } = this.#args;
    const applied = { timeMs: event.timeMs, id: events.idOf(event, partition, offset), row: event.row };
    this.applied.set(event, applied);
    for (const view of repo.views) {
      if (this.#isTooLate(view, event)) {
        const tooLate = this.#tooLate.get(view);
        if (tooLate === undefined) this.#tooLate.set(view, new Set([applied]));
        else tooLate.add(applied);
        continue;
      }
      const key = view.keyOf(event.row);
      if (key === null || view.project(event.row) === null) continue;
      const of = this.#appliedOf.get(view.namespace + key);
      if (of === undefined) this.#appliedOf.set(view.namespace + key, [applied]);
      else of.push(applied);
      this.phases.applied(view, key, applied);
    }
  }

  #isTooLate(view: CompiledView, { timeMs }: CaseEvent): boolean {
    const { repo, writing } = this.#args;
    return repo.bounded && !view.keepsForever && timeMs < retentionLowMs(view, writing.clock.nowMs());
  }

  #route(view: CompiledView, partition: number, entries: readonly LogEntry[]): Map<string, IncomingRow[]> {
    const { repo, events } = this.#args;
    const byKey = new Map<string, IncomingRow[]>();
    for (const { event, offset, appendedMs } of entries) {
      const key = view.keyOf(event.row);
      if (key === null) continue;
      const values = view.project(event.row);
      if (values === null) continue;
      const id = events.idOf(event, partition, offset);
      const dedupeId = repo.idKind === 'none' ? textEventId(event.stamp) : id;
      const row = { partition, offset, appendedMs, timeMs: event.timeMs, id, dedupeId, values };
      byKey.set(key, [...(byKey.get(key) ?? []), row]);
    }
    return byKey;
  }

  async #moveWatermarks(partition: Partition, number: number, to: number): Promise<void> {
    const { repo, writing } = this.#args;
    const { store, newToken } = writing;
    const maxEventTimeMs = Math.max(...partition.entries.slice(0, to).map(({ event }) => event.timeMs));
    const moves = repo.views.flatMap((view) =>
      Array.from({ length: SHARDS }, async (_, shard) => {
        const name = { namespace: view.namespace, source: view.source.name, partition: number };
        const [[present], incarnation] = await Promise.all([
          store.readWatermarks(shard, [name]),
          store.incarnation(shard),
        ]);
        const next = {
          nextOffset: to,
          token: newToken(null),
          maxEventTimeMs,
          appendedMs: partition.entries[to - 1]!.appendedMs,
          clockMs: 0,
          logIdentity: '',
        };
        const expected = present?.token ?? null;
        const [moved] = await store.moveWatermarks([{ shard, name, expected, incarnation, next }]);
        if (!moved) throw new Mismatch('a watermark did not move');
      }),
    );
    await Promise.all(moves);
    partition.watermark = to;
  }
}
