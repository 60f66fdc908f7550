/**
 * One simulated run: real ingest and compaction code on a simulated log, store, clock and scheduler, faults
 * throughout; then the faults stop, everything catches up, and every value is compared with the oracle.
 *
 * Faults, each at a random step: a consumer or compactor is killed between two store operations or suspended
 * for long (a zombie) while another takes over; two owners of one partition; chunks with other borders on
 * every start; the store falls back to an earlier prefix of its writes, or is wiped; replies are lost before
 * or after a write, or the write lands later; partitions are added; events repeat on other partitions, come
 * late or from the future.
 *
 * What it does not catch: anything inside one store operation (the stores' own contract suite does that), and
 * real time.
 */
import { Compactor } from '../compaction/compactor.ts';
import { logCompleteness } from '../compaction/completeness.ts';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import { type EventId, integerEventId, positionEventId } from '../engine/event-id.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { isRight, show, showAnswer } from '../engine/testing/is-right.ts';
import { boundsOf, type OracleEvent, oracleAnswer, windowsOf } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { allocateRows, setValue } from '../engine/tiles/row-block.ts';
import { newEdgeOffsetMs } from '../engine/windows/window-reach.ts';
import { type AskedEvent, WindowRead, type WindowValue } from '../engine/windows/window-read.ts';
import type { DeadLetter, DeadLetters } from '../ingest/dead-letter.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { type ConsumerObserver, PartitionConsumer } from '../ingest/partition-consumer.ts';
import { type StateWriting, shardOf } from '../ingest/view-writer.ts';
import { FaultyStore, LostReplyError, type Mutation, mutatedRules } from './faulty-store.ts';
import { type Actor, Scheduler } from './scheduler.ts';
import { POISON_AMOUNT, simulationRepo } from './simulation-repo.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** A mistake to plant; the run is then expected to end in a mismatch for some seeds. */
  readonly mutation?: Mutation;
}

export interface SimulationResult {
  readonly seed: number;
  /** Hash of the store's final content: equal for equal seeds. */
  readonly stateHash: string;
  readonly steps: number;
  readonly events: number;
  /** Values compared with the oracle. */
  readonly comparisons: number;
  /** How often each fault was injected. */
  readonly faults: ReadonlyMap<string, number>;
  /** What went wrong first, in words; null: nothing. */
  readonly failure: string | null;
}

const START_MS = 1_700_000_000_000;
const SHARDS = 2;
const PARTITIONS_MAX = 4;
const KEYS = ['a', 'b', 'c', ''] as const;
/** By seed: so few that most repeats are told by their rows, and so many that none is. */
const RECENT_IDS_MAX = [2, 8, 4_096] as const;
/** A run that does not settle in this many steps is stuck. */
const STEPS_MAX = 400_000;

interface Event {
  readonly id: number;
  readonly timeMs: number;
  readonly key: string | null;
  readonly amount: number;
  readonly kind: string;
  readonly appendedMs: number;
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const world = new World(options);
  let failure: string | null = null;
  try {
    await world.run();
  } catch (error) {
    failure =
      error instanceof Mismatch
        ? error.message
        : `threw ${String(error instanceof Error ? error.stack : error)}`;
  }
  return world.result(failure);
}

class Mismatch extends Error {}

class World {
  readonly #seed: number;
  readonly #mutation: Mutation | null;
  readonly #random: SeededRandom;
  readonly #scheduler: Scheduler;
  readonly #clock = new ManualClock(START_MS);
  readonly #withIds: boolean;
  readonly #repo: CompiledRepo;
  /** Event → its identity: its own id, or where the log put it. */
  readonly #ids = new Map<Event, EventId>();
  readonly #store: MemoryTileStore;
  readonly #log: MemoryEventLog;
  readonly #faults = new Map<string, number>();
  readonly #reads = new Map<CompiledView, WindowRead>();
  readonly #events = new Map<number, Event>();
  /** Records that a filter throws on, by their place in the log. */
  readonly #poison = new Set<string>();
  /** Those of them that have a dead letter. Letters are in a log of their own: they do not fall back with the store. */
  readonly #letters = new Set<string>();
  #workers: { actor: Actor; partition: number | null }[] = [];
  /** The scheduler's step before which dead letters fail. */
  #lettersLostUntil = 0;
  #faulty = true;
  #producing = true;
  #comparisons = 0;
  #tokens = 0;

  constructor({ seed, mutation }: SimulationOptions) {
    this.#seed = seed;
    this.#mutation = mutation ?? null;
    this.#random = new SeededRandom(seed);
    this.#scheduler = new Scheduler(this.#random);
    // The dedupe would hide a floor that fails: half of the runs have no ids.
    this.#withIds = seed % 2 === 0;
    this.#repo = simulationRepo(this.#withIds);
    this.#store = new MemoryTileStore({ random: () => this.#random.hex64(), historyLimit: 400 });
    this.#log = new MemoryEventLog({
      source: 'swipes',
      partitions: this.#random.between(1, 2),
      random: () => this.#random.hex64(),
    });
  }

  result(failure: string | null): SimulationResult {
    return {
      seed: this.#seed,
      stateHash: this.#store.stateHash(),
      steps: this.#scheduler.steps,
      events: this.#events.size,
      comparisons: this.#comparisons,
      faults: this.#faults,
      failure,
    };
  }

  async run(): Promise<void> {
    this.#scheduler.spawn('producer', (actor) => this.#produce(actor));
    for (let p = 0; p < (await this.#log.partitions()); p++) this.#spawnConsumer(p);
    for (let c = this.#random.between(1, 2); c > 0; c--) this.#spawnCompactor();
    while (this.#producing) {
      await this.#inject();
      await this.#step();
    }
    await this.#heal('after the faults');
    await this.#check('after the faults');
    // C7: the same values after everything was compacted.
    await this.#compactAll();
    await this.#check('after compaction');
    // I6: a replay into an empty store gives the same values.
    if (this.#random.chance(0.3)) {
      this.#store.wipe();
      await this.#heal('after a wipe');
      await this.#check('after a wipe and replay');
    }
  }

  async #step(): Promise<void> {
    if (this.#scheduler.steps > STEPS_MAX) throw new Mismatch(`not settled after ${STEPS_MAX} steps`);
    if (!(await this.#scheduler.step())) throw new Mismatch('every actor is dead');
  }

  #count(fault: string): void {
    this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
  }

  // ---- actors

  async #produce(actor: Actor): Promise<void> {
    const random = this.#random;
    const total = random.between(20, 70);
    const recent: Event[] = [];
    for (let i = 0; i < total; i++) {
      await this.#scheduler.gate(actor);
      this.#clock.advanceTo(this.#clock.nowMs() + random.pick([0, 1, 50, 400, 1_500, 6_000]));
      const nowMs = this.#clock.nowMs();
      if (random.chance(0.02) && (await this.#log.partitions()) < PARTITIONS_MAX) {
        this.#count('partition added');
        this.#log.addPartition();
        this.#spawnConsumer((await this.#log.partitions()) - 1);
      }
      // A repeat is due while the dedupe horizon, 20 s, has not passed.
      const repeatable = recent.filter((event) => nowMs - event.appendedMs < 10_000);
      if (this.#withIds && repeatable.length > 0 && random.chance(0.2)) {
        this.#count('event repeated');
        await this.#append(random.pick(repeatable));
        continue;
      }
      const event: Event = {
        id: i * 7 - 50,
        timeMs: nowMs + random.pick([0, 0, 0, -1, -500, -4_000, -20_000, -40_000, 900, 4_000]),
        key: random.chance(0.05) ? null : random.pick(KEYS),
        amount: random.between(-3, 9),
        kind: random.pick(['x', 'y', 'z']),
        appendedMs: nowMs,
      };
      this.#events.set(event.id, event);
      recent.push(event);
      await this.#append(event);
    }
    this.#producing = false;
  }

  async #append(event: Event): Promise<void> {
    const { id, timeMs, key, amount, kind } = event;
    const value = new TextEncoder().encode(JSON.stringify({ id, at: timeMs, card: key, amount, kind }));
    const partition = this.#random.below(await this.#log.partitions());
    const appendedMs = this.#clock.nowMs();
    const [offset] = await this.#log.append([
      { partition, appendedMs, stamp: null, value, eventTimeMs: timeMs },
    ]);
    if (amount === POISON_AMOUNT) this.#poison.add(`${partition}:${offset}`);
    this.#ids.set(event, this.#withIds ? integerEventId(id) : positionEventId(partition, offset!));
  }

  #writing(actor: Actor): StateWriting {
    const store = new FaultyStore({
      store: this.#store,
      scheduler: this.#scheduler,
      actor,
      random: this.#random,
      mutation: this.#mutation,
      faults: this.#faults,
      lossRate: () => (this.#faulty ? 0.01 : 0),
    });
    return {
      store,
      clock: this.#clock,
      shards: SHARDS,
      shape: { leafBytesMax: 90, tailRowsMax: 3, recentIdsMax: RECENT_IDS_MAX[this.#seed % 3]! },
      pacing: { foldAfterMs: 2_000 },
      rules: mutatedRules(this.#mutation),
      newToken: (previous) =>
        this.#mutation === 'counter_token'
          ? (Number.parseInt(previous ?? '0', 16) + 1).toString(16).padStart(16, '0')
          : `${(++this.#tokens).toString(16).padStart(8, '0')}${this.#random.hex64().slice(8)}`,
    };
  }

  #spawnConsumer(partition: number): Actor {
    const actor = this.#scheduler.spawn(`consumer ${partition}`, async (self) => {
      const source = this.#repo.sources.get('swipes')!;
      const consumer = new PartitionConsumer({
        source,
        views: source.views,
        partition,
        log: this.#log,
        writing: this.#writing(self),
        deadLetters: this.#deadLetters(self),
        observer: SILENT,
        options: { chunkRecords: this.#random.between(1, 6) },
      });
      while (true) {
        await this.#scheduler.gate(self);
        try {
          const records = await consumer.step();
          if (records === 0 && !this.#faulty) return;
        } catch (error) {
          if (!(error instanceof LostReplyError)) throw error;
          consumer.reset();
        }
      }
    });
    this.#workers.push({ actor, partition });
    return actor;
  }

  #deadLetters(actor: Actor): DeadLetters {
    const append = async (letters: readonly DeadLetter[]): Promise<void> => {
      await this.#scheduler.gate(actor);
      const lost = this.#faulty && this.#scheduler.steps < this.#lettersLostUntil;
      if (!lost || this.#random.chance(0.2)) {
        for (const { partition, offset, reason, view } of letters) {
          if (reason !== 'filter_or_projection' || view !== 'by_kind') {
            throw new Mismatch(`dead letter for ${view}: ${reason}`);
          }
          this.#letters.add(`${partition}:${offset}`);
        }
      }
      if (lost) throw new LostReplyError('simulated');
    };
    if (this.#mutation !== 'letters_not_awaited') return { write: append };
    return { write: async (letters) => void append(letters).catch(() => {}) };
  }

  #spawnCompactor(): Actor {
    const actor = this.#scheduler.spawn('compactor', async (self) => {
      const writing = this.#writing(self);
      const completeness = logCompleteness(writing.store, () => this.#log, this.#clock);
      const compactor = new Compactor(this.#repo.views.values(), writing, completeness, {
        batchSize: 2,
        leaseMs: 3_000,
      });
      while (this.#faulty) {
        await this.#scheduler.gate(self);
        try {
          await compactor.step(this.#random.below(SHARDS));
        } catch (error) {
          if (!(error instanceof LostReplyError)) throw error;
        }
      }
    });
    this.#workers.push({ actor, partition: null });
    return actor;
  }

  // ---- faults

  async #inject(): Promise<void> {
    const random = this.#random;
    this.#workers = this.#workers.filter(({ actor }) => actor.alive && !actor.ended);
    if (random.chance(0.01) && this.#workers.length > 0) {
      const victim = random.pick(this.#workers);
      this.#count(victim.partition === null ? 'compactor killed' : 'consumer killed');
      this.#scheduler.kill(victim.actor);
      this.#respawn(victim.partition);
    }
    if (random.chance(0.01) && this.#workers.length > 0) {
      const zombie = random.pick(this.#workers);
      this.#count(
        zombie.partition === null ? 'compactor suspended' : 'consumer suspended, another took over',
      );
      this.#scheduler.suspend(zombie.actor, random.between(20, 600));
      this.#respawn(zombie.partition);
      // The worst moment for the store to fall back: a zombie holds what it read, and will write.
      if (random.chance(0.5)) this.#rollBack(random.between(1, 12));
    }
    if (random.chance(0.004) && this.#workers.length < 10) {
      this.#count('second owner of a partition');
      this.#spawnConsumer(random.below(await this.#log.partitions()));
    }
    if (random.chance(0.006)) {
      this.#rollBack(random.between(1, 40));
    }
    if (random.chance(0.005)) {
      this.#count('dead letters failed for a while');
      this.#lettersLostUntil = this.#scheduler.steps + random.between(50, 1_000);
    }
    if (random.chance(0.0008)) {
      this.#count('store wiped');
      this.#store.wipe();
    }
  }

  #rollBack(mutations: number): void {
    this.#count('store fell back to an earlier moment');
    this.#store.rollback(mutations, { shard: this.#random.below(SHARDS) });
  }

  #respawn(partition: number | null): void {
    if (this.#workers.length > 12) return;
    if (partition === null) this.#spawnCompactor();
    else this.#spawnConsumer(partition);
  }

  // ---- after the faults

  /** Ends the faults, lets everyone still alive finish, and runs fresh consumers to the end of the log. */
  async #heal(when: string): Promise<void> {
    this.#faulty = false;
    for (const { actor } of this.#workers) if (this.#random.chance(0.5)) this.#scheduler.kill(actor);
    for (let p = 0; p < (await this.#log.partitions()); p++) {
      const actor = this.#spawnConsumer(p);
      while (!actor.ended) await this.#step();
    }
    while (this.#workers.some(({ actor }) => actor.alive && !actor.ended)) await this.#step();
    // Once more: a zombie may have gone on after the fresh consumers had ended.
    for (let p = 0; p < (await this.#log.partitions()); p++) {
      const actor = this.#spawnConsumer(p);
      while (!actor.ended) await this.#step();
    }
    await this.#checkWatermarks(when);
    this.#checkLetters(when);
  }

  async #compactAll(): Promise<void> {
    this.#clock.advanceTo(this.#clock.nowMs() + 10_000);
    const actor = this.#scheduler.spawn('last compactor', async (self) => {
      const writing = this.#writing(self);
      const compactor = new Compactor(
        this.#repo.views.values(),
        writing,
        logCompleteness(writing.store, () => this.#log, this.#clock),
        { batchSize: 4, leaseMs: 1_000 },
      );
      for (let shard = 0; shard < SHARDS; shard++) {
        let idle = 0;
        while (idle < 2) {
          const { compacted, ended, conflicts } = await compactor.step(shard);
          if (compacted + ended + conflicts > 0) continue;
          idle++;
          this.#clock.advanceTo(this.#clock.nowMs() + 1_100);
        }
      }
    });
    while (!actor.ended) await this.#step();
  }

  /** I3: watermarks stand at the log's end, never beyond. */
  async #checkWatermarks(when: string): Promise<void> {
    for (const view of this.#repo.views.values()) {
      for (let partition = 0; partition < (await this.#log.partitions()); partition++) {
        const { endOffset } = await this.#log.ends(partition);
        for (let shard = 0; shard < SHARDS; shard++) {
          const name = { namespace: view.namespace, source: 'swipes', partition };
          const [watermark] = await this.#store.readWatermarks(shard, [name]);
          const nextOffset = watermark?.nextOffset ?? 0;
          if (nextOffset !== endOffset) {
            throw new Mismatch(
              `${when}: watermark ${nextOffset} of partition ${partition}, log end ${endOffset}`,
            );
          }
        }
      }
    }
  }

  /** What cannot be used is kept for whoever looks after it: every such record at least once, and no other. */
  #checkLetters(when: string): void {
    const missing = [...this.#poison].filter((place) => !this.#letters.has(place));
    if (missing.length > 0) throw new Mismatch(`${when}: no dead letter for ${missing.join(', ')}`);
    if (this.#letters.size > this.#poison.size) throw new Mismatch(`${when}: dead letters of other records`);
  }

  async #check(when: string): Promise<void> {
    const events: OracleEvent[] = [...this.#events.values()].map((event) => ({
      timeMs: event.timeMs,
      id: this.#ids.get(event)!,
      row: { id: event.id, at: event.timeMs, card: event.key, amount: event.amount, kind: event.kind },
    }));
    const usable = events.filter(({ row }) => row.amount !== POISON_AMOUNT);
    for (const view of this.#repo.views.values()) {
      const counted = view.name === 'by_kind' ? usable : events;
      for (const key of view.entity.name === 'kind' ? ['x', 'y', 'z'] : KEYS) {
        for (let i = 0; i < 4; i++)
          await this.#compareView(when, view, key, counted, this.#someTime(view), null);
        const asked = this.#random.pick(counted);
        await this.#compareView(when, view, key, counted, asked.timeMs, asked);
      }
    }
  }

  #someTime(view: CompiledView): number {
    const nowMs = this.#clock.nowMs();
    const event = this.#random.pick([...this.#events.values()]);
    const { window } = this.#random.pick(view.features);
    const edge = event.timeMs + newEdgeOffsetMs(window) + ('sizeMs' in window ? window.sizeMs : 0);
    return this.#random.pick([
      nowMs,
      nowMs,
      this.#clamped(event.timeMs),
      this.#clamped(edge + this.#random.between(-1, 1)),
    ]);
  }

  #clamped(timeMs: number): number {
    const nowMs = this.#clock.nowMs();
    return Math.max(nowMs - 30_000, Math.min(nowMs, timeMs));
  }

  async #compareView(
    when: string,
    view: CompiledView,
    key: string,
    events: readonly OracleEvent[],
    timeMs: number,
    askedEvent: OracleEvent | null,
  ): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (timeMs < nowMs - view.asOfRetentionMs) return;
    const asked = askedEvent === null ? null : this.#asked(view, key, askedEvent);
    const read = this.#readOf(view);
    const fields = read.fields(timeMs, asked === null ? null : timeMs);
    const address = { namespace: view.namespace, key, shard: shardOf(key, SHARDS) };
    const [state] = await this.#store.read([{ address, fields }]);
    const bytes = new Map(fields.map((field, f) => [field, state!.fields[f]!]));
    const values = read.evaluate({ head: state!.head, bytes, atMs: timeMs, asked });
    for (const value of values) this.#compareValue(when, view, key, events, timeMs, value, asked);
  }

  #readOf(view: CompiledView): WindowRead {
    const read = this.#reads.get(view) ?? new WindowRead(view, view.features);
    this.#reads.set(view, read);
    return read;
  }

  /** The event as a question (C10), where it counts for the key: ties stop at it, and it is recorded already. */
  #asked(view: CompiledView, key: string, event: OracleEvent): AskedEvent | null {
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

  #compareValue(
    when: string,
    view: CompiledView,
    key: string,
    events: readonly OracleEvent[],
    atMs: number,
    got: WindowValue,
    asked: AskedEvent | null,
  ): void {
    const { feature } = got;
    const bounds = (got.elements ?? [got]).map(({ status, fromMs, toMs }, i) => {
      const right =
        feature.window.kind === 'series'
          ? windowsOf(feature.window, atMs)[i]!
          : boundsOf(feature.window, atMs);
      if (toMs !== right.toMs) throw new Mismatch(`${feature.name}: the new edge moved`);
      const allowedMs = status === 'coarse' ? (view.resolutionMs ?? Number.POSITIVE_INFINITY) : 0;
      if ((right.fromMs ?? 0) - (fromMs ?? 0) > allowedMs)
        throw new Mismatch(`${feature.name}: coarser than its resolution`);
      return { fromMs, toMs };
    });
    const { column } = view.definition.features[feature.name]!;
    const expected = oracleAnswer({
      ...{ view, feature, column, key, atMs, events },
      ...(asked === null ? {} : { last: asked.id }),
      bounds: got.elements === undefined ? bounds[0]! : bounds,
    });
    this.#comparisons++;
    if (!isRight({ feature, expected, got: got.value, atMs })) {
      throw new Mismatch(
        `${when}: ${view.name}.${feature.name} of key '${key}' at now − ${this.#clock.nowMs() - atMs} ms` +
          `${asked === null ? '' : ' for an event'}: expected ${showAnswer(expected)}, got ${show(got.value)}`,
      );
    }
  }
}

const SILENT: ConsumerObserver = {
  chunkApplied() {},
  caughtUp() {},
  positioned() {},
  gap() {
    throw new Mismatch('a gap in a log without one');
  },
};
