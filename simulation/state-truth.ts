/**
 * Whether the store tells the truth, at every moment of a run and not only once all is healed.
 *
 * A state says itself which records it has taken in: those below the floor of their partition, those whose rows are in
 * the tail, and the early offsets. So its answers can be compared with the oracle over exactly these, after every
 * write (I2, I4, I5), and whenever a watermark moves, every usable record of the shard below it must be among them, or
 * repeat an event that is (I3). So it is in every namespace of a view by itself, and in the end what is read of the view, from
 * whichever it is, is compared with the oracle over the whole log. Nothing here passes a gate or takes from the run's randomness: a run goes the same way
 * whether it is watched or not.
 */
import { ByteReader } from '../engine/bytes.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import { ReadFields } from '../engine/store/read-fields.ts';
import type { StateAddress, TileStore, Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import type { OracleEvent } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { decodeHead, type Head, tailOffset, tailPartition, tailStorages } from '../engine/tiles/head.ts';
import { allocateRows, setValue } from '../engine/tiles/row-block.ts';
import { mergesForGood, retentionLowMs } from '../engine/tiles/state-update.ts';
import { newEdgeOffsetMs } from '../engine/windows/window-reach.ts';
import { type AskedEvent, WindowRead } from '../engine/windows/window-read.ts';
import { shardOf } from '../ingest/view-writer.ts';
import { isCareful, type LogContent, type Occurrence, type Place } from './log-content.ts';
import { Mismatch } from './mismatch.ts';
import type { Namespaces, Switch } from './namespaces.ts';
import type { OracleComparison } from './oracle-comparison.ts';
import type { StoreWatcher } from './watched-store.ts';

/** Which view's state lies where. */
type KnownNamespaces = Pick<Namespaces, 'viewIn' | 'active' | 'watermarkNames'>;

type Watermarks = ReadonlyMap<number, Watermark | null>;

/** Whether the record is one that the view may not be able to use, for a time at least. */
const mayBeLetterOf = (view: CompiledView, { poison, schemaLosable }: Occurrence): boolean =>
  schemaLosable || (poison && isCareful(view));

/** Whether the watermark says that the log had lost the record. */
const isGone = (mark: Watermark | null | undefined, offset: number): boolean =>
  mark?.gaps?.some(({ fromOffset, toOffset }) => fromOffset <= offset && offset < toOffset) ?? false;

/** The record, or the one that it is a copy of. */
const originOf = ({ partition, offset, originOffset }: Occurrence): Place => ({
  partition,
  offset: originOffset ?? offset,
});

export class StateTruth implements StoreWatcher {
  readonly #repo: CompiledRepo;
  readonly #store: Pick<TileStore, 'read' | 'readWatermarks'>;
  readonly #content: LogContent;
  readonly #shards: number;
  readonly #comparison: OracleComparison;
  readonly #clock: Clock;
  readonly #clockSkewMs: number;
  readonly #random: SeededRandom;
  /** Keys of which nobody can say what counts, as name of the view and key; or in one namespace, as that and key. */
  readonly #unsure = new Set<string>();
  /**
   * Keys of which one process applied what another wrote a letter of: once it is folded, the state does not say so any
   * more.
   */
  readonly #mixed = new Set<string>();
  /** Keys of which the state, when it was looked at last, may have held more than it said. */
  readonly #untold = new Set<string>();
  readonly #lettered: (view: CompiledView, place: Place) => boolean;
  readonly #poisonCounts: () => boolean;
  readonly #step: () => number;
  readonly #namespaces: KnownNamespaces;
  readonly #reads = new Map<CompiledView, WindowRead>();

  constructor(args: {
    repo: CompiledRepo;
    /** Read past the gates. */
    store: Pick<TileStore, 'read' | 'readWatermarks'>;
    content: LogContent;
    namespaces: KnownNamespaces;
    shards: number;
    comparison: OracleComparison;
    clock: Clock;
    /** How far the clock of a process may be ahead of `clock`, or behind. */
    clockSkewMs: number;
    seed: number;
    /** Whether the record has a dead letter of the view, or of all views. */
    lettered: (view: CompiledView, place: Place) => boolean;
    /** Whether poison was mended and all letters of it were replayed: it counts. */
    poisonCounts: () => boolean;
    /** The scheduler's step, to be named with what was found. */
    step: () => number;
  }) {
    this.#repo = args.repo;
    this.#store = args.store;
    this.#content = args.content;
    this.#shards = args.shards;
    this.#comparison = args.comparison;
    this.#clock = args.clock;
    this.#clockSkewMs = args.clockSkewMs;
    // Not the run's: a run that is not watched has to go the same way.
    this.#random = new SeededRandom(Math.imul(args.seed, 0x9e3779b1) ^ 0x5bd1e995);
    this.#lettered = args.lettered;
    this.#poisonCounts = args.poisonCounts;
    this.#step = args.step;
    this.#namespaces = args.namespaces;
  }

  /** I2, I4, I5: the state gives the values of what it says it holds. */
  async stateWritten(address: StateAddress): Promise<void> {
    const view = this.#namespaces.viewIn(address.namespace);
    const [state] = await this.#store.read([{ address, fields: [] }]);
    if (state!.head === null) return;
    const head = this.#decode(view, state!.head);
    this.#checkTail(view, address.key, head);
    if (this.#isUnsureForGood(view, address.key)) return;
    const watermarks = await this.#watermarks(view, address.shard);
    const held = [...this.#heldEvents(view, address.key, head, watermarks)];
    if (this.isUnsure(view, address.key)) return;
    const when = `after the write at step ${this.#step()}`;
    // Now is when most windows see most of what may be wrong; other times are for edges.
    for (const atMs of [this.#clock.nowMs(), this.#someTime(view, held)]) {
      await this.#compare({ when, view, key: address.key, events: held, atMs, asked: null });
    }
  }

  /** I3: what a watermark says is applied was not removed from under it. */
  async statesDropped(shard: number, namespace: string): Promise<void> {
    const names = await this.#namespaces.watermarkNames(namespace);
    const marks = await this.#store.readWatermarks(shard, names);
    for (const [i, mark] of marks.entries()) if (mark !== null) await this.watermarkMoved(shard, names[i]!);
  }

  /**
   * Nothing that was counted is gone from the log and therefore missing, unless somebody has said that it may be. A state may
   * hold more than watermarks say, of a chunk under way; that will be missing in the former namespace too.
   */
  async switched({ from, to, acceptGap, steady }: Switch): Promise<void> {
    if (acceptGap) return;
    for (const shard of steady) {
      const marks = await this.#marks(shard, to);
      const former = await this.#marks(shard, from);
      for (const { key, occurrence } of await this.unheld(to, (at) => at === shard)) {
        const { partition, offset, event } = occurrence;
        const wasCounted =
          offset < (former[partition]?.nextOffset ?? 0) && !isGone(former[partition], offset);
        if (!isGone(marks[partition], offset) || !wasCounted || this.isUnsure(from, key)) continue;
        if (!(await this.held(from, key)).has(event)) continue;
        throw new Mismatch(
          `view ${to.name}: switched at step ${this.#step()} to a namespace that lacks the record at offset ${offset} of ` +
            `partition ${partition}, of key '${key}', which the log has lost and the former one counts`,
        );
      }
    }
  }

  async #marks(shard: number, { namespace }: CompiledView): Promise<readonly (Watermark | null)[]> {
    return this.#store.readWatermarks(shard, await this.#namespaces.watermarkNames(namespace));
  }

  /** The contract does not say what counts for the key from here on: its values are no longer compared, in any namespace. */
  markUnsure(view: CompiledView, key: string): void {
    this.#unsure.add(`${view.name} ${key}`);
  }

  /** The same of one namespace: another one may hold what counts. */
  #markUnsureThere({ namespace }: CompiledView, key: string): void {
    this.#unsure.add(namespace + key);
  }

  /** I3: what is below the watermark is in the states of the shard, or has a dead letter, or it says itself that it is missing. */
  async watermarkMoved(shard: number, name: WatermarkName): Promise<void> {
    const view = this.#namespaces.viewIn(name.namespace);
    const { partition } = name;
    const [watermark] = await this.#store.readWatermarks(shard, [name]);
    const { nextOffset: below, gaps = [] } = watermark!;
    const isGone = (offset: number): boolean =>
      gaps.some(({ fromOffset, toOffset }) => fromOffset <= offset && offset < toOffset);
    const past = (offset: number): string =>
      `watermark of view ${view.name}, shard ${shard}, partition ${partition}, moved to ${below} at step ` +
      `${this.#step()}, past the record at offset ${offset}`;
    for (const { key, occurrence } of await this.unheld(view, (at) => at === shard)) {
      const { offset } = occurrence;
      if (occurrence.partition !== partition || offset >= below) continue;
      if (!isGone(offset)) {
        if (this.#untold.has(view.namespace + key) && this.#mayRepeatLetter(view, key, occurrence)) continue;
        throw new Mismatch(`${past(offset)} of key '${key}', which is neither applied nor a dead letter`);
      }
      this.#markUnsureThere(view, key);
    }
    if (gaps.length > 0)
      await this.#copiesGone(view, shard, (at) => at.partition === partition && isGone(at.offset));
  }

  /** A letter that was replayed does not come again: where its copy is gone as well, nothing of it is left. */
  async #copiesGone(view: CompiledView, shard: number, isGone: (place: Place) => boolean): Promise<void> {
    for (const { key, occurrences } of this.#content.keysOf(view)) {
      const copies = occurrences.filter((at) => at.originOffset !== null && isGone(at));
      if (copies.length === 0 || shardOf(key, this.#shards) !== shard) continue;
      const held = await this.held(view, key);
      if (copies.some(({ event }) => !held.has(event))) this.#markUnsureThere(view, key);
    }
  }

  /** Whether it, or another record of its event, which it would only repeat, may be a letter of the view. */
  #mayRepeatLetter(view: CompiledView, key: string, { event }: Occurrence): boolean {
    return this.#content.ofKey(view, key).some((at) => at.event === event && mayBeLetterOf(view, at));
  }

  /** Of partitions that have records which may be letters of the view. */
  async #watermarks(view: CompiledView, shard: number): Promise<Watermarks> {
    const letterable = this.#content.letterable.filter((record) => mayBeLetterOf(view, record));
    const partitions = [...new Set(letterable.map(({ partition }) => partition))];
    if (partitions.length === 0) return new Map();
    const names = partitions.map((partition) => ({ namespace: view.namespace, source: 'swipes', partition }));
    const read = await this.#store.readWatermarks(shard, names);
    return new Map(partitions.map((partition, i) => [partition, read[i] ?? null]));
  }

  /** Whether the contract does not say what counts for the key, or its state, looked at last, what it holds. */
  isUnsure(view: CompiledView, key: string): boolean {
    return this.#isUnsureForGood(view, key) || this.#untold.has(view.namespace + key);
  }

  #isUnsureForGood(view: CompiledView, key: string): boolean {
    return this.#unsure.has(`${view.name} ${key}`) || this.#unsure.has(view.namespace + key);
  }

  /** Records that a window may still count and that their states do not hold, nor another record of the same event. */
  async unheld(
    view: CompiledView,
    ofShard: (shard: number) => boolean = () => true,
  ): Promise<{ readonly key: string; readonly occurrence: Occurrence }[]> {
    const found: { key: string; occurrence: Occurrence }[] = [];
    const watermarks = new Map<number, Watermarks>();
    for (let shard = 0; shard < this.#shards; shard++) {
      if (ofShard(shard)) watermarks.set(shard, await this.#watermarks(view, shard));
    }
    for (const { key, occurrences } of this.#content.keysOf(view)) {
      const shard = shardOf(key, this.#shards);
      if (!ofShard(shard)) continue;
      const held = await this.#heldNow(view, key, watermarks.get(shard)!);
      found.push(...this.missing(view, key, held, occurrences).map((occurrence) => ({ key, occurrence })));
    }
    return found;
  }

  /** What a window may still count and is not among what is held, nor another record of the same event. */
  missing(
    view: CompiledView,
    key: string,
    held: ReadonlySet<OracleEvent>,
    occurrences = this.#content.ofKey(view, key),
  ): Occurrence[] {
    const lowMs = view.keepsForever ? 0 : retentionLowMs(view, this.#clock.nowMs() + this.#clockSkewMs);
    return occurrences.filter((occurrence) => {
      if (occurrence.event.timeMs < lowMs || held.has(occurrence.event)) return false;
      // What replaying them comes to is seen in the end.
      return !this.#isLetterOf(view, occurrence);
    });
  }

  /**
   * As `missing`, without what may only repeat a letter of which the state, looked at last, does not say what became of it.
   */
  lacking(view: CompiledView, key: string, held: ReadonlySet<OracleEvent>): Occurrence[] {
    const missing = this.missing(view, key, held);
    if (!this.isUnsure(view, key)) return missing;
    return missing.filter((occurrence) => !this.#mayRepeatLetter(view, key, occurrence));
  }

  #isLetterOf(view: CompiledView, occurrence: Occurrence): boolean {
    return mayBeLetterOf(view, occurrence) && this.#lettered(view, originOf(occurrence));
  }

  /** What the state of the key says at this instant that it holds. */
  async held(view: CompiledView, key: string): Promise<ReadonlySet<OracleEvent>> {
    return this.#heldNow(view, key, await this.#watermarks(view, shardOf(key, this.#shards)));
  }

  async #heldNow(view: CompiledView, key: string, watermarks: Watermarks): Promise<ReadonlySet<OracleEvent>> {
    const address = { namespace: view.namespace, key, shard: shardOf(key, this.#shards) };
    const [state] = await this.#store.read([{ address, fields: [] }]);
    if (state!.head !== null) return this.#heldEvents(view, key, this.#decode(view, state!.head), watermarks);
    this.#untold.delete(view.namespace + key);
    return new Set();
  }

  /** I2: every value that is read, at random times and for random events, against all that is in the log. */
  async checkAll(when: string): Promise<void> {
    for (const defined of this.#repo.views.values()) {
      const view = await this.#namespaces.active(defined);
      for (const { key, occurrences } of this.#content.keysOf(view)) {
        if (this.#isUnsureForGood(view, key)) continue;
        const known = occurrences.filter(({ poison }) => !poison || !isCareful(view) || this.#poisonCounts());
        const counted = [...new Set(known.map(({ event }) => event))];
        if (counted.length === 0) continue;
        for (let i = 0; i < 4; i++) {
          const atMs = this.#someTime(view, counted);
          await this.#compare({ when, view, key, events: counted, atMs, asked: null });
        }
        const asked = this.#random.pick(counted);
        await this.#compare({ when, view, key, events: counted, atMs: asked.timeMs, asked });
      }
    }
  }

  #decode(view: CompiledView, head: Uint8Array): Head {
    return decodeHead(new ByteReader(head), tailStorages(view.storages));
  }

  /**
   * A letter is below the floor and yet not held, unless the watermark says that it was applied after all: by a mended
   * version, by a process that had its schema, or as a copy. Where one process applied what another wrote a letter of, the
   * state cannot say so, as the latter's watermark was the one that moved; and in a view that merges rows for good nobody
   * can when it is replayed. Nor can anybody where a fold landed after the watermark it was planned with fell back: the floor
   * is above the letter, of which the watermark knows no more.
   */
  #heldEvents(view: CompiledView, key: string, head: Head, watermarks: Watermarks): ReadonlySet<OracleEvent> {
    const tail = new Set<string>();
    for (let i = 0; i < head.tail.length; i++) {
      tail.add(`${tailPartition(head.tail, i)}:${tailOffset(head.tail, i)}`);
    }
    const occurrences = this.#content.ofKey(view, key);
    const inTail = ({ partition, offset }: Place): boolean => tail.has(`${partition}:${offset}`);
    const isEarly = ({ partition, offset }: Place): boolean =>
      head.early.get(partition)?.has(offset) ?? false;
    // A copy that is applied leaves its original among the early offsets.
    const copied = new Set(
      occurrences
        .filter((at) => at.originOffset !== null && (inTail(at) || isEarly(at)))
        .map((at) => `${at.partition}:${at.originOffset}`),
    );
    const held = new Set<OracleEvent>();
    let isForgotten = false;
    for (const occurrence of occurrences) {
      const { partition, offset, event } = occurrence;
      const watermark = watermarks.get(partition) ?? null;
      const isKnown = inTail(occurrence) || isEarly(occurrence);
      const belowFloor = offset < (head.floors.get(partition) ?? 0);
      if (!mayBeLetterOf(view, occurrence) || watermark === null || offset >= watermark.nextOffset) {
        if (isKnown || belowFloor) held.add(event);
        if (belowFloor && !isKnown && this.#isLetterOf(view, occurrence)) this.#markUnsureThere(view, key);
        continue;
      }
      const applied = watermark.unapplied!.isApplied(originOf(occurrence).offset);
      // A write that landed later may have folded it at once.
      const isFolded = occurrence.schemaLosable && belowFloor && this.#content.isDecoded(occurrence);
      if (
        applied === false &&
        (isKnown ? inTail(occurrence) || !copied.has(`${partition}:${offset}`) : isFolded)
      ) {
        this.#mixed.add(view.namespace + key);
        if (mergesForGood(view) || view.keepsForever) this.#markUnsureThere(view, key);
      }
      if (applied === null && !isKnown) isForgotten = true;
      if (isKnown || (belowFloor && applied === true)) held.add(event);
    }
    if (isForgotten || this.#mixed.has(view.namespace + key)) this.#untold.add(view.namespace + key);
    else this.#untold.delete(view.namespace + key);
    return held;
  }

  /** Every row of the tail is a record of that key, and no event has two. */
  #checkTail(view: CompiledView, key: string, { tail }: Head): void {
    if (tail.length === 0) return;
    const records = new Map(
      this.#content.ofKey(view, key).map((record) => [`${record.partition}:${record.offset}`, record]),
    );
    const events = new Set<OracleEvent>();
    for (let i = 0; i < tail.length; i++) {
      const place = `${tailPartition(tail, i)}:${tailOffset(tail, i)}`;
      const record = records.get(place);
      if (record === undefined || record.event.timeMs !== tail.times[i]) {
        throw new Mismatch(
          `view ${view.name}: the tail of key '${key}' holds ${place}, which is not its record`,
        );
      }
      if (events.has(record.event) && !this.#isUnsureForGood(view, key)) {
        throw new Mismatch(
          `view ${view.name}: the tail of key '${key}' holds one event twice at step ${this.#step()}`,
        );
      }
      events.add(record.event);
    }
  }

  #someTime(view: CompiledView, events: readonly OracleEvent[]): number {
    const nowMs = this.#clock.nowMs();
    if (events.length === 0) return nowMs;
    const event = this.#random.pick(events);
    const { window } = this.#random.pick(view.features);
    const edge = event.timeMs + newEdgeOffsetMs(window) + ('sizeMs' in window ? window.sizeMs : 0);
    return this.#random.pick([
      nowMs,
      this.#clamped(view, event.timeMs),
      this.#clamped(view, edge + this.#random.between(-1, 1)),
    ]);
  }

  /** As of when the view may be asked, whosever clock it is. */
  earliestMs(view: CompiledView): number {
    return this.#clock.nowMs() + this.#clockSkewMs - view.asOfRetentionMs;
  }

  #clamped(view: CompiledView, timeMs: number): number {
    return Math.max(this.earliestMs(view), Math.min(this.#clock.nowMs(), timeMs));
  }

  async #compare(args: {
    when: string;
    view: CompiledView;
    key: string;
    events: readonly OracleEvent[];
    atMs: number;
    asked: OracleEvent | null;
  }): Promise<void> {
    const { view, key, atMs } = args;
    if (atMs < this.earliestMs(view)) return;
    const asked = args.asked === null ? null : askedOf(view, key, args.asked);
    const read = this.#readOf(view);
    const lookup = read.lookup(atMs, asked === null ? null : atMs);
    const address = { namespace: view.namespace, key, shard: shardOf(key, this.#shards) };
    const [state] = await this.#store.read([{ address, ...lookup }]);
    const bytes = new ReadFields(lookup, state!.fields);
    for (const value of read.evaluate({ head: state!.head, bytes, atMs, asked })) {
      this.#comparison.check({
        ...args,
        feature: value.feature,
        got: value.value,
        bounds: (value.elements ?? [value]).map(({ fromMs, toMs, status }) => ({
          fromMs,
          toMs,
          isCoarse: status === 'coarse',
        })),
        last: asked?.id ?? null,
      });
    }
  }

  #readOf(view: CompiledView): WindowRead {
    const read = this.#reads.get(view) ?? new WindowRead(view, view.features);
    this.#reads.set(view, read);
    return read;
  }
}

/** The event as a question (C10), where it counts for the key: ties stop at it, and it is recorded already. */
function askedOf(view: CompiledView, key: string, event: OracleEvent): AskedEvent | null {
  if (view.keyOf(event.row) !== key) return null;
  const values = view.project(event.row);
  if (values === null) return null;
  const row = allocateRows(1, view.storages);
  row.times[0] = event.timeMs;
  row.idHi[0] = event.id.hi;
  row.idLo[0] = event.id.lo;
  values.forEach((value, c) => {
    setValue(row, c, 0, value);
  });
  return { row, id: event.id, dedupeId: event.id };
}
