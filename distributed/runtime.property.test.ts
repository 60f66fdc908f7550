/**
 * Embedded and Kafka + Redis answer alike (I10): one random feature repo, the same random pushes and questions to
 * both through HTTP, and whatever they answer must be equal as text, metadata and refusals included, but for what
 * `withoutVarying` names. And Kafka + Redis must be right: each of its values is compared with the oracle.
 *
 * Events are tied, late, ahead, repeated, null, of 64 bits and extreme; topics have several partitions; two members
 * of the consumer group come and go while records are on their way; compaction runs beside and at random moments in
 * both, over tiles and tails so small that trees are deep.
 *
 * Another first seed: `PROPERTY_SEED=123456`; more cases: `DISTRIBUTED_CASES=500`. A failure names its seed;
 * `PROPERTY_SEED=<that> DISTRIBUTED_CASES=1` runs it alone.
 *
 * What it does not catch: processes that die, servers that fail (redis-faults.test.ts), records that others produced
 * (roles.test.ts), and what the oracle shares with the engine: filters, projections, entity keys, order of ids.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Embedded, openInMemory } from '../embedded/runtime.ts';
import type { Answer } from '../embedded/testing/test-engine.ts';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { type EventId, integerEventId, positionEventId, textEventId } from '../engine/event-id.ts';
import { isRight, showAnswer } from '../engine/testing/is-right.ts';
import { type OracleEvent, oracleAnswer } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { type RandomRepo, randomRepo } from '../engine/testing/random-repo.ts';
import { TIME_END_MS } from '../engine/tiles/grid.ts';
import { mergesForGood } from '../engine/tiles/state-update.ts';
import { newEdgeOffsetMs } from '../engine/windows/window-reach.ts';
import { featureService } from '../index.ts';
import { toJson } from '../serve/json-value.ts';
import {
  describeWithServices,
  type RedisServer,
  sharedServices,
  startRedis,
  startRedisCluster,
} from '../services/index.ts';
import { boundsOf, type FeatureRow, withoutVarying } from './testing/equal-answers.ts';
import { answerOf, TestDeployment, type TestProcess } from './testing/test-deployment.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const CASES = Number(process.env.DISTRIBUTED_CASES ?? 24);
/** Cases mostly wait for their consumer groups. */
const AT_ONCE = 3;
/** An event without an id comes after every other of its millisecond. */
const LAST_ID: EventId = { hi: 0xffff_ffff, lo: 0xffff_ffff };

interface Event {
  readonly row: EventRow;
  readonly timeMs: number;
  readonly id: EventId;
  readonly producedMs: number;
}

/** What a run has met, so that the test can say that the rare things did happen. */
class Coverage {
  comparisons = 0;
  readonly seen = new Map<string, number>();

  meet(what: string, times = 1): void {
    if (times > 0) this.seen.set(what, (this.seen.get(what) ?? 0) + times);
  }
}

/** Features whose truncated values depend on the order in which partials were merged, within their bound. */
const approximateOf = (view: CompiledView): string[] =>
  view.features.filter(({ operation }) => operation.name === 'top_k_frequent').map(({ name }) => name);

class Case {
  readonly #random: SeededRandom;
  readonly #repo: RandomRepo;
  readonly #views: readonly CompiledView[];
  readonly #partitions: number;
  readonly #deployment: TestDeployment;
  readonly #embedded: Embedded;
  readonly #serve: TestProcess;
  readonly #ingests: TestProcess[] = [];
  readonly #coverage: Coverage;
  /** Accepted, once each. */
  readonly #events: Event[] = [];
  #serial = 0;

  static async run(seed: number, redisUrl: string, brokers: string[], coverage: Coverage): Promise<void> {
    const random = new SeededRandom(seed);
    const repo = randomRepo(random, String(seed));
    const partitions = random.between(2, 4);
    const deployment = await TestDeployment.open({
      definitions: repo.views.map(({ definition }) =>
        featureService({ name: definition.name, features: [definition] }),
      ),
      brokers,
      redisUrl,
      partitions,
      startMs: repo.startMs,
      process: {
        shape: {
          leafBytesMax: random.pick([60, 90, 250, 4_096]),
          tailRowsMax: random.pick([1, 3, 10, 40]),
        },
        pacing: { foldAfterMs: Math.ceil(repo.scaleMs * random.pick([0, 1, 5])) },
        // Few are told at the door; the rest must be in the states.
        recentIds: random.pick([4, 100_000]),
        consumer: { chunkRecords: random.pick([3, 20, 2_000]) },
        // Behind means behind the log here, not behind a clock that jumps.
        lagBoundMs: Number.MAX_SAFE_INTEGER,
      },
    });
    const { shape, pacing, recentIds, lagBoundMs } = deployment.processOptions(['serve']);
    const shards = random.pick([1, 2, 5]);
    const embedded = await openInMemory({
      repo: deployment.repo,
      partitions,
      wallClock: deployment.clock,
      shape: shape!,
      pacing: pacing!,
      recentIds: recentIds!,
      lagBoundMs: lagBoundMs!,
    });
    try {
      const redis = { ...deployment.processOptions([]).redis, shards };
      // Now and then one process does it all, but for the second member of the group.
      const together = random.chance(0.3);
      const serve = await deployment.start(together ? ['serve', 'compact'] : ['serve'], { redis });
      if (!together) await deployment.start(['compact'], { redis });
      const it = new Case({ random, repo, partitions, deployment, embedded, serve, coverage });
      await it.#run();
    } finally {
      await Promise.all([deployment.close(), embedded.close()]);
    }
  }

  private constructor(args: {
    random: SeededRandom;
    repo: RandomRepo;
    partitions: number;
    deployment: TestDeployment;
    embedded: Embedded;
    serve: TestProcess;
    coverage: Coverage;
  }) {
    this.#random = args.random;
    this.#repo = args.repo;
    this.#partitions = args.partitions;
    this.#deployment = args.deployment;
    this.#embedded = args.embedded;
    this.#serve = args.serve;
    this.#coverage = args.coverage;
    this.#views = [...args.deployment.repo.views.values()];
  }

  async #run(): Promise<void> {
    const random = this.#random;
    await this.#startIngest();
    await this.#startIngest();
    for (let steps = random.between(20, 30); steps > 0; steps--) {
      const choice = random.below(20);
      if (choice < 9) await this.#push();
      else if (choice < 11) await this.#tick();
      else if (choice < 13) await this.#compact();
      else if (choice < 15) await this.#restartIngest();
      else if (choice < 16) await this.#score();
      else await this.#readMany(20);
    }
    await this.#readMany(60);
    await this.#tick();
    await this.#compact();
    await this.#readMany(60);
    for (const { runtime } of this.#ingests) {
      const metrics = await runtime.metrics.text();
      expect(metrics).not.toMatch(/^millrace_(dead_letters|log_gap_records)_total\{.*\} [1-9]/m);
    }
  }

  // ---- members that come and go

  async #startIngest(): Promise<void> {
    this.#ingests.push(await this.#deployment.start(['ingest']));
  }

  /** Records may be on their way, and chunks half applied. */
  async #restartIngest(): Promise<void> {
    this.#coverage.meet('ingest restarted');
    const leaving = this.#ingests.splice(this.#random.below(this.#ingests.length), 1)[0]!;
    if (this.#random.chance(0.5)) {
      await Promise.all([leaving.close(), this.#push('durable')]);
      await this.#startIngest();
    } else {
      await Promise.all([leaving.close(), this.#startIngest(), this.#push('durable')]);
    }
  }

  async #compact(): Promise<void> {
    for (const { runtime } of this.#deployment.processes) {
      this.#coverage.meet('states compacted', await runtime.compact());
    }
    await this.#embedded.compact();
  }

  /** Both have applied everything. */
  async #settle(): Promise<void> {
    await Promise.all([this.#serve.caughtUp(), this.#embedded.ready()]);
  }

  async #tick(): Promise<void> {
    // Else events were judged as too late by different clocks.
    await this.#settle();
    const { scaleMs } = this.#repo;
    const step = this.#random.pick([0, 1, scaleMs, scaleMs * 10, scaleMs * 40]);
    const { clock } = this.#deployment;
    clock.advanceTo(Math.min(clock.nowMs() + Math.floor(step), TIME_END_MS - 1));
  }

  // ---- events

  #eventTime(): number {
    const random = this.#random;
    const { scaleMs, source } = this.#repo;
    const nowMs = this.#deployment.clock.nowMs();
    const { maxFutureMs } = source.definition;
    const timeMs = Math.floor(
      random.pick([
        nowMs,
        nowMs,
        nowMs - 1,
        nowMs - random.below(Math.ceil(scaleMs) + 1),
        nowMs - random.below(Math.ceil(scaleMs * 30)),
        nowMs - random.below(Math.ceil(scaleMs * 300)),
        this.#events.at(-1)?.timeMs ?? nowMs,
        nowMs + random.below(maxFutureMs + 1),
        // On the edges of nodes.
        Math.floor(nowMs / 2 ** random.pick([5, 10, 15, 20, 25, 30])) * 2 ** random.pick([5, 10, 15, 20]),
      ]),
    );
    return Math.max(0, Math.min(timeMs, nowMs + maxFutureMs, TIME_END_MS - 1));
  }

  #newId(): ColumnValue {
    const serial = this.#serial++;
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

  /** As it will be recorded next: an event without an id is ordered by where it lies in the log. */
  #newEvent(behind: number): Event {
    const timeMs = this.#eventTime();
    const id = this.#newId();
    const at = this.#events.length + behind;
    const position = positionEventId(at % this.#partitions, Math.floor(at / this.#partitions));
    const eventId =
      id === null ? position : typeof id === 'string' ? textEventId(id) : integerEventId(id as bigint);
    const producedMs = this.#deployment.clock.nowMs();
    return { row: this.#repo.row(this.#random, timeMs, id), timeMs, id: eventId, producedMs };
  }

  /** An event whose repetition is promised to be told. */
  #repeatable(): Event | null {
    const { source, idKind } = this.#repo;
    if (idKind === 'none') return null;
    const { dedupeHorizonMs } = source.definition;
    const sinceMs = this.#views.some(mergesForGood)
      ? this.#deployment.clock.nowMs() - dedupeHorizonMs / 2
      : Number.NEGATIVE_INFINITY;
    const remembered = this.#events.filter(({ producedMs }) => producedMs >= sinceMs);
    return remembered.length === 0 ? null : this.#random.pick(remembered);
  }

  async #push(wait?: 'durable' | 'applied'): Promise<void> {
    const random = this.#random;
    const fresh: Event[] = [];
    const events = Array.from({ length: random.pick([1, 2, 5, 20, 60]) }, (): object => {
      const repeated = random.chance(0.15) ? this.#repeatable() : null;
      if (repeated !== null) {
        this.#coverage.meet('event repeated');
        return toJsonValue(repeated.row);
      }
      if (random.chance(0.03)) return { ...toJsonValue(this.#newEvent(0).row), at: 'noon' };
      const event = this.#newEvent(fresh.length);
      fresh.push(event);
      return toJsonValue(event.row);
    });
    const mode = wait ?? random.pick(['durable', 'applied'] as const);
    const body = await this.#ask(`/v1/sources/events/events?wait=${mode}`, { events });
    if (body.rejected.length > 0) this.#coverage.meet('event refused');
    this.#events.push(...fresh);
  }

  // ---- questions

  /** One request to both. Their answers must be equal as text. */
  async #ask(url: string, payload: object, view?: CompiledView): Promise<Answer['body']> {
    const [theirs, ours] = await Promise.all(
      [this.#embedded, this.#serve.runtime].map(({ app }) => app.inject({ method: 'POST', url, payload })),
    );
    expect(ours!.statusCode, `${url} ${ours!.body}`).toBe(theirs!.statusCode);
    const bodies = [answerOf(theirs!).body, answerOf(ours!).body];
    if ([theirs, ours].some((response) => /"coarse"|"truncated"/.test(response!.body))) {
      const [one, other] = bodies.map((body) => (body.rows ?? [body]) as FeatureRow[]);
      const approximate = new Set(view === undefined ? [] : approximateOf(view));
      expect(withoutVarying(other!, one!, approximate)).toEqual(withoutVarying(one!, other!, approximate));
    } else {
      expect(ours!.body).toBe(theirs!.body);
    }
    return bodies[1];
  }

  async #readMany(count: number): Promise<void> {
    await this.#settle();
    for (const view of this.#views) {
      const rows = Array.from({ length: count }, () => {
        const key = this.#random.pick(this.#repo.keys);
        return { entities: { card: String(key ?? 'none') }, at: this.#someTime(view) };
      });
      const url = `/v1/services/${view.name}/features/batch`;
      const body = await this.#ask(url, { rows, metadata: true }, view);
      rows.forEach(({ entities, at }, i) => {
        this.#compare({ view, key: entities.card, atMs: at, answer: body.rows[i], events: this.#events });
      });
    }
  }

  /** The event being decided, perhaps recorded in the same call, perhaps known. */
  async #score(): Promise<void> {
    await this.#settle();
    const random = this.#random;
    const view = random.pick(this.#views);
    const known = random.chance(0.4) ? this.#repeatable() : null;
    const event = known ?? this.#newEvent(0);
    const { card } = event.row;
    if (card === null || card === undefined) return;
    const ingest = random.chance(0.5);
    const oldestMs = this.#deployment.clock.nowMs() - view.asOfRetentionMs;
    const url = `/v1/services/${view.name}/features`;
    const data = toJsonValue(event.row);
    const body = await this.#ask(url, { event: { source: 'events', data }, ingest, metadata: true }, view);
    this.#coverage.meet(`asked of an event, ${known === null ? 'new' : 'known'}${ingest ? ', ingest' : ''}`);
    if (event.timeMs < oldestMs) {
      expect(body.error.code).toBe('at_too_old');
      return;
    }
    const last = this.#repo.idKind === 'none' ? LAST_ID : event.id;
    const events = known === null ? [...this.#events, { ...event, id: last }] : this.#events;
    this.#compare({ view, key: String(card), atMs: event.timeMs, answer: body, events, last });
    if (ingest) {
      expect(body.ingested).toMatch(known === null ? /^recorded$/ : /^(recorded|duplicate)$/);
      if (known === null) this.#events.push(event);
    }
  }

  /** Mostly an as-of time at which an event stands exactly at an edge of a window, or a millisecond beside it. */
  #someTime(view: CompiledView): number {
    const random = this.#random;
    const nowMs = this.#deployment.clock.nowMs();
    const oldestMs = Math.max(0, nowMs - view.asOfRetentionMs);
    const newestMs = Math.min(nowMs + view.source.maxFutureMs, TIME_END_MS - 1);
    const clamp = (timeMs: number): number => Math.max(oldestMs, Math.min(timeMs, newestMs));
    if (this.#events.length === 0 || random.chance(0.1)) return nowMs;
    if (random.chance(0.1)) return clamp(random.between(oldestMs, newestMs));
    for (let attempt = 0; attempt < 8; attempt++) {
      const { timeMs } = random.pick(this.#events);
      const { window } = random.pick(view.features);
      const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
      const atMs = timeMs + newEdgeOffsetMs(window) + size + random.between(-1, 1);
      if (atMs >= oldestMs && atMs <= newestMs) return atMs;
    }
    return clamp(nowMs - random.below(3));
  }

  #compare(args: {
    view: CompiledView;
    key: string;
    atMs: number;
    answer: FeatureRow;
    events: readonly OracleEvent[];
    last?: EventId;
  }): void {
    const { view, key, atMs, answer, events, last } = args;
    for (const feature of view.features) {
      const { status, window, windows } = answer.metadata!.features[feature.name]!;
      this.#coverage.meet(status);
      if (status !== 'coarse') expect(['present', 'empty'], feature.name).toContain(status);
      const { column } = view.definition.features[feature.name]!;
      const expected = oracleAnswer({
        ...{ view, feature, column, key, atMs, events },
        ...(last === undefined ? {} : { last }),
        // What a coarse value says it is of is checked by the engine's property test.
        ...(status === 'coarse' ? { bounds: windows?.map(boundsOf) ?? boundsOf(window!) } : {}),
      });
      const got = answer.features![feature.name];
      this.#coverage.comparisons++;
      if (!isRight({ feature, expected, got, atMs, written: toJson })) {
        expect.fail(
          `${feature.operation.name} of ${feature.type} over ${JSON.stringify(feature.window)} of key ` +
            `'${key}' at ${atMs} (${status}): ${JSON.stringify(got)} instead of ${showAnswer(expected)}`,
        );
      }
    }
  }
}

describeWithServices(['kafka', 'redis'], 'Kafka and Redis against embedded and oracle', () => {
  let brokers: string[];
  let redis: RedisServer;
  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, 180_000);
  afterAll(() => redis?.stop());

  const coverage = new Coverage();
  const runCases = async (first: number, last: number, redisUrl: string): Promise<void> => {
    let next = first;
    const runOn = async (): Promise<void> => {
      while (next <= last) {
        const seed = next++;
        try {
          await Case.run(seed, redisUrl, brokers, coverage);
        } catch (error) {
          next = Number.POSITIVE_INFINITY;
          throw new Error(`PROPERTY_SEED=${seed} DISTRIBUTED_CASES=1: ${(error as Error).message}`, {
            cause: error,
          });
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, runOn));
    const met = [...coverage.seen].map(([what, times]) => `${what} ${times}`).sort();
    console.log(`${last - first + 1} cases, ${coverage.comparisons} values equal; ${met.join(', ')}`);
  };

  const last = SEED + CASES - 1;
  test(`seeds ${SEED} to ${last}`, () => runCases(SEED, last, redis.url), 24 * 3_600_000);

  const clusterLast = SEED + Math.ceil(CASES / 4) - 1;
  test(
    `seeds ${SEED} to ${clusterLast} on a Redis Cluster`,
    async () => {
      const cluster = await startRedisCluster({ appendonly: 'everysec' });
      try {
        await runCases(SEED, clusterLast, cluster.urls[0]!);
      } finally {
        await cluster.stop();
      }
    },
    24 * 3_600_000,
  );

  test.runIf(SEED === 1 && CASES >= 24)('met what it is for', () => {
    const expected = ['event repeated', 'event refused', 'ingest restarted', 'states compacted', 'present'];
    const rare = ['empty', 'coarse', 'asked of an event, new', 'asked of an event, new, ingest'];
    expect([...expected, ...rare].filter((what) => !coverage.seen.has(what))).toEqual([]);
  });
});
