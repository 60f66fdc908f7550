/**
 * The random events of one case: tied, late, ahead, on the edges of the grid, repeated.
 */
import type { ColumnValue } from '../../aggregators/partial-aggregate.ts';
import type { Clock } from '../../clock.ts';
import type { EventRow } from '../../definitions/types.ts';
import { type EventId, integerEventId, positionEventId, textEventId } from '../../event-id.ts';
import { TIME_END_MS } from '../../tiles/grid.ts';
import { mergesForGood } from '../../tiles/state-update.ts';
import type { SeededRandom } from '../random.ts';
import type { CaseRepo } from './case-repo.ts';

export interface CaseEvent {
  readonly row: EventRow;
  readonly timeMs: number;
  readonly id: ColumnValue;
  readonly stamp: string;
  readonly producedMs: number;
}

export class CaseEvents {
  /** Each once, in the order in which they were made. */
  readonly produced: CaseEvent[] = [];
  readonly #random: SeededRandom;
  readonly #repo: CaseRepo;
  readonly #clock: Clock;
  #nextId = 0;

  constructor(random: SeededRandom, repo: CaseRepo, clock: Clock) {
    this.#random = random;
    this.#repo = repo;
    this.#clock = clock;
  }

  /**
   * One that is to be sent.
   * @param own columns that are not left to chance
   */
  produce(timeMs: number, own: EventRow = {}): CaseEvent {
    const made = this.make(timeMs);
    const event = { ...made, row: { ...made.row, ...own } };
    this.produced.push(event);
    return event;
  }

  /** One that may never be sent. */
  make(timeMs: number): CaseEvent {
    const id = this.#newId();
    const row = this.#repo.row(this.#random, timeMs, id);
    return { row, timeMs, id, stamp: `stamp ${this.#nextId++}`, producedMs: this.#clock.nowMs() };
  }

  someTime(): number {
    const random = this.#random;
    const { scaleMs, source } = this.#repo;
    const nowMs = this.#clock.nowMs();
    const { maxFutureMs } = source.definition;
    const recent = this.produced.at(-1);
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
    return this.inBounds(timeMs);
  }

  inBounds(timeMs: number): number {
    const latestMs = Math.min(
      this.#clock.nowMs() + this.#repo.source.definition.maxFutureMs,
      TIME_END_MS - 1,
    );
    return Math.max(0, Math.min(timeMs, latestMs));
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

  /** Whether the rows alone always tell a repeat: they have ids of their own, are not merged for good nor given up. */
  get areTold(): boolean {
    return this.haveRows && !this.#repo.views.some(mergesForGood);
  }

  /** Whether rows that came not long ago tell a repeat: they have ids of their own and are not given up. */
  get haveRows(): boolean {
    return this.#repo.idKind !== 'none' && !this.#repo.bounded;
  }

  /**
   * An event to send once more. Where its row tells, a repeat is noticed on any partition however long after;
   * elsewhere it is promised for half a dedupe horizon after the first and on the same partition.
   */
  repeatable(): CaseEvent | null {
    const candidates = this.produced.filter((event) => this.isRemembered(event));
    return candidates.length === 0 ? null : this.#random.pick(candidates);
  }

  isRemembered({ producedMs }: CaseEvent): boolean {
    if (this.areTold) return true;
    const { dedupeHorizonMs, maxFutureMs } = this.#repo.source.definition;
    const promisedMs = dedupeHorizonMs / 2 - (this.haveRows ? 0 : maxFutureMs);
    return this.#clock.nowMs() - producedMs <= promisedMs;
  }

  idOf(event: CaseEvent, partition: number, offset: number): EventId {
    if (this.#repo.idKind === 'none') return positionEventId(partition, offset);
    return typeof event.id === 'string' ? textEventId(event.id) : integerEventId(event.id as number | bigint);
  }
}
