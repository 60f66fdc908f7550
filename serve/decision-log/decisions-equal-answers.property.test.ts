/**
 * Random questions put to random services as JSON, MessagePack and Arrow, alone and in batches, with an event and with one
 * that is recorded, while the store is there and while it is not: the log has a record of each answer, equal to it, and none
 * of what was refused.
 *
 * Another seed: `PROPERTY_SEED=123456`. What it does not catch: records that are dropped, and files (decision-log.test.ts).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from '@msgpack/msgpack';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compose, type Embedded } from '../../embedded/runtime.ts';
import { openMemoryStorage } from '../../embedded/storage.ts';
import { ManualClock } from '../../engine/clock.ts';
import { StoreUnavailableError } from '../../engine/store/store-errors.ts';
import { ForwardingStore } from '../../engine/store/testing/forwarding-store.ts';
import type { ReadRequest, ReadState } from '../../engine/store/tile-store.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import {
  compileRepo,
  double,
  featureService,
  long,
  onDemandFeature,
  string,
  timestamp,
} from '../../index.ts';
import { ARROW_STREAM_TYPE } from '../content-types.ts';
import { decodeArrow } from '../testing/decoded-arrow.ts';
import {
  asJson,
  HOUR_MS,
  NOON_MS,
  pairs,
  randomEvent,
  randomService,
  ratio,
} from '../testing/random-service.ts';
import { KeyHash } from './key-hash.ts';
import { type LoggedDecision, loggedDecisions } from './testing/logged-decisions.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const SEEDS = Array.from({ length: 6 }, (_, i) => SEED + i);
const QUESTIONS = 60;
const SECRET = 'sixteen letters.';

class FailingStore extends ForwardingStore {
  isAway = false;

  override async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    if (this.isAway) throw new StoreUnavailableError('the store is away');
    return super.read(requests);
  }
}

const echo = onDemandFeature({
  name: 'echo',
  type: 'double',
  request: {
    real: double(),
    big: long({ nullable: true }),
    text: string({ nullable: true }),
    since: timestamp({ nullable: true }),
  },
  compute: ({ request }) => (request.text === 'nan' ? Number.NaN : request.real),
});

type Json = Record<string, unknown>;

interface Expected extends Json {
  readonly features: Json;
  /** What the answer says of statuses: of all, or of those that are not what they seem. */
  readonly said: Json;
}

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-decisions-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('each record is what was answered', () => {
  const seen = new Set<unknown>();
  test.each(SEEDS)('seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    const parts = randomService(random).features.filter((feature) => feature !== ratio);
    const service = featureService({ name: 'random', features: [...parts, ratio, echo], staleFor: '5m' });
    const repo = compileRepo([service]);
    const secret = random.chance(0.5) ? SECRET : null;
    const storage = openMemoryStorage();
    const store = new FailingStore(storage.store);
    const clock = new ManualClock(NOON_MS);
    const engine = await compose(
      { repo, wallClock: clock, decisionLog: { directory, sample: 1, secret } },
      { ...storage, store },
    );
    const asked = new Asked(engine, random, secret);
    try {
      const events = Array.from({ length: 60 }, (_, i) => randomEvent(random, i));
      await engine.push.push('things', events, { wait: 'applied' });
      for (let i = 0; i < QUESTIONS; i++) {
        store.isAway = random.chance(0.25);
        if (random.chance(0.2)) clock.advanceTo(clock.nowMs() + random.below(20 * 60_000));
        await asked.one(i, clock.nowMs());
      }
    } finally {
      store.isAway = false;
      await engine.close();
    }
    const views = Object.fromEntries(
      repo.services.get('random')!.views.map(({ view }) => [view.name, view.namespace]),
    );
    const logged = loggedDecisions(directory).map(zeroIsZero) as LoggedDecision[];
    expect(new Set(logged.map(({ record }) => record)).size).toBe(logged.length);
    expect(logged.length).toBe(asked.expected.length);
    asked.expected.forEach(({ said, ...expected }, n) => {
      const { record: _, statuses, ...rest } = logged[n]!;
      expect(rest).toEqual(zeroIsZero({ ...expected, service: 'random', views, sample: 1 }));
      expect(Object.keys(statuses)).toEqual(Object.keys(rest.features));
      for (const [name, status] of Object.entries(statuses)) {
        if (!Object.hasOwn(said, name)) expect(['present', 'empty']).toContain(status);
        else expect([name, status]).toEqual([name, said[name]]);
      }
    });
    for (const { statuses, event } of logged) {
      for (const status of Object.values(statuses)) seen.add(status);
      seen.add(event?.ingested);
    }
  });

  test('with every kind of status and event among them', () => {
    const kinds = ['present', 'empty', 'error', 'stale', undefined, null, 'recorded', 'duplicate'];
    expect([...seen]).toEqual(expect.arrayContaining(kinds));
  });
});

/** Asks, and keeps what must be in the log. */
class Asked {
  readonly expected: Expected[] = [];
  readonly #engine: Embedded;
  readonly #random: SeededRandom;
  readonly #hash: KeyHash | null;

  constructor(engine: Embedded, random: SeededRandom, secret: string | null) {
    this.#engine = engine;
    this.#random = random;
    this.#hash = secret === null ? null : new KeyHash(secret);
  }

  async one(n: number, nowMs: number): Promise<void> {
    const random = this.#random;
    const common = {
      metadata: random.chance(0.7),
      mode: random.pick(['strict', 'partial']),
      ...(random.chance(0.2) ? { features: ['echo', 'ratio'] } : {}),
    };
    const isBatch = random.chance(0.5);
    const rows = Array.from({ length: isBatch ? random.between(0, 5) : 1 }, () => this.#row(nowMs));
    const [row] = rows;
    const ingest = !isBatch && row?.event !== undefined && random.chance(0.6);
    const accept = random.pick([
      'application/json',
      'application/msgpack',
      ...(isBatch ? [ARROW_STREAM_TYPE] : []),
    ]);
    const request = `request-${n}`;
    const response = await this.#engine.app.inject({
      method: 'POST',
      url: `/v1/services/random/features${isBatch ? '/batch' : ''}`,
      headers: { 'content-type': 'application/json', accept, 'x-request-id': request },
      payload: JSON.stringify(isBatch ? { ...common, rows } : { ...common, ...row, ingest }),
    });
    if (response.statusCode !== 200) return;
    const answers = isBatch
      ? batchOf(response.rawPayload, accept)
      : [textOf(response.rawPayload, accept) as Json];
    answers.forEach((answer, place) => {
      if (answer.features === undefined) return;
      this.#expect(rows[place]!, answer, { request, row: place, answered_ms: nowMs });
    });
  }

  #row(nowMs: number): Json {
    const random = this.#random;
    const request = {
      real: random.pick([0, -0.5, 0.1, 5e-324, 1e100, 2 ** 53, 3]),
      big: random.pick([null, 3, '9007199254740993', '-9223372036854775808']),
      text: random.pick([null, 'nan', 'plain', '"\\\n\u2028🔑']),
      since: random.pick([null, nowMs]),
    };
    if (random.chance(0.1)) return { entities: {}, request };
    const key = random.pick(['k1', 'k2', 'key of nobody']);
    if (!random.chance(0.4)) {
      return {
        entities: { key },
        request,
        ...(random.chance(0.3) ? { at: nowMs - random.below(HOUR_MS) } : {}),
      };
    }
    const event = { ...randomEvent(random, 100 + random.below(8)), at: nowMs - random.below(HOUR_MS) };
    return { request, event: { source: 'things', data: event } };
  }

  #expect(row: Json, answer: Json, request: Json): void {
    const event = (row.event as { data: { id: string; at: number; key: string } } | undefined)?.data;
    const key = event?.key ?? (row.entities as { key: string }).key;
    const metadata = answer.metadata as { features: Json } | undefined;
    this.expected.push({
      ...request,
      secret_id: this.#hash?.secretId ?? null,
      entities: { key: this.#hash?.of('key', key) ?? key },
      at_ms: event?.at ?? row.at ?? request.answered_ms,
      event:
        event === undefined
          ? null
          : { source: 'things', id: event.id, time_ms: event.at, ingested: answer.ingested ?? null },
      request_data: row.request,
      features: answer.features as Json,
      said: Object.fromEntries(
        Object.entries(metadata?.features ?? {}).map(([name, own]) => [name, (own as Json).status]),
      ),
    });
  }
}

const textOf = (payload: Buffer, accept: string): unknown =>
  accept === 'application/json'
    ? JSON.parse(payload.toString('utf8'))
    : asJson(decode(payload, { useBigInt64: true }));

function batchOf(payload: Buffer, accept: string): Json[] {
  if (accept !== ARROW_STREAM_TYPE) return (textOf(payload, accept) as { rows: Json[] }).rows;
  return decodeArrow(payload).rows.map((row) => {
    if (row.get('row.error') !== null) return {};
    const names = [...row.keys()].filter((name) => !name.includes('.'));
    const value = (name: string) => asJson(name.startsWith('top_') ? pairs(row.get(name)) : row.get(name));
    return {
      features: Object.fromEntries(names.map((name) => [name, value(name)])),
      metadata: {
        features: Object.fromEntries(names.map((name) => [name, { status: row.get(`${name}.status`) }])),
      },
    };
  });
}

/** JSON answers do not tell the two zeros apart. */
function zeroIsZero(value: unknown): unknown {
  if (value === 0) return 0;
  if (Array.isArray(value)) return value.map(zeroIsZero);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, zeroIsZero(own)]));
}
