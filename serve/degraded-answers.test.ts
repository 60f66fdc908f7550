/**
 * What is answered, and by when, where Redis does not answer, or is not there: a real one behind a proxy that holds back
 * everything, or that leads nowhere. Redis itself is given so long that it is always the deadline that ends a read.
 *
 * What it does not catch: how soon after the deadline an answer comes, as machines that run tests are busy.
 */
import { connect } from 'node:net';
import { type Logger, pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compose, type Embedded } from '../embedded/runtime.ts';
import { openMemoryStorage, type Storage } from '../embedded/storage.ts';
import {
  afterMoody,
  cardService,
  moody,
  NOON_MS,
  payment,
  ratio,
  shops,
  spend,
  testRepo,
} from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { featureService, onDemandFeature } from '../index.ts';
import { type Deferred, deferred } from '../roles/deferred.ts';
import {
  describeWithServices,
  type RedisCluster,
  type RedisServer,
  startRedis,
  startRedisCluster,
  TcpProxy,
} from '../services/index.ts';
import { freePorts } from '../services/process/free-port.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { DeadlineReads } from './deadline-reads.ts';
import { ApiError } from './error-catalogue.ts';
import { type FeatureQuestion, FeatureReader } from './feature-reader.ts';

const COMMAND_TIMEOUT_MS = 120_000;
/** For answers that must come without the deadline's help. */
const LONG_MS = 60_000;
const SHORT_MS = 60;
const CARD = 'a-private-card';

const doubled = onDemandFeature({
  name: 'doubled_payments',
  type: 'integer',
  inputs: { payments: spend.feature.payments_1h, moody },
  request: {},
  compute: ({ features }) => Number(features.payments) * 2,
});
const parts = [ratio, doubled, afterMoody, moody, spend.feature.payments_1h, shops];
const repo = compileRepo([
  cardService,
  featureService({ name: 'strict', features: parts, deadline: '1m' }),
  featureService({ name: 'hasty', features: parts, deadline: SHORT_MS }),
  featureService({ name: 'lenient', features: parts, deadline: '1m', staleFor: '10m' }),
]);

interface Asking {
  readonly deadlineMs?: number | string;
  readonly body?: object;
  readonly card?: string;
  readonly url?: string;
}

describeWithServices(['redis'], 'a store that does not answer', () => {
  let redis: RedisServer;
  let proxy: TcpProxy;
  let clock: ManualClock;
  let engine: Embedded;
  let logged: string;
  /** What appends to the log wait for. */
  let gate: Deferred<void> | null = null;

  beforeAll(async () => {
    redis = await startRedis();
    proxy = await TcpProxy.open(redis.port);
  });
  afterAll(async () => {
    gate?.resolve();
    await heal();
    await engine?.close();
    proxy?.close();
    await redis?.stop();
  });

  const heal = async (): Promise<void> => {
    proxy.heal();
    proxy.leadTo(redis.port);
    await waitUntil(async () => (await ask('strict', {})).status === 200, {
      what: 'Redis answers',
      timeoutMs: 45_000,
    });
  };
  /** Refused connections. */
  const cutOff = async (): Promise<void> => {
    const [nobody] = await freePorts(1);
    proxy.leadTo(nobody!);
    await waitUntil(async () => (await ask('strict', {})).body.error?.code === 'store_unavailable', {
      what: 'the connection is seen to be gone',
      timeoutMs: 45_000,
    });
  };

  const openStorage = async (): Promise<Storage> => {
    const memory = openMemoryStorage();
    const store = await RedisTileStore.open({
      nodes: `redis://127.0.0.1:${proxy.port}`,
      profile: 'serving',
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      // Its silence must not be noticed: a deadline is what is tested.
      readTimeoutMs: COMMAND_TIMEOUT_MS,
      acceptLoss: true,
    });
    return {
      ...memory,
      store,
      log: async (name, partitions) => {
        const log = await memory.log(name, partitions);
        const append = log.append.bind(log);
        log.append = async (records) => {
          await gate?.promise;
          return append(records);
        };
        return log;
      },
      close: async () => {
        await memory.close();
        await store.close();
      },
    };
  };

  beforeEach(async () => {
    if (engine !== undefined) {
      await heal();
      return;
    }
    clock = new ManualClock(NOON_MS);
    logged = '';
    const logger: Logger = pino(
      { level: 'trace' },
      {
        write: (line: string) => {
          logged += line;
        },
      },
    );
    const options = { repo, wallClock: clock, processMetrics: false, logger, drainTimeoutMs: 100 };
    engine = await compose(options, await openStorage());
    await engine.push.push('payments', [payment({ card: CARD, shop: 'a-private-shop', amount: 50 })], {
      wait: 'applied',
    });
  });

  const ask = async (service: string, { deadlineMs, body = {}, card = CARD, url = '' }: Asking) => {
    const entities = { card, shop: 'a-private-shop' };
    const response = await engine.app.inject({
      method: 'POST',
      url: `/v1/services/${service}/features${url}`,
      headers: deadlineMs === undefined ? {} : { 'x-deadline-ms': String(deadlineMs) },
      payload: url === '' ? { entities, request: { amount: 25 }, ...body } : body,
    });
    return { status: response.statusCode, headers: response.headers, body: response.json() };
  };
  const partial = { mode: 'partial' };
  // biome-ignore lint/suspicious/noExplicitAny: an answer as it came.
  const statuses = (body: any): Record<string, string> =>
    Object.fromEntries(
      Object.keys(body.features).map((name) => [name, body.metadata?.features[name]?.status ?? 'fine']),
    );
  const valuesCounted = async (service: string, status: string): Promise<number> => {
    // Not /metrics, which asks the store, too.
    const counter = engine.metrics.registry.getSingleMetric('millrace_feature_values_total')!;
    const { values } = await counter.get();
    return values.find(({ labels }) => labels.service === service && labels.status === status)?.value ?? 0;
  };

  const FINE = { amount_ratio: 0.5, doubled_payments: 2, after_moody: 2, moody: 1, payments_1h: 1 };
  const WITHOUT_STORE = { after_moody: 2, moody: 1 };
  const withStatus = (status: string) => ({
    amount_ratio: status,
    doubled_payments: status,
    after_moody: 'fine',
    moody: 'fine',
    payments_1h: status,
    shop_payments_1h: status,
    shop_cents_1h: status,
  });
  const WITHOUT_VALUES = {
    ...{ amount_ratio: null, doubled_payments: null, ...WITHOUT_STORE },
    ...{ payments_1h: null, shop_payments_1h: null, shop_cents_1h: null },
  };

  describe('deadlines', () => {
    test.each(['0', '-1', '1.5', '60001', '1e3', '', ' 5', '0x10', '5, 5', 'soon'])(
      "the header '%s' is refused",
      async (deadlineMs) => {
        const { status, body } = await ask('strict', { deadlineMs });
        expect([status, body.error.code]).toEqual([400, 'invalid_header']);
        expect(body.error.message).toContain('1 to 60000');
        expect(body.error.details).toEqual({ header: 'x-deadline-ms' });
      },
    );

    test('a strict answer is 504 by the deadline of the request, or of the service', async () => {
      expect((await ask('strict', { deadlineMs: LONG_MS })).body.features).toMatchObject(FINE);
      proxy.hold();
      for (const answer of [
        await ask('strict', { deadlineMs: SHORT_MS }),
        await ask('strict', { deadlineMs: 1 }),
        await ask('hasty', {}),
        await ask('hasty', { body: { mode: 'strict' } }),
        await ask('strict', {
          deadlineMs: SHORT_MS,
          url: '/batch',
          body: { rows: [{ entities: { card: 'x', shop: 'y' }, request: { amount: 1 } }] },
        }),
      ]) {
        expect([answer.status, answer.body.error?.code]).toEqual([504, 'deadline_exceeded']);
        expect(answer.headers['retry-after']).toBe('1');
        expect(answer.body.error.details).toEqual({});
      }
    });

    test('what the store says too late is of no use to anybody, and harms nobody', async () => {
      proxy.hold();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => ask('hasty', { body: i % 2 ? partial : {}, card: `late ${i}` })),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map((_, i) => (i % 2 ? 200 : 504)));
      proxy.heal();
      expect((await ask('strict', { deadlineMs: LONG_MS })).body.features).toMatchObject(FINE);
    });

    test('the time that a request took to arrive counts', async () => {
      if (engine.app.server.address() === null) await engine.app.listen({ port: 0, host: '127.0.0.1' });
      const { port } = engine.app.server.address() as { port: number };
      const body = JSON.stringify({ entities: { card: CARD, shop: 's' }, request: { amount: 1 } });
      const head = [
        'POST /v1/services/strict/features HTTP/1.1',
        ...['host: x', 'connection: close', 'content-type: application/json'],
        ...[`content-length: ${body.length}`, 'expect: 100-continue', 'x-deadline-ms: 20'],
      ];
      const received = await new Promise<string>((resolve, reject) => {
        let text = '';
        let isSent = false;
        const socket = connect(port, '127.0.0.1', () => socket.write(`${head.join('\r\n')}\r\n\r\n`));
        socket.setEncoding('utf8');
        socket.on('data', (data: string) => {
          text += data;
          // The head has arrived; the body does when the deadline has passed.
          if (isSent || !text.includes('100 Continue')) return;
          isSent = true;
          setTimeout(() => socket.write(body), 40);
        });
        socket.on('close', () => resolve(text));
        socket.on('error', reject);
      });
      expect(received).toContain('HTTP/1.1 504');
      expect(received).toContain('deadline_exceeded');
    });
  });

  describe('mode partial', () => {
    test('is as strict where all can be had', async () => {
      const strict = await ask('strict', {});
      expect((await ask('strict', { body: partial })).body).toEqual(strict.body);
    });

    test('timed_out and null for what needs the store, the rest is computed', async () => {
      proxy.hold();
      const before = await valuesCounted('strict', 'timed_out');
      const { status, body } = await ask('strict', { deadlineMs: SHORT_MS, body: partial });
      expect(status).toBe(200);
      expect(body.features).toEqual(WITHOUT_VALUES);
      expect(statuses(body)).toEqual(withStatus('timed_out'));
      expect((await valuesCounted('strict', 'timed_out')) - before).toBe(5);
    });

    test('error and null where the store cannot be reached, long before the deadline', async () => {
      await cutOff();
      const strict = await ask('strict', { deadlineMs: LONG_MS });
      expect([strict.status, strict.body.error.code]).toEqual([503, 'store_unavailable']);
      const { status, body } = await ask('strict', { deadlineMs: LONG_MS, body: partial });
      expect(status).toBe(200);
      expect(body.features).toEqual(WITHOUT_VALUES);
      expect(statuses(body)).toEqual(withStatus('error'));
    });

    test('is the same for all rows of a batch', async () => {
      proxy.hold();
      const row = { entities: { card: CARD, shop: 's' }, request: { amount: 1 } };
      // More than are read together.
      const rows = [...Array.from({ length: 70 }, () => row), { entities: { card: CARD } }];
      const { status, body } = await ask('hasty', { url: '/batch', body: { rows, ...partial } });
      expect(status).toBe(200);
      for (const own of body.rows.slice(0, 70)) {
        expect(own.features).toEqual(WITHOUT_VALUES);
        expect(statuses(own)).toEqual(withStatus('timed_out'));
      }
      expect(body.rows[70].error.code).toBe('missing_entity');
    });

    test('features that do not need the store are answered in any mode', async () => {
      proxy.hold();
      const features = ['moody', 'after_moody'];
      for (const mode of ['strict', 'partial']) {
        const { status, body } = await ask('strict', { deadlineMs: SHORT_MS, body: { mode, features } });
        expect([status, body]).toEqual([200, { features: WITHOUT_STORE }]);
      }
    });
  });

  describe('stale answers', () => {
    const lenient = (asking: Asking = {}) =>
      ask('lenient', { deadlineMs: SHORT_MS, ...asking, body: { ...partial, ...asking.body } });
    const MINUTE_MS = 60_000;

    test('the last whole answer, with its age, and on-demand features computed on it', async () => {
      // Time enough, as this must be answered by Redis.
      const fresh = await lenient({ deadlineMs: LONG_MS, body: { metadata: true } });
      expect(fresh.body.features).toMatchObject(FINE);
      proxy.hold();
      clock.advanceTo(clock.nowMs() + MINUTE_MS);
      const before = await valuesCounted('lenient', 'stale');
      const { status, body } = await lenient({ body: { request: { amount: 10, mood: 'bad' } } });
      expect(status).toBe(200);
      expect(body.features).toEqual({
        ...fresh.body.features,
        ...{ amount_ratio: 0.2, doubled_payments: null, moody: null, after_moody: null },
      });
      expect(statuses(body)).toEqual({
        ...withStatus('stale'),
        ...{ doubled_payments: 'error', moody: 'error', after_moody: 'error' },
      });
      const { amount_ratio, payments_1h, shop_cents_1h } = body.metadata.features;
      expect([amount_ratio.age_ms, payments_1h.age_ms, shop_cents_1h.age_ms]).toEqual(
        Array(3).fill(MINUTE_MS),
      );
      // The bounds of then, not of now.
      expect(payments_1h.window).toEqual(fresh.body.metadata.features.payments_1h.window);
      expect(body.metadata.at).not.toBe(fresh.body.metadata.at);
      expect((await valuesCounted('lenient', 'stale')) - before).toBe(4);

      // Once more, older; and where Redis is not even there.
      clock.advanceTo(clock.nowMs() + MINUTE_MS);
      await cutOff();
      const again = (await lenient({ deadlineMs: LONG_MS })).body;
      expect(statuses(again)).toEqual(withStatus('stale'));
      expect(again.metadata.features.payments_1h.age_ms).toBe(2 * MINUTE_MS);

      clock.advanceTo(clock.nowMs() + 8 * MINUTE_MS + 1);
      const tooOld = (await lenient({ deadlineMs: LONG_MS })).body;
      expect(tooOld.features).toEqual(WITHOUT_VALUES);
      expect(statuses(tooOld)).toEqual(withStatus('error'));
    });

    test('never for a strict answer, another key, other features, a time, an event, or another service', async () => {
      expect((await lenient({ deadlineMs: LONG_MS })).body.features).toMatchObject({ moody: 1 });
      expect((await ask('strict', { deadlineMs: LONG_MS, body: partial })).status).toBe(200);
      proxy.hold();
      expect((await ask('lenient', { deadlineMs: SHORT_MS })).status).toBe(504);
      const event = {
        source: 'payments',
        data: payment({ card: CARD, shop: 'a-private-shop', at: clock.nowMs() }),
      };
      for (const { body } of [
        await lenient({ card: 'another card', body: { features: ['payments_1h'] } }),
        await lenient({ body: { features: ['payments_1h'] } }),
        await lenient({ body: { at: clock.nowMs(), features: ['payments_1h', 'moody'] } }),
        await lenient({ body: { at: clock.nowMs() } }),
        await lenient({ body: { event } }),
        await ask('strict', { deadlineMs: SHORT_MS, body: partial }),
      ]) {
        expect(body.features.payments_1h).toBeNull();
        expect(statuses(body).payments_1h).toBe('timed_out');
      }
      // The other key of a question is known.
      const other = (await lenient({ card: 'another card' })).body;
      expect(statuses(other)).toMatchObject({ payments_1h: 'timed_out', shop_payments_1h: 'stale' });
      // As all the time.
      expect(statuses((await lenient()).body)).toEqual(withStatus('stale'));
    });

    test('an answer about an event, or of another time, is no last one', async () => {
      const event = { source: 'payments', data: payment({ card: 'asked', at: clock.nowMs() }) };
      const card = 'asked';
      expect((await lenient({ deadlineMs: LONG_MS, card, body: { event } })).body.features.payments_1h).toBe(
        1,
      );
      expect((await lenient({ deadlineMs: LONG_MS, card, body: { at: NOON_MS } })).status).toBe(200);
      proxy.hold();
      expect(statuses((await lenient({ card })).body).payments_1h).toBe('timed_out');
    });

    test('those of narrowed features are kept by themselves, and of each row of a batch', async () => {
      const features = ['payments_1h'];
      const batch = { rows: [{ entities: { card: 'in a batch' } }], features, ...partial };
      const read = (deadlineMs: number) => ask('lenient', { url: '/batch', deadlineMs, body: batch });
      expect((await read(LONG_MS)).body.rows[0].features).toEqual({ payments_1h: 0 });
      proxy.hold();
      const [row] = (await read(SHORT_MS)).body.rows;
      expect(row.features).toEqual({ payments_1h: 0 });
      expect(row.metadata.features.payments_1h).toMatchObject({ status: 'stale', age_ms: 0 });
      expect((await lenient({ card: 'in a batch', body: { features } })).body.features.payments_1h).toBe(0);
    });
  });

  describe('score and ingest', () => {
    const scoring = (id: string, more: object = {}) => ({
      event: { source: 'payments', data: payment({ id, card: `card of ${id}`, at: clock.nowMs() }) },
      ...{ ingest: true, request: { amount: 1 }, entities: {}, ...more },
    });
    const countOf = async (id: string): Promise<number> => {
      await engine.ready();
      const answer = await ask('strict', { deadlineMs: LONG_MS, card: `card of ${id}` });
      return answer.body.features.payments_1h;
    };

    test('strict: nothing is recorded where the store did not answer', async () => {
      proxy.hold();
      const held = await ask('strict', { deadlineMs: SHORT_MS, body: scoring('i1') });
      expect([held.status, held.body.error.code]).toEqual([504, 'deadline_exceeded']);
      expect(held.body.error.details).toEqual({ ingested: 'not_recorded' });
      proxy.heal();
      await cutOff();
      const cut = await ask('strict', { deadlineMs: LONG_MS, body: scoring('i1') });
      expect([cut.status, cut.body.error.code]).toEqual([503, 'store_unavailable']);
      expect(cut.body.error.details).toEqual({ ingested: 'not_recorded' });
      await heal();
      expect(await countOf('i1')).toBe(0);
      const recorded = await ask('strict', { deadlineMs: LONG_MS, body: scoring('i1') });
      expect(recorded.body).toMatchObject({ ingested: 'recorded', features: { payments_1h: 1 } });
    });

    test('a log that does not acknowledge by the deadline: unknown, and the same again is safe', async () => {
      const modes = { strict: 'i2', partial: 'i3' } as const;
      gate = deferred();
      try {
        // Long enough for Redis to answer, however busy the machine is.
        const [strict, part] = await Promise.all(
          Object.entries(modes).map(([mode, id]) =>
            ask('strict', { deadlineMs: 3_000, body: scoring(id, { mode }) }),
          ),
        );
        expect([strict!.status, strict!.body.error.code]).toEqual([504, 'deadline_exceeded']);
        expect(strict!.body.error.details).toEqual({ ingested: 'unknown' });
        expect(part!.status).toBe(200);
        expect(part!.body).toMatchObject({ ingested: 'unknown', features: { payments_1h: 1 } });
      } finally {
        gate.resolve();
        gate = null;
      }
      for (const id of Object.values(modes)) {
        const again = await ask('strict', { deadlineMs: LONG_MS, body: scoring(id) });
        expect(again.body).toMatchObject({ ingested: 'duplicate', features: { payments_1h: 1 } });
        expect(await countOf(id)).toBe(1);
      }
    });

    test('partial: the event is recorded whatever the store says', async () => {
      proxy.hold();
      const held = await ask('strict', { deadlineMs: SHORT_MS, body: scoring('i4', partial) });
      expect(held.status).toBe(200);
      expect(statuses(held.body)).toEqual(withStatus('timed_out'));
      // No time was left to wait for it.
      expect(['recorded', 'unknown']).toContain(held.body.ingested);
      proxy.heal();
      await cutOff();
      const cut = await ask('strict', { deadlineMs: LONG_MS, body: scoring('i5', partial) });
      expect(cut.body.ingested).toBe('recorded');
      expect(statuses(cut.body)).toEqual(withStatus('error'));
      await heal();
      for (const id of ['i4', 'i5']) {
        expect(await countOf(id)).toBe(1);
        const again = await ask('strict', { deadlineMs: LONG_MS, body: scoring(id) });
        expect(again.body).toMatchObject({ ingested: 'duplicate', features: { payments_1h: 1 } });
      }
    });
  });

  test('the log names services and reasons, never a key', () => {
    expect(logged).toContain('features were answered without some states');
    expect(logged).toContain('deadline_exceeded');
    expect(logged).not.toMatch(/private|another card|card of|in a batch|late \d/);
  });
});

describeWithServices(['redis'], 'a node of a Redis Cluster that does not answer', () => {
  let cluster: RedisCluster;
  let store: RedisTileStore;
  beforeAll(async () => {
    // The others must go on although it is silent: by default a cluster gives up after 2 s.
    cluster = await startRedisCluster({ args: ['--cluster-node-timeout', '120000'] });
    store = await RedisTileStore.open({
      nodes: cluster.urls,
      profile: 'serving',
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      readTimeoutMs: COMMAND_TIMEOUT_MS,
      acceptLoss: true,
    });
  });
  afterAll(async () => {
    await cluster?.masters[0]?.kill('SIGCONT');
    await store?.close();
    await cluster?.stop();
  });

  test('takes the features of its own keys only', async () => {
    const service = testRepo.services.get('decision')!;
    const reader = new FeatureReader({
      service,
      store,
      reads: new DeadlineReads(store),
      shards: store.shards,
      isCatchingUp: () => false,
      onEvaluationError: (_view, error) => {
        throw error;
      },
    });
    const questions: FeatureQuestion[] = Array.from({ length: 60 }, (_, i) => ({
      keys: new Map([
        ['card', `card ${i}`],
        ['shop', `shop ${i}`],
      ]),
      request: { amount: 1, mood: null },
      atMs: NOON_MS,
      asked: null,
    }));
    // Connections to all nodes.
    await reader.read(questions);
    await cluster.masters[0]!.kill('SIGSTOP');
    const terms = { untilMs: performance.now() + 3_000, partial: true };
    const answers = await reader.read(questions, terms);
    const slotOf = (name: string): number => reader.output.find((feature) => feature.name === name)!.slot;
    const seen = new Set(
      answers.map((own) =>
        ['payments_1h', 'amount_ratio', 'shop_payments_1h', 'moody']
          .map((name) => own[slotOf(name)]!.status)
          .join(),
      ),
    );
    // Of the keys of each of the two entities a third is on that node.
    expect([...seen].sort()).toEqual([
      'empty,present,empty,present',
      'empty,present,timed_out,present',
      'timed_out,timed_out,empty,present',
      'timed_out,timed_out,timed_out,present',
    ]);
    const strict = reader.read(questions, { untilMs: performance.now() + SHORT_MS, partial: false });
    await expect(strict).rejects.toThrow(ApiError);
    await expect(strict).rejects.toMatchObject({ code: 'deadline_exceeded' });
  });
});
