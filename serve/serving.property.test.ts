/**
 * Random pushes, score-and-ingest calls, reads and batches through the HTTP edge, with compaction and restarts in
 * between, against the brute-force oracle. Tiles are tiny, so that trees are deep. Times are within a few hours
 * of each other and often equal.
 *
 * What it does not catch: crashes between two writes (the simulator does that), and load.
 */
import { describe, expect, test } from 'vitest';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { WRITE_THREAD } from '../embedded/testing/write-thread-module.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import { compareEventIds, type EventId } from '../engine/event-id.ts';
import { type OracleEvent, oracleValue } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { toJson } from './json-value.ts';

const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);
const STEPS = 40;
const CARDS = ['a', 'b', ''];
const HORIZON_MS = 3_600_000;
const source = testRepo.sources.get('payments')!;
const decode = decodeEvent(source);
const service = testRepo.services.get('card')!;

interface Data {
  readonly id: string;
  readonly at: number;
  readonly card: string;
  readonly shop: string | null;
  readonly amount: number;
  readonly points: string | null;
  readonly refused: boolean | null;
}

class Run {
  readonly #random: SeededRandom;
  readonly #it: TestEngine;
  readonly #events: OracleEvent[] = [];
  readonly #pushed: Data[] = [];
  #ids = 0;

  constructor(seed: number, it: TestEngine) {
    this.#random = new SeededRandom(seed);
    this.#it = it;
  }

  async step(): Promise<void> {
    const choice = this.#random.below(20);
    if (choice < 7) await this.#push();
    else if (choice < 11) await this.#score();
    else if (choice < 16) await this.#readMany();
    else if (choice < 17) await this.#it.restart();
    else if (choice < 19) {
      this.#it.clock.advanceTo(this.#it.clock.nowMs() + this.#random.below(20 * 60_000));
      await this.#it.engine.compact();
    } else this.#it.clock.advanceTo(this.#it.clock.nowMs() + this.#random.below(3_600_000));
  }

  #time(): number {
    const random = this.#random;
    // Few distinct times: ties are the rule.
    const back = random.chance(0.7) ? random.below(20) * 1_000 : random.below(5 * 60) * 60_000;
    return this.#it.clock.nowMs() - back + (random.chance(0.1) ? 300_000 : 0);
  }

  #data(): Data {
    const random = this.#random;
    if (this.#pushed.length > 0 && random.chance(0.15)) return random.pick(this.#pushed);
    return {
      id: `e${this.#ids++}`,
      at: this.#time(),
      card: random.pick(CARDS),
      shop: random.pick(['s1', 's2', 's3', null]),
      amount: random.pick([0, -1, 0.1, 1e16, 12.34, random.below(1_000)]),
      points: random.pick([null, '1', '9007199254740993', '-9007199254740993']),
      refused: random.pick([true, false, null]),
    };
  }

  #eventOf(data: Data): OracleEvent & { readonly id: EventId } {
    const event = decode(data);
    if (!event.ok) throw new Error(event.message);
    return { timeMs: event.eventTimeMs, id: event.eventId!, row: event.row };
  }

  #isRecorded(event: OracleEvent): boolean {
    return this.#events.some(
      ({ id, timeMs }) =>
        compareEventIds(id, event.id) === 0 && Math.abs(timeMs - event.timeMs) <= HORIZON_MS,
    );
  }

  #record(data: Data): void {
    const event = this.#eventOf(data);
    if (this.#isRecorded(event)) return;
    this.#events.push(event);
    this.#pushed.push(data);
  }

  async #push(): Promise<void> {
    const events = Array.from({ length: this.#random.between(1, 30) }, () => this.#data());
    const { status, body } = await this.#it.push('payments', events);
    const before = this.#events.length;
    for (const data of events) this.#record(data);
    expect(status).toBe(200);
    const accepted = this.#events.length - before;
    expect(body).toEqual({ accepted, duplicates: events.length - accepted, rejected: [] });
  }

  /** The event being decided, recorded or not. */
  async #score(): Promise<void> {
    const data = this.#data();
    const event = this.#eventOf(data);
    const ingest = this.#random.chance(0.5);
    const body = { event: { source: 'payments', data }, ingest, metadata: true };
    if (event.timeMs < this.#it.clock.nowMs() - 6 * HORIZON_MS) return;
    const { status, body: answer } = await this.#it.read('card', body);
    expect(status).toBe(200);
    const known = this.#isRecorded(event);
    const events = known ? this.#events : [...this.#events, event];
    this.#compare(answer, data.card, event.timeMs, events, event.id);
    if (ingest) {
      expect(answer.ingested).toBe(known ? 'duplicate' : 'recorded');
      this.#record(data);
      await this.#it.engine.ready();
    }
  }

  async #readMany(): Promise<void> {
    const rows = Array.from({ length: this.#random.between(1, 8) }, () => ({
      entities: { card: this.#random.pick(CARDS) },
      at: Math.max(this.#time(), this.#it.clock.nowMs() - 6 * HORIZON_MS),
    }));
    const { body } = await this.#it.post('/v1/services/card/features/batch', { rows, metadata: true });
    rows.forEach(({ entities, at }, i) => {
      this.#compare(body.rows[i], entities.card, at, this.#events);
    });
  }

  // biome-ignore lint/suspicious/noExplicitAny: an answer as it came.
  #compare(answer: any, key: string, atMs: number, events: readonly OracleEvent[], last?: EventId): void {
    for (const { view, features } of service.views) {
      for (const feature of features) {
        const { column } = view.definition.features[feature.name]!;
        const expected = oracleValue({
          view,
          feature,
          column,
          key,
          atMs,
          events,
          ...(last === undefined ? {} : { last }),
        });
        const { status } = answer.metadata.features[feature.name];
        expect(['present', 'empty'], feature.name).toContain(status);
        expect(answer.features[feature.name], `${feature.name} of '${key}' at ${atMs}`).toEqual(
          toJson(expected),
        );
      }
    }
  }
}

describe('the HTTP edge agrees with the oracle', () => {
  test.each(SEEDS)('seed %i', async (seed) => {
    const it = await TestEngine.open({
      shape: { leafBytesMax: 80, tailRowsMax: 3 },
      consumer: { chunkRecords: 7 },
      // Every other one writes its tiles in a thread of its own.
      ...(seed % 2 === 0 ? { writeThread: WRITE_THREAD } : {}),
    });
    try {
      const run = new Run(seed, it);
      for (let step = 0; step < STEPS; step++) await run.step();
    } finally {
      await it.close();
    }
  });
});
