/**
 * The real write path (ViewWriter, Compactor) and read path (WindowRead) against the oracle, on random
 * definitions and random events: ties, late, out of order, repeated, future and extreme ones, in random batches
 * that are delivered again with other borders, with compaction at random moments while the clock moves.
 *
 * Another first seed: `PROPERTY_SEED=123456`; more cases: `PROPERTY_CASES=100000`. A failure names its seed;
 * `PROPERTY_SEED=<that> PROPERTY_CASES=1` runs it alone.
 *
 * What it does not catch: a store that fails or falls back (simulation/ does that), and what the oracle shares
 * with the engine: filters, projections, entity keys and the order of ids.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Compactor } from '../../compaction/compactor.ts';
import { logCompleteness } from '../../compaction/completeness.ts';
import type { EventLog } from '../../ingest/log/event-log.ts';
import { type StateWriting, shardOf, ViewWriter } from '../../ingest/view-writer.ts';
import { operationRegistry } from '../aggregators/operation-registry.ts';
import type { ColumnValue } from '../aggregators/partial-aggregate.ts';
import { ByteReader } from '../bytes.ts';
import { ManualClock } from '../clock.ts';
import type { CompiledView } from '../definitions/compiled.ts';
import { DEFAULT_MAX_STATE_BYTES } from '../definitions/feature-view.ts';
import type { EventRow } from '../definitions/types.ts';
import { compareEventIds, type EventId, integerEventId, positionEventId, textEventId } from '../event-id.ts';
import { LmdbTileStore } from '../store/lmdb-tile-store.ts';
import { MemoryTileStore } from '../store/memory-tile-store.ts';
import type { TileStore } from '../store/tile-store.ts';
import { FieldTracker } from '../testing/field-tracker.ts';
import { isRight, show, showAnswer } from '../testing/is-right.ts';
import {
  type Bounds,
  boundsOf,
  columnValueOf,
  type OracleEvent,
  oracleAnswer,
  windowsOf,
} from '../testing/oracle.ts';
import { SeededRandom } from '../testing/random.ts';
import { type RandomRepo, randomRepo } from '../testing/random-repo.ts';
import { checkTree } from '../testing/tree-check.ts';
import { ROOT_FIELD, spanMs, TIME_END_MS } from '../tiles/grid.ts';
import { decodeRootHeader } from '../tiles/node.ts';
import { allocateRows } from '../tiles/row-block.ts';
import { PROTOCOL } from '../tiles/state-protocol.ts';
import { type IncomingRow, mergesForGood, retentionLowMs } from '../tiles/state-update.ts';
import type { TileShape } from '../tiles/tile-shape.ts';
import { newEdgeOffsetMs, seriesLength } from './window-reach.ts';
import { type AskedEvent, WindowRead, type WindowValue } from './window-read.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const CASES = Number(process.env.PROPERTY_CASES ?? 2_400);
const BLOCKS = 8;
const SHARDS = 2;

/** Length of the longest tile. */
const TILE_MAX_MS = spanMs(1);

class Mismatch extends Error {}

/** What a run has met, so that the tests can say that the rare things did happen. */
class Coverage {
  cases = 0;
  comparisons = 0;
  readonly seen = new Map<string, number>();

  meet(what: string, times = 1): void {
    if (times > 0) this.seen.set(what, (this.seen.get(what) ?? 0) + times);
  }
}

interface Event {
  readonly row: EventRow;
  readonly timeMs: number;
  readonly id: ColumnValue;
  readonly stamp: string;
  readonly producedMs: number;
}

interface LogEntry {
  readonly event: Event;
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

class Case {
  readonly #random: SeededRandom;
  readonly #repo: RandomRepo;
  readonly #clock: ManualClock;
  readonly #tracker: FieldTracker;
  readonly #writing: StateWriting;
  readonly #partitions: Partition[];
  readonly #produced: Event[] = [];
  /** Events applied, once each, in no particular order. */
  readonly #applied = new Map<Event, OracleEvent>();
  readonly #coverage: Coverage;
  readonly #shape: TileShape;
  /** Whether states have a bound that they come to. */
  readonly #bounded: boolean;
  /** By view, events that were older than every window when they came. */
  readonly #tooLate = new Map<CompiledView, Set<Event>>();
  /** Whether the question at hand names an event. */
  #asking = false;
  #nextId = 0;

  constructor(seed: number, store: TileStore, coverage: Coverage) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#repo = bounded(randomRepo(random, String(seed)), new SeededRandom(seed + 2 ** 40));
    this.#bounded = this.#repo.views.some(({ maxStateBytes }) => maxStateBytes < DEFAULT_MAX_STATE_BYTES);
    this.#coverage = coverage;
    this.#clock = new ManualClock(this.#repo.startMs);
    this.#tracker = new FieldTracker(store);
    this.#shape = {
      leafBytesMax: random.pick([60, 60, 90, 120, 250, 1_000, 4_096]),
      tailRowsMax: random.pick([1, 2, 3, 5, 10, 40]),
    };
    let tokens = 0;
    this.#writing = {
      store: this.#tracker,
      clock: this.#clock,
      shards: SHARDS,
      shape: this.#shape,
      pacing: { foldAfterMs: Math.ceil(this.#repo.scaleMs * random.pick([0, 1, 5])) },
      rules: PROTOCOL,
      newToken: () => (++tokens).toString(16).padStart(16, '0'),
    };
    this.#partitions = Array.from({ length: this.#told() ? random.between(1, 3) : 1 }, () => ({
      entries: [],
      watermark: 0,
      delivered: 0,
    }));
  }

  async run(): Promise<void> {
    const random = this.#random;
    for (const view of this.#repo.views) {
      for (const { name, operation, type, window } of view.features) {
        this.#coverage.meet(`operation ${operation.name} of ${type ?? 'events'}`);
        this.#coverage.meet(window.kind);
        if (newEdgeOffsetMs(window) > 0) this.#coverage.meet('offset');
        const { where, by } = view.definition.features[name]!;
        if (where !== undefined) this.#coverage.meet('condition');
        if (by !== undefined) this.#coverage.meet('secondary key');
        if (where !== undefined && by !== undefined) this.#coverage.meet('both');
      }
    }
    for (let steps = random.between(5, 40); steps > 0; steps--) {
      const kind = random.below(10);
      if (kind < 5) this.#produce();
      if (kind < 7) await this.#deliver();
      else if (kind === 7) await this.#compact();
      else if (kind === 8) this.#tick();
      else await this.#check(2);
    }
    for (const partition of this.#partitions) {
      while (partition.watermark < partition.entries.length) await this.#deliver(partition);
    }
    await this.#check(6);
    this.#tick();
    for (let i = 0; i < 3; i++) await this.#compact();
    await this.#check(6);
    this.#checkTrees();
    this.#coverage.cases++;
  }

  // ---- events

  #tick(): void {
    const { scaleMs } = this.#repo;
    const step = this.#random.pick([0, 1, scaleMs, scaleMs * 10, scaleMs * 40]);
    this.#clock.advanceTo(Math.min(this.#clock.nowMs() + Math.floor(step), TIME_END_MS - 1));
  }

  #eventTime(): number {
    const random = this.#random;
    const { scaleMs, source } = this.#repo;
    const nowMs = this.#clock.nowMs();
    const { maxFutureMs } = source.definition;
    const recent = this.#produced.at(-1);
    const timeMs = Math.floor(
      random.pick([
        nowMs,
        nowMs,
        nowMs - 1,
        nowMs - random.below(Math.ceil(scaleMs) + 1),
        nowMs - random.below(Math.ceil(scaleMs * 30)),
        nowMs - random.below(Math.ceil(scaleMs * 300)),
        recent === undefined ? nowMs : recent.timeMs,
        nowMs + random.below(maxFutureMs + 1),
        // On the edges of nodes, at every level of the grid.
        Math.floor(nowMs / 2 ** random.pick([5, 10, 15, 20, 25, 30])) * 2 ** random.pick([5, 10, 15, 20]) +
          random.between(-1, 1),
        this.#onGrid(nowMs) + random.between(-1, 1),
      ]),
    );
    return Math.max(0, Math.min(timeMs, nowMs + maxFutureMs, TIME_END_MS - 1));
  }

  #onGrid(nowMs: number): number {
    const span = 2 ** this.#random.pick([5, 10, 15, 20, 25, 30]);
    return Math.floor(nowMs / span) * span;
  }

  #newId(): ColumnValue {
    const serial = this.#nextId++;
    // Not in the order of arrival, and negative too.
    const scattered = ((serial * 7_919) % 1_000) - 500 + serial * 1_000_000 * (serial % 2 === 0 ? 1 : -1);
    switch (this.#repo.idKind) {
      case 'integer':
        return scattered;
      case 'long':
        return serial % 3 === 0 ? 2n ** 62n + BigInt(serial) : scattered;
      case 'string':
        return `event ${serial}`;
      case 'none':
        return null;
    }
  }

  #newEvent(timeMs: number): Event {
    const id = this.#newId();
    const row = this.#repo.row(this.#random, timeMs, id);
    return { row, timeMs, id, stamp: `stamp ${this.#nextId++}`, producedMs: this.#clock.nowMs() };
  }

  #produce(): void {
    const random = this.#random;
    for (let count = random.pick([1, 1, 2, 5, 12]); count > 0; count--) {
      const repeated = random.chance(0.12) ? this.#repeatable() : null;
      if (repeated !== null) this.#coverage.meet('event repeated');
      const event = repeated ?? this.#newEvent(this.#eventTime());
      if (repeated === null) this.#produced.push(event);
      const partition = random.pick(this.#partitions);
      const appendedMs = this.#clock.nowMs();
      partition.entries.push({ event, offset: partition.entries.length, appendedMs });
      if (random.chance(0.4)) this.#tick();
    }
  }

  /** Whether the rows alone always tell a repeat: they have ids of their own and are not merged for good. */
  #told(): boolean {
    return this.#repo.idKind !== 'none' && !this.#bounded && !this.#repo.views.some(mergesForGood);
  }

  /**
   * An event to send once more. Where its row tells, a repeat is noticed on any partition however long after;
   * elsewhere it is promised for half a dedupe horizon after the first and on the same partition.
   */
  #repeatable(): Event | null {
    const candidates = this.#produced.filter((event) => this.#isRemembered(event));
    return candidates.length === 0 ? null : this.#random.pick(candidates);
  }

  #isRemembered({ producedMs }: Event): boolean {
    if (this.#told()) return true;
    const { source, idKind } = this.#repo;
    const { dedupeHorizonMs, maxFutureMs } = source.definition;
    const promisedMs = dedupeHorizonMs / 2 - (idKind === 'none' || this.#bounded ? maxFutureMs : 0);
    return this.#clock.nowMs() - producedMs <= promisedMs;
  }

  #idOf(event: Event, partition: number, offset: number): EventId {
    if (this.#repo.idKind === 'none') return positionEventId(partition, offset);
    return typeof event.id === 'string' ? textEventId(event.id) : integerEventId(event.id as number | bigint);
  }

  // ---- the write path

  async #deliver(chosen?: Partition): Promise<void> {
    const random = this.#random;
    const partition = chosen ?? random.pick(this.#partitions);
    const number = this.#partitions.indexOf(partition);
    // A consumer starts at the watermark. One that was overtaken may still come with what lies before it.
    let from = partition.watermark;
    if (random.chance(0.1)) {
      const back = random.below(from + 1);
      while (from > back && this.#isRemembered(partition.entries[from - 1]!.event)) from--;
    }
    const to = Math.min(partition.entries.length, from + random.pick([1, 2, 5, 20, 100]));
    if (from >= to) return;
    if (from < partition.delivered) this.#coverage.meet('redelivery');
    const entries = partition.entries.slice(from, to);
    for (const view of this.#repo.views) {
      const lowMs = view.keepsForever ? 0 : retentionLowMs(view, this.#clock.nowMs());
      const tooLate = this.#tooLate.get(view) ?? new Set();
      this.#tooLate.set(view, tooLate);
      for (const { event } of entries) {
        if (event.timeMs < lowMs && !this.#applied.has(event)) tooLate.add(event);
      }
      const writer = new ViewWriter(view, this.#writing);
      const applying = writer.apply(this.#route(view, number, entries));
      if (random.chance(0.2)) await this.#compact();
      const counts = await applying;
      this.#coverage.meet('rows skipped as duplicates', counts.duplicate);
      this.#coverage.meet('rows dropped as too late', counts.tooLate);
      this.#coverage.meet('writes lost to another', counts.conflicts);
      this.#coverage.meet('states coarsened by ingest', counts.coarsened);
    }
    for (const { event, offset } of entries) {
      // Without an id of its own an event is ordered where it was first applied.
      if (this.#applied.has(event)) continue;
      const id = this.#idOf(event, number, offset);
      this.#applied.set(event, { timeMs: event.timeMs, id, row: event.row });
    }
    partition.delivered = Math.max(partition.delivered, to);
    // Where rows do not tell, events repeat only within one chunk's time of each other: no crash before the watermark
    // moves.
    const crashes = this.#repo.idKind !== 'none' && !this.#bounded;
    if (to > partition.watermark && (!crashes || random.chance(0.8)))
      await this.#moveWatermarks(partition, number, to);
  }

  #route(view: CompiledView, partition: number, entries: readonly LogEntry[]): Map<string, IncomingRow[]> {
    const byKey = new Map<string, IncomingRow[]>();
    for (const { event, offset, appendedMs } of entries) {
      const key = view.keyOf(event.row);
      if (key === null) continue;
      const values = view.project(event.row);
      if (values === null) continue;
      const id = this.#idOf(event, partition, offset);
      const dedupeId = this.#repo.idKind === 'none' ? textEventId(event.stamp) : id;
      const row = { partition, offset, appendedMs, timeMs: event.timeMs, id, dedupeId, values };
      byKey.set(key, [...(byKey.get(key) ?? []), row]);
    }
    return byKey;
  }

  async #moveWatermarks(partition: Partition, number: number, to: number): Promise<void> {
    const { store, newToken } = this.#writing;
    const maxEventTimeMs = Math.max(...partition.entries.slice(0, to).map(({ event }) => event.timeMs));
    for (const view of this.#repo.views) {
      for (let shard = 0; shard < SHARDS; shard++) {
        const name = { namespace: view.namespace, source: view.source.name, partition: number };
        const [present] = await store.readWatermarks(shard, [name]);
        const [moved] = await store.moveWatermarks([
          {
            shard,
            name,
            expected: present?.token ?? null,
            incarnation: await store.incarnation(shard),
            next: {
              nextOffset: to,
              token: newToken(null),
              maxEventTimeMs,
              appendedMs: partition.entries[to - 1]!.appendedMs,
              clockMs: 0,
              logIdentity: '',
            },
          },
        ]);
        if (!moved) throw new Mismatch('a watermark did not move');
      }
    }
    partition.watermark = to;
  }

  async #compact(): Promise<void> {
    const log = {
      partitions: async () => this.#partitions.length,
      ends: async (partition: number) => ({
        startOffset: 0,
        endOffset: this.#partitions[partition]!.entries.length,
      }),
    } as unknown as EventLog;
    const compactor = new Compactor(
      this.#repo.views,
      this.#writing,
      logCompleteness(this.#writing.store, () => log, this.#clock),
      { batchSize: 4, leaseMs: 1 },
    );
    for (let shard = 0; shard < SHARDS; shard++) {
      const { compacted, ended, coarsened } = await compactor.step(shard);
      for (const n of coarsened.values()) this.#coverage.meet('states coarsened by compaction', n);
      this.#coverage.meet('states compacted', compacted);
      this.#coverage.meet('states ended', ended);
    }
  }

  #checkTrees(): void {
    for (const view of this.#repo.views) {
      for (const fields of this.#tracker.statesOf(view.namespace)) {
        const facts = checkTree(view, this.#shape, fields);
        this.#coverage.meet(`tree of depth ${facts.depthMax}`);
        this.#coverage.meet('rows folded', facts.rowCount);
        this.#coverage.meet('rows in collapsed tiles', facts.collapsedRowCount);
        this.#coverage.meet('rows in a prefix', facts.prefixRowCount);
      }
    }
  }

  // ---- the read path

  async #check(times: number): Promise<void> {
    for (const view of this.#repo.views) {
      const tooLate = this.#tooLate.get(view);
      // Where a window reaches further back than asked, they do not count there.
      const events = [...this.#applied].flatMap(([event, counted]) => (tooLate?.has(event) ? [] : [counted]));
      for (let i = 0; i < times; i++) {
        const asked = this.#random.chance(0.35) ? this.#askedEvent(view) : null;
        const atMs =
          asked !== null && this.#random.chance(0.7) ? asked.event.timeMs : this.#someTime(view, events);
        if (atMs < this.#clock.nowMs() - view.asOfRetentionMs) continue;
        const key =
          asked !== null && this.#random.chance(0.8)
            ? view.keyOf(asked.event.row)
            : String(this.#random.pick(this.#repo.keys));
        if (key === null) continue;
        await this.#compareView(view, key, atMs, events, asked);
      }
    }
  }

  /** Mostly an as-of time at which an event stands exactly at an edge of a window, or a millisecond beside it. */
  #someTime(view: CompiledView, events: readonly OracleEvent[]): number {
    const random = this.#random;
    const nowMs = this.#clock.nowMs();
    const oldestMs = Math.max(0, nowMs - view.asOfRetentionMs);
    const clamp = (timeMs: number): number => Math.max(oldestMs, Math.min(timeMs, TIME_END_MS - 1));
    if (events.length === 0 || random.chance(0.1)) return nowMs;
    if (random.chance(0.1)) return clamp(random.between(oldestMs, nowMs + 2 * Math.ceil(this.#repo.scaleMs)));
    for (let attempt = 0; attempt < 8; attempt++) {
      const { timeMs } = random.pick(events);
      const { window } = random.pick(view.features);
      // At the old edge of the window, or of one of a series, or at the new edge.
      const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
      const step = window.kind === 'series' ? random.below(seriesLength(window)) * window.stepMs : 0;
      const offset = window.kind === 'series' ? window.endMs + step : newEdgeOffsetMs(window);
      const atMs = timeMs + offset + size + random.between(-1, 1);
      if (atMs >= oldestMs && atMs < TIME_END_MS) return atMs;
    }
    return clamp(nowMs - random.below(3));
  }

  /** An event to ask about, recorded or not. */
  #askedEvent(view: CompiledView): { event: Event; recorded: boolean } | null {
    const random = this.#random;
    if (random.chance(0.6)) {
      // Of what is merged for good nobody can say whether it was recorded; nor is it asked for any more.
      const oldestMs = this.#clock.nowMs() - view.asOfRetentionMs;
      const recorded = [...this.#applied.keys()].filter(({ timeMs }) => timeMs >= oldestMs);
      if (recorded.length > 0 && this.#repo.idKind !== 'none') {
        return { event: random.pick(recorded), recorded: true };
      }
    }
    const near = this.#produced.at(-1);
    const timeMs = near !== undefined && random.chance(0.5) ? near.timeMs : this.#eventTime();
    return { event: this.#newEvent(timeMs), recorded: false };
  }

  async #compareView(
    view: CompiledView,
    key: string,
    atMs: number,
    events: readonly OracleEvent[],
    asked: { event: Event; recorded: boolean } | null,
  ): Promise<void> {
    const random = this.#random;
    const features = random.chance(0.7) ? view.features : view.features.filter(() => random.chance(0.6));
    this.#asking = asked !== null;
    const read = new WindowRead(view, features);
    const question = asked === null ? null : this.#question(view, key, asked.event);
    const askedTimeMs = question?.asked == null ? null : asked!.event.timeMs;
    const tie =
      question !== null && asked!.event.timeMs === atMs ? { timeMs: atMs, last: question.id } : null;
    const fields = read.fields(atMs, askedTimeMs);
    const address = { namespace: view.namespace, key, shard: shardOf(key, SHARDS) };
    const [state] = await this.#writing.store.read([{ address, fields }]);
    const bytes = new Map(fields.map((field, f) => [field, state!.fields[f]!]));
    const values = read.evaluate({ head: state!.head, bytes, atMs, asked: question?.asked ?? null, tie });
    if (values.length !== features.length) throw new Mismatch('a feature has no value');
    const counted: readonly OracleEvent[] =
      question === null || asked!.recorded
        ? events
        : [...events, { timeMs: asked!.event.timeMs, id: question.id, row: asked!.event.row }];
    if (asked !== null) this.#coverage.meet(asked.recorded ? 'asked, recorded' : 'asked, not recorded');
    const root = bytes.get(ROOT_FIELD) ?? null;
    const unordered = root !== null && decodeRootHeader(new ByteReader(root)).unorderedBeforeMs > 0;
    for (const value of values) {
      if (value.status === 'coarse' && unordered && value.feature.operation.sequence === true) {
        this.#coverage.meet('sequence over late events of a collapsed tile');
        continue;
      }
      if (value.status !== 'coarse' || asked === null) {
        this.#compareValue(view, key, counted, atMs, value, tie?.last);
        continue;
      }
      // Of a collapsed tile nobody can say whether the event asked about is in it, nor which ties are behind it.
      const answers = [counted, events].flatMap((some) =>
        [tie?.last, undefined].map((last) => ({ some, last })),
      );
      const mismatches: unknown[] = [];
      for (const { some, last } of answers) {
        try {
          this.#compareValue(view, key, some, atMs, value, last);
        } catch (error) {
          mismatches.push(error);
        }
      }
      if (mismatches.length === answers.length) throw mismatches[0];
    }
  }

  /** As serve/feature-reader.ts does it. */
  #question(view: CompiledView, key: string, event: Event): { asked: AskedEvent | null; id: EventId } {
    const unknown = this.#repo.idKind === 'none';
    const id = unknown ? { hi: 0xffff_ffff, lo: 0xffff_ffff } : this.#idOf(event, 0, 0);
    if (view.keyOf(event.row) !== key) return { asked: null, id };
    const values = view.project(event.row);
    if (values === null) return { asked: null, id };
    const row = allocateRows(1, view.storages);
    row.times[0] = event.timeMs;
    row.idHi[0] = id.hi;
    row.idLo[0] = id.lo;
    values.forEach((value, c) => {
      row.columns[c]![0] = value === null && view.storages[c] === 'number' ? Number.NaN : value;
    });
    return { asked: { row, id, dedupeId: unknown ? null : id }, id };
  }

  #compareValue(
    view: CompiledView,
    key: string,
    events: readonly OracleEvent[],
    atMs: number,
    got: WindowValue,
    last: EventId | undefined,
  ): void {
    const { feature, status } = got;
    const { window } = feature;
    const where = (): string =>
      `${view.name}.${feature.name} (${feature.operation.name} of ${feature.type}) of key '${key}' at ` +
      `now ${atMs - this.#clock.nowMs()} ms, window ${JSON.stringify(window)}, status ${status}` +
      `${last === undefined ? '' : ', for an event'}`;
    const bounds: Bounds[] = [];
    for (const element of got.elements ?? [got])
      bounds.push(this.#boundsOf(view, atMs, element, bounds.length, where));
    const { column } = view.definition.features[feature.name]!;
    const expected = oracleAnswer({
      ...{ view, feature, column, key, atMs, events },
      ...(last === undefined ? {} : { last }),
      bounds: got.elements === undefined ? bounds[0]! : bounds,
    });
    this.#coverage.comparisons++;
    if (!isRight({ feature, expected, got: got.value, atMs })) {
      throw new Mismatch(`${where()}: expected ${showAnswer(expected)}, got ${show(got.value)}`);
    }
    const rows = bounds.reduce(
      (sum, { fromMs, toMs }) =>
        sum +
        countRows(view, feature.name, key, events, {
          fromMs: fromMs ?? Number.NEGATIVE_INFINITY,
          toMs,
          atMs,
          last,
        }),
      0,
    );
    if (status !== 'coarse' && (status === 'empty') !== (rows === 0))
      throw new Mismatch(`${where()}: the status with ${rows} events in the window`);
    this.#coverage.meet(status);
    if (got.truncated) this.#coverage.meet('truncated');
  }

  /** The bounds a value says it has, if it may have them. */
  #boundsOf(
    view: CompiledView,
    atMs: number,
    { feature, status, fromMs, toMs }: WindowValue,
    element: number,
    where: () => string,
  ): Bounds {
    const { window } = feature;
    const right = window.kind === 'series' ? windowsOf(window, atMs)[element]! : boundsOf(window, atMs);
    if (toMs !== right.toMs) {
      const errorMs = right.toMs - toMs;
      if (!this.#bounded || status !== 'coarse' || errorMs < 0 || errorMs > TILE_MAX_MS)
        throw new Mismatch(`${where()}: the new edge moved by ${errorMs} ms`);
      this.#coverage.meet('new edge before a collapsed tile');
    }
    if (status !== 'coarse') {
      if (fromMs !== right.fromMs) throw new Mismatch(`${where()}: the old edge moved`);
    } else if (window.kind === 'lifetime') {
      if (!this.#bounded || fromMs !== null)
        throw new Mismatch(`${where()}: a lifetime window has an old edge`);
    } else if (window.kind === 'last_events') {
      this.#coverage.meet('last events incomplete');
    } else {
      this.#coverage.meet('coarse value');
      const errorMs = right.fromMs! - fromMs!;
      const allowedMs = this.#bounded ? TILE_MAX_MS : (view.resolutionMs ?? 0);
      if ((errorMs < (this.#asking ? 0 : 1) && !this.#bounded) || errorMs > allowedMs)
        throw new Mismatch(`${where()}: the old edge is off by ${errorMs} ms`);
    }
    return { fromMs, toMs };
  }
}

/** In every third case states are bounded so tightly that they come to it. */
function bounded(repo: RandomRepo, random: SeededRandom): RandomRepo {
  if (!random.chance(1 / 3)) return repo;
  const maxStateBytes = random.pick([300, 600, 1_500, 4_000, 10_000]);
  return { ...repo, views: repo.views.map((view) => ({ ...view, maxStateBytes })) };
}

/** Events in the window that count for the feature. */
function countRows(
  view: CompiledView,
  feature: string,
  key: string,
  events: readonly OracleEvent[],
  bounds: { fromMs: number; toMs: number; atMs: number; last: EventId | undefined },
): number {
  const { fromMs, toMs, atMs, last } = bounds;
  const { where, by, window } = view.definition.features[feature]!;
  let counted = events.filter(
    ({ timeMs, id, row }) =>
      fromMs < timeMs &&
      timeMs <= toMs &&
      (last === undefined || timeMs < atMs || compareEventIds(id, last) <= 0) &&
      view.keyOf(row) === key &&
      view.project(row) !== null &&
      (where === undefined || columnValueOf(view, row, where) === true),
  );
  if (window.kind === 'last_events') {
    counted = counted.sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id)).slice(-window.count);
  }
  return by === undefined
    ? counted.length
    : counted.filter(({ row }) => columnValueOf(view, row, by.column) !== null).length;
}

async function runCases(
  first: number,
  count: number,
  store: () => TileStore,
  coverage: Coverage,
): Promise<void> {
  for (let seed = first; seed < first + count; seed++) {
    try {
      await new Case(seed, store(), coverage).run();
    } catch (error) {
      const replay = `replay with PROPERTY_SEED=${seed} PROPERTY_CASES=1`;
      throw new Error(`seed ${seed} (${replay}): ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
}

function memoryStore(): TileStore {
  const random = new SeededRandom(1);
  return new MemoryTileStore({ random: () => random.hex64(), historyLimit: 0 });
}

describe('every value equals the oracle', () => {
  const coverage = new Coverage();
  const perBlock = Math.ceil(CASES / BLOCKS);

  for (let first = SEED; first < SEED + CASES; first += perBlock) {
    const count = Math.min(perBlock, SEED + CASES - first);
    test(
      `seeds ${first} to ${first + count - 1}`,
      () => runCases(first, count, memoryStore, coverage),
      3_600_000,
    );
  }

  test.skipIf(CASES < 2_000)('the cases were not all easy ones', () => {
    console.log(`${coverage.cases} cases from seed ${SEED}, ${coverage.comparisons} values compared`);
    console.log(
      [...coverage.seen]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([what, n]) => `  ${what}: ${n}`)
        .join('\n'),
    );
    const expected = [
      ...[...operationRegistry.values()].flatMap(({ name, accepts, columnOptional }) => [
        ...(accepts ?? []).map((type) => `operation ${name} of ${type}`),
        ...(columnOptional ? [`operation ${name} of events`] : []),
      ]),
      ...[0, 1, 2, 3, 4, 5, 6, 7].map((depth) => `tree of depth ${depth}`),
      ...[
        'lifetime',
        'sliding',
        'series',
        'calendar',
        'last_events',
        'offset',
        'condition',
        'secondary key',
        'both',
        'truncated',
        'present',
        'empty',
        'coarse value',
        'redelivery',
        'event repeated',
      ],
      ...['rows skipped as duplicates', 'rows dropped as too late', 'writes lost to another', 'states ended'],
      ...['states coarsened by ingest', 'states coarsened by compaction', 'new edge before a collapsed tile'],
      ...['rows in collapsed tiles', 'rows in a prefix', 'asked, recorded', 'asked, not recorded'],
    ];
    expect(expected.filter((what) => !coverage.seen.has(what))).toEqual([]);
  });
});

describe('likewise on lmdb', () => {
  let directory: string | null = null;
  let store: LmdbTileStore | null = null;
  afterAll(async () => {
    await store?.close();
    if (directory !== null) await rm(directory, { recursive: true });
  });

  const count = Math.ceil(CASES / 12);
  test(`seeds ${SEED} to ${SEED + count - 1}`, async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-property-'));
    const opened = await LmdbTileStore.open({ path: directory });
    store = opened;
    await runCases(SEED, count, () => opened, new Coverage());
  }, 3_600_000);
});
