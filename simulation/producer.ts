/** Appends events to the log until there are enough of them: new, repeated, late, of one moment; and holes. */
import { mergesForGood } from '../engine/tiles/state-update.ts';
import type { Processes } from './processes.ts';
import { PARTITIONS_MAX, type RunState } from './run-state.ts';
import type { Actor } from './scheduler.ts';
import type { SimulatedEvent } from './simulated-event.ts';
import { eventBytes, LOSABLE_SCHEMAS, STEADY_SCHEMA, UNUSABLE_RECORDS } from './simulated-records.ts';
import { POISON_AMOUNT } from './simulation-repo.ts';

const KEYS = ['a', 'b', 'c', ''] as const;
/** Half of the dedupe horizon: for so long every view tells a repeat. */
const REPEATABLE_MS = 10_000;
/** Where one step after the other is disturbed, a run must be short. */
const CALM_EVENTS = 5;
/** More than a watermark remembers ranges of unapplied offsets. */
const BURST_RECORDS = 270;
/** Too many for one leaf. */
const FLURRY_EVENTS = 7;

export class Producer {
  readonly #run: RunState;
  readonly #processes: Processes;
  /** Whether there are events to come. */
  producing = true;

  constructor(run: RunState, processes: Processes) {
    this.#run = run;
    this.#processes = processes;
  }

  async produce(actor: Actor): Promise<void> {
    const { random, plan, scheduler, clock, log, faults, withIds, calm } = this.#run;
    const total = calm ? CALM_EVENTS : random.between(20, 70);
    const recent: SimulatedEvent[] = [];
    for (let i = 0; i < total; i++) {
      for (let turn = 0; turn < plan.turnsPerEvent; turn++) await scheduler.gate(actor);
      clock.advanceTo(clock.nowMs() + random.pick([0, 1, 50, 400, 1_500, 6_000]));
      const nowMs = clock.nowMs();
      if (random.chance(plan.partitionAdded) && (await log.partitions()) < PARTITIONS_MAX) {
        faults.add('partition added');
        log.addPartition();
        this.#processes.spawnConsumer((await log.partitions()) - 1);
      }
      if (random.chance(plan.hole)) await this.#appendHole(random.below(await log.partitions()));
      if (random.chance(plan.unusable)) await this.#appendUnusable(random.below(await log.partitions()));
      if (!this.#run.content.hadBurst && random.chance(plan.unusableBurst)) await this.#appendBurst();
      const repeatableMs = REPEATABLE_MS - 4 * plan.clockSkewMs;
      const repeatable = recent.filter((event) => nowMs - event.appendedMs < repeatableMs);
      if (withIds && repeatable.length > 0 && random.chance(plan.repeated)) {
        faults.add('event repeated');
        await this.#append(random.pick(repeatable));
        continue;
      }
      const forgotten = recent.filter((event) => nowMs - event.appendedMs >= repeatableMs);
      if (withIds && forgotten.length > 0 && random.chance(plan.repeatedLate)) {
        faults.add('event repeated late');
        const event = random.pick(forgotten);
        this.#mayCountTwice(event);
        await this.#append(event);
        continue;
      }
      const like = recent.length > 0 && random.chance(plan.sameMoment) ? random.pick(recent) : null;
      const ageMs = random.pick([0, 0, 0, 1, 500, 4_000, 20_000, 40_000, -900, -4_000]);
      const beyond = random.chance(plan.lateBeyond);
      if (like !== null) faults.add('another event with equal key and time');
      else if (beyond) faults.add('event older than every window');
      const event: SimulatedEvent = {
        id: i * 7 - 50,
        timeMs: like?.timeMs ?? nowMs - (beyond ? random.between(70_000, 200_000) : ageMs),
        key: like !== null ? like.key : random.chance(0.05) ? null : random.pick(KEYS),
        amount: random.chance(plan.poison) ? POISON_AMOUNT : random.between(-3, 9),
        kind: like?.kind ?? random.pick(['x', 'y', 'z']),
        appendedMs: nowMs,
      };
      recent.push(event);
      await this.#append(event);
      if (random.chance(plan.flurry)) await this.#appendFlurry(event);
    }
    this.producing = false;
  }

  async #append(event: SimulatedEvent): Promise<void> {
    const { timeMs } = event;
    const { random, plan } = this.#run;
    const schemaId = random.chance(plan.framed) ? random.pick([STEADY_SCHEMA, ...LOSABLE_SCHEMAS]) : null;
    const value = eventBytes(event, schemaId);
    const schemaLosable = plan.onLostSchema === 'continue' && schemaId !== null && schemaId !== STEADY_SCHEMA;
    const partition = this.#run.random.below(await this.#run.log.partitions());
    const appendedMs = this.#run.clock.nowMs();
    const record = { partition, appendedMs, stamp: null, value, eventTimeMs: timeMs };
    const [offset] = await this.#run.log.append([record]);
    const place = { partition, value, appendedMs, schemaLosable };
    this.#run.content.appended(event, { ...place, offset: offset! });
    if (this.#run.withIds && this.#run.random.chance(this.#run.plan.appendedTwice)) {
      this.#run.faults.add('append made again, its reply was lost');
      const [again] = await this.#run.log.append([record]);
      this.#run.content.appended(event, { ...place, offset: again! });
    }
  }

  /** Others of the same key, about the same time. */
  async #appendFlurry(like: SimulatedEvent): Promise<void> {
    const { random, faults } = this.#run;
    faults.add('many events of a key within a second');
    const timeMs = like.timeMs - random.pick([0, 20_000, 45_000]);
    for (let n = 1; n <= FLURRY_EVENTS; n++) {
      const amount = random.between(-3, 8);
      await this.#append({
        ...like,
        id: like.id * 100 - n,
        timeMs: timeMs + random.between(-500, 500),
        amount,
      });
    }
  }

  /** Unusable records with offsets between them that hold none: as many ranges. */
  async #appendBurst(): Promise<void> {
    this.#run.content.hadBurst = true;
    const partition = this.#run.random.below(await this.#run.log.partitions());
    for (let n = 0; n < BURST_RECORDS; n++) {
      await this.#appendUnusable(partition);
      await this.#appendHole(partition);
    }
  }

  async #appendUnusable(partition: number): Promise<void> {
    const { fault, reason, bytes } = this.#run.random.pick(UNUSABLE_RECORDS);
    this.#run.faults.add(fault);
    const timeMs = this.#run.clock.nowMs();
    const value = bytes(timeMs);
    const record = { partition, appendedMs: timeMs, stamp: null, value, eventTimeMs: timeMs };
    const [offset] = await this.#run.log.append([record]);
    this.#run.content.appendedUnusable({ partition, offset: offset!, reason, value, timeMs });
  }

  async #appendHole(partition: number): Promise<void> {
    this.#run.faults.add('offset without a record');
    const value = new TextEncoder().encode('hole');
    const appendedMs = this.#run.clock.nowMs();
    const [offset] = await this.#run.log.append([
      { partition, appendedMs, stamp: null, value, eventTimeMs: appendedMs },
    ]);
    this.#run.holes.add(`${partition}:${offset}`);
  }

  /** Past the horizon a repeat is told by its row, where rows are kept; the contract does not ask for it. */
  #mayCountTwice(event: SimulatedEvent): void {
    for (const view of this.#run.repo.views.values()) {
      if (!mergesForGood(view) && !view.keepsForever) continue;
      const key = view.entity.name === 'kind' ? event.kind : event.key;
      if (key !== null) this.#run.truth.markUnsure(view, key);
    }
  }
}
