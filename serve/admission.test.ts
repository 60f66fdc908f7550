/**
 * Requests over real connections to an app that listens, whose store is a Redis behind a proxy that holds everything
 * back: what is in flight stays so until it lets go. What this does not catch: how much faster a refusal is than an
 * answer, and that latencies hold under load (`npm run bench -- --overload` measures both).
 */
import { EventEmitter, once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setImmediate as immediate } from 'node:timers/promises';
import { Pool } from 'undici';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compose, type Embedded } from '../embedded/runtime.ts';
import { openMemoryStorage } from '../embedded/storage.ts';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { TcpProxy } from '../services/proxy/tcp-proxy.ts';
import { type RedisServer, startRedis } from '../services/redis/redis-server.ts';
import { describeWithServices } from '../services/testing/describe-with-services.ts';
import { Admission, AdmittedRequest } from './admission.ts';
import type { AppLimits } from './app.ts';
import { ApiError } from './error-catalogue.ts';
import type { RequestClass } from './load-limit.ts';
import { Metrics } from './metrics.ts';

const WAIT_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;
const READ = '/v1/services/card/features';
const BATCH = `${READ}/batch`;
const PUSH = '/v1/sources/payments/events?wait=applied';
const QUESTION = { entities: { card: 'a' } };

interface Reply {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: string | undefined;
}

/** Requests that were sent at once, and what has come back of them so far. */
class Volley {
  readonly replies: Reply[] = [];
  readonly #sent: Promise<void>[];

  constructor(client: Pool, count: number, path: string, bodyOf: (i: number) => unknown) {
    this.#sent = Array.from({ length: count }, async (_, i) => {
      // However slow the machine is: what is held back is answered once it is let go.
      const headers = { 'content-type': 'application/json', 'x-deadline-ms': String(WAIT_MS) };
      const body = JSON.stringify(bodyOf(i));
      const reply = await client.request({ method: 'POST', path, headers, body });
      const json = (await reply.body.json()) as { error?: { code: string } };
      this.replies.push({
        status: reply.statusCode,
        code: json.error?.code,
        retryAfter: reply.headers['retry-after'] as string | undefined,
      });
    });
  }

  async until(count: number): Promise<readonly Reply[]> {
    await waitUntil(() => this.replies.length >= count, { what: `${count} replies`, timeoutMs: WAIT_MS });
    return this.replies;
  }

  async all(): Promise<readonly Reply[]> {
    await Promise.all(this.#sent);
    return this.replies;
  }
}

describeWithServices(['redis'], 'an app that listens, over a store that is held back', () => {
  let redis: RedisServer;
  let proxy: TcpProxy;
  let engine: Embedded;
  let client: Pool;
  let port: number;

  const open = async (limits: Partial<AppLimits>): Promise<void> => {
    const store = await RedisTileStore.open({
      nodes: `redis://127.0.0.1:${proxy.port}`,
      acceptLoss: true,
      commandTimeoutMs: 60_000,
    });
    const memory = openMemoryStorage();
    engine = await compose(
      { repo: testRepo, wallClock: new ManualClock(NOON_MS), appliedTimeoutMs: 60_000, limits },
      {
        ...memory,
        store,
        close: async () => {
          await memory.close();
          await store.close();
        },
      },
    );
    const origin = await engine.app.listen({ host: '127.0.0.1', port: 0 });
    port = (engine.app.server.address() as AddressInfo).port;
    client = new Pool(origin, { connections: 200, pipelining: 1 });
  };
  const sockets: Socket[] = [];
  const connected = (): Socket => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    return socket;
  };
  const read = (count: number): Volley => new Volley(client, count, READ, () => QUESTION);
  const pushEvents = (count: number, from: number): Volley =>
    new Volley(client, count, PUSH, (i) => ({
      events: [
        { id: `${from + i}`, at: NOON_MS, card: 'a', shop: 's', amount: 1, points: 1, refused: false },
      ],
    }));
  const batch = (rows: number): Volley =>
    new Volley(client, 1, BATCH, () => ({ rows: Array.from({ length: rows }, () => QUESTION) }));
  const metric = async (name: string): Promise<number> => {
    const { body } = await client.request({ method: 'GET', path: '/metrics' });
    const line = (await body.text()).split('\n').find((text) => text.startsWith(`${name} `));
    return Number(line?.split(' ')[1] ?? 0);
  };
  const get = async (path: string): Promise<number> => {
    const { statusCode, body } = await client.request({ method: 'GET', path });
    await body.dump();
    return statusCode;
  };

  beforeEach(async () => {
    redis = await startRedis();
    proxy = await TcpProxy.open(redis.port);
  });
  afterEach(async () => {
    proxy.heal();
    for (const socket of sockets.splice(0)) socket.destroy();
    await client?.close();
    await engine?.close();
    proxy.close();
    await redis.stop();
  });

  it(
    'answers as many as it may at once, sheds the others, and answers the first one after the load',
    async () => {
      await open({ inFlight: 8, targetDelayMs: Number.POSITIVE_INFINITY });
      expect(await read(1).all()).toMatchObject([{ status: 200 }]);
      proxy.hold();
      const reads = read(40);
      const shed = [...(await reads.until(32))];
      expect(shed).toHaveLength(32);
      for (const { status, code, retryAfter } of shed) {
        expect([status, code]).toEqual([503, 'serving_overloaded']);
        expect(['1', '2', '3']).toContain(retryAfter);
      }
      // They have places of their own, if fewer.
      const pushes = pushEvents(7, 0);
      for (const { status, code, retryAfter } of await pushes.until(3)) {
        expect([status, code]).toEqual([429, 'overloaded']);
        expect(['1', '2', '3']).toContain(retryAfter);
      }
      expect(await get('/healthz')).toBe(200);
      expect(await get('/v1/catalog')).toBe(200);
      expect([reads.replies.length, pushes.replies.length]).toEqual([32, 3]);

      proxy.heal();
      const statuses = (replies: readonly Reply[]) => replies.map(({ status }) => status).sort();
      expect(statuses(await reads.all())).toEqual([...Array(8).fill(200), ...Array(32).fill(503)]);
      expect(statuses(await pushes.all())).toEqual([200, 200, 200, 200, 429, 429, 429]);
      expect(await read(1).all()).toMatchObject([{ status: 200 }]);
      expect(await pushEvents(1, 100).all()).toMatchObject([{ status: 200 }]);
      expect(await metric('millrace_requests_shed_total{class="serving",reason="in_flight"}')).toBe(32);
      expect(await metric('millrace_requests_shed_total{class="ingest",reason="in_flight"}')).toBe(3);
      expect(await metric('millrace_requests_in_flight{class="serving"}')).toBe(0);
      expect(await metric('millrace_requests_in_flight{class="ingest"}')).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'sheds pushes while it goes on to answer reads',
    async () => {
      await open({ inFlight: 8, targetDelayMs: Number.POSITIVE_INFINITY });
      proxy.hold();
      const pushes = pushEvents(8, 0);
      await pushes.until(4);
      const reads = read(8);
      const more = pushEvents(4, 10);
      for (const { status } of await more.all()) expect(status).toBe(429);
      proxy.heal();
      for (const { status } of await reads.all()) expect(status).toBe(200);
      await pushes.all();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'counts the rows of a batch',
    async () => {
      await open({ inFlight: 8, targetDelayMs: Number.POSITIVE_INFINITY });
      proxy.hold();
      const one = read(1);
      // Ten rows are a place, but no batch takes more than half of them; the second finds too few.
      const batches = [batch(1_000), batch(1_000)];
      await waitUntil(() => batches.some(({ replies }) => replies.length > 0), {
        what: 'one of the batches is shed',
        timeoutMs: WAIT_MS,
      });
      proxy.heal();
      const replies = [...(await batches[0]!.all()), ...(await batches[1]!.all())];
      expect(replies.map(({ status }) => status).sort()).toEqual([200, 503]);
      expect(replies.find(({ status }) => status === 503)!.code).toBe('serving_overloaded');
      expect(await one.all()).toMatchObject([{ status: 200 }]);
      expect(await metric('millrace_requests_in_flight{class="serving"}')).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'gives back the place of a request that was cut off',
    async () => {
      await open({ inFlight: 1, targetDelayMs: Number.POSITIVE_INFINITY });
      const socket = connected();
      proxy.hold();
      const text = JSON.stringify(QUESTION);
      socket.write(
        `POST ${READ} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
      );
      const status = async (): Promise<number> => (await read(1).all())[0]!.status;
      await waitUntil(async () => (await status()) === 503, {
        what: 'its place is taken',
        timeoutMs: WAIT_MS,
      });
      socket.destroy();
      proxy.heal();
      await waitUntil(async () => (await status()) === 200, {
        what: 'its place is free',
        timeoutMs: WAIT_MS,
      });
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'keeps no place for a request whose body is on its way',
    async () => {
      await open({ inFlight: 1, targetDelayMs: Number.POSITIVE_INFINITY });
      const slow = Array.from({ length: 20 }, connected);
      const head = 'HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100';
      for (const socket of slow) socket.write(`POST ${READ} ${head}\r\nexpect: 100-continue\r\n\r\n{`);
      // Their headers have been read.
      await Promise.all(slow.map((socket) => once(socket, 'data')));
      expect(await read(1).all()).toMatchObject([{ status: 200 }]);
      expect(await metric('millrace_requests_in_flight{class="serving"}')).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'has the bytes of an answer back when it is read',
    async () => {
      await open({ inFlight: 8, targetDelayMs: Number.POSITIVE_INFINITY, bytesInFlight: 1 });
      const sending = vi.spyOn(AdmittedRequest.prototype, 'sending');
      for (let i = 0; i < 3; i++) expect(await batch(1_000).all()).toMatchObject([{ status: 200 }]);
      expect(sending.mock.calls.map(([, bytes]) => bytes > 16_384)).toEqual([true, true, true]);
      sending.mockRestore();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'closes connections beyond their limit, and those that say nothing',
    async () => {
      await open({ connections: 3 });
      const six = Array.from({ length: 6 }, connected);
      const closed = new Set<Socket>();
      for (const socket of six) socket.on('close', () => closed.add(socket)).resume();
      await waitUntil(() => closed.size === 3, { what: 'three are closed', timeoutMs: WAIT_MS });
      for (const socket of six) socket.destroy();
      await waitUntil(async () => (await get('/healthz').catch(() => 0)) === 200, {
        what: 'others may connect again',
        timeoutMs: WAIT_MS,
      });
      expect(await metric('millrace_connections_refused_total')).toBeGreaterThanOrEqual(3);
      const { headersTimeout, requestTimeout, keepAliveTimeout } = engine.app.server;
      const { timeout } = engine.app.server;
      expect([headersTimeout, requestTimeout, keepAliveTimeout, timeout]).toEqual([
        10_000, 30_000, 72_000, 120_000,
      ]);
    },
    TEST_TIMEOUT_MS,
  );
});

describe('admission', () => {
  const admissionOf = (inFlight: number): Admission =>
    new Admission({
      inFlight,
      targetDelayMs: 5,
      bodyBytes: 1_000_000,
      bytesInFlight: 40_000,
      metrics: new Metrics(),
    });
  const request = { headers: {} } as Parameters<Admission['admit']>[1];
  /** Its body is there at once. */
  const letIn = (admission: Admission, requestClass: RequestClass): AdmittedRequest => {
    const admitted = admission.admit(requestClass, request);
    admitted.begin();
    return admitted;
  };

  it('lets fewer in while the event loop is late, pushes first', async () => {
    const admission = admissionOf(200);
    const reads = Array.from({ length: 100 }, () => letIn(admission, 'serving'));
    for (let i = 0; i < 2; i++) admission.endInterval(10);
    expect(admission.slots('serving')).toEqual({ inFlight: 100, limit: 50, top: 200 });
    expect(admission.slots('ingest')).toEqual({ inFlight: 0, limit: 25, top: 100 });
    expect([admission.take('serving', 1), admission.take('ingest', 25), admission.take('ingest', 1)]).toEqual(
      [false, true, false],
    );
    // What was computed is not thrown away for it.
    reads[0]!.becomePush();
    expect(admission.slots('ingest').inFlight).toBe(26);
    for (const read of reads) read.release();
    // Those answered in one turn of the event loop are in flight to its end, whatever else it does.
    for (let i = 0; i < 10; i++) await null;
    expect(admission.slots('serving').inFlight).toBe(99);
    await immediate();
    admission.endWait(performance.now(), 0);
    // Busy with something else since then.
    admission.endWait(performance.now(), 1);
    admission.endInterval(0);
    expect(admission.slots('serving')).toEqual({ inFlight: 0, limit: 60, top: 200 });
  });

  it('lets fewer in where requests wait for one another, though the event loop is on time', async () => {
    const admission = admissionOf(200);
    const reads = Array.from({ length: 100 }, () => letIn(admission, 'serving'));
    const later = performance.now() + 1_000;
    admission.endWait(later, 1);
    expect(admission.slots('serving').limit).toBe(200);
    admission.endWait(later + 30, 1);
    // Of 30 ms each waited for 99 hundredths: 3.3 ms would do.
    expect(admission.slots('serving')).toEqual({ inFlight: 100, limit: 11, top: 200 });
    expect(admission.slots('ingest').limit).toBe(100);
    for (const read of reads) read.release();
    await immediate();
    admission.endWait(later + 60, 1);
    expect(admission.slots('serving')).toEqual({ inFlight: 0, limit: 11, top: 200 });
  });

  it('takes a batch for one request that waits, however many slots it has', async () => {
    const admission = admissionOf(200);
    const batch = letIn(admission, 'serving');
    batch.addRows(500);
    expect(admission.slots('serving').inFlight).toBe(51);
    const later = performance.now() + 1_000;
    admission.endWait(later, 0);
    // Its slices keep the event loop busy.
    for (let i = 1; i <= 10; i++) admission.endWait(later + 20 * i, 1);
    expect(admission.slots('serving').limit).toBe(200);
    batch.release();
    await immediate();
    expect(admission.slots('serving').inFlight).toBe(0);
  });

  it('leaves a place for others beside a batch, however low the limit is', () => {
    const admission = admissionOf(2);
    letIn(admission, 'serving').addRows(1_000);
    expect(admission.take('serving', 1)).toBe(true);
  });

  it('does not take a limit for unused that a batch did not fit into', () => {
    const limitAfter = (meanwhile: (admission: Admission) => unknown): number => {
      const admission = admissionOf(200);
      admission.add('serving', 100, 0);
      for (let i = 0; i < 2; i++) admission.endInterval(20);
      admission.add('serving', -70, 0);
      admission.endInterval(4);
      expect(admission.slots('serving')).toEqual({ inFlight: 30, limit: 32, top: 200 });
      meanwhile(admission);
      admission.endWait(performance.now(), 1);
      admission.endInterval(0);
      return admission.slots('serving').limit;
    };
    expect(limitAfter((admission) => admission.take('serving', 1))).toBe(64);
    expect(limitAfter((admission) => admission.take('serving', 16))).toBe(39);
    // A body is no place: nor that it was refused.
    expect(
      limitAfter((admission) => {
        admission.add('serving', 0, 30_000);
        expect(admission.take('serving', 1, { bytes: 30_000 })).toBe(false);
      }),
    ).toBe(64);
  });

  it('counts a request that records its event as a push from then on', async () => {
    const admission = admissionOf(4);
    const request1 = letIn(admission, 'serving');
    request1.becomePush();
    expect([admission.slots('serving').inFlight, admission.slots('ingest').inFlight]).toEqual([0, 1]);
    letIn(admission, 'ingest');
    const late = letIn(admission, 'serving');
    expect(() => late.becomePush()).toThrow(ApiError);
    expect([admission.slots('serving').inFlight, admission.slots('ingest').inFlight]).toEqual([1, 2]);
    for (const admitted of [request1, late, late]) admitted.release();
    await immediate();
    expect([admission.slots('serving').inFlight, admission.slots('ingest').inFlight]).toEqual([0, 1]);
  });

  it('does not take what is being recorded for requests that wait', () => {
    const admission = admissionOf(200);
    for (let i = 0; i < 50; i++) letIn(admission, 'serving').becomePush();
    const later = performance.now() + 1_000;
    for (let i = 0; i < 10; i++) admission.endWait(later + 30 * i, 1);
    expect(admission.slots('serving')).toEqual({ inFlight: 0, limit: 200, top: 200 });
    expect(admission.slots('ingest')).toEqual({ inFlight: 50, limit: 100, top: 100 });
  });

  it('bounds the bytes of answers that nobody reads, until they are sent or their client has gone', () => {
    const admission = admissionOf(200);
    const socket = new EventEmitter() as Socket;
    const sending = (bytes: number): EventEmitter => {
      const response = Object.assign(new EventEmitter(), { req: { socket } });
      letIn(admission, 'serving').sending(response as unknown as ServerResponse, bytes);
      return response;
    };
    const large = { 'content-length': '20000' };
    const isShed = (): boolean => {
      const response = { writeHead: () => {}, end: () => {} } as unknown as ServerResponse;
      return admission.sheds('serving', { headers: large } as IncomingMessage, response);
    };
    const batch = (): AdmittedRequest => letIn(admission, 'serving');
    sending(16_383);
    expect(isShed()).toBe(false);
    const [first] = [sending(30_000), sending(30_000), sending(30_000)];
    expect(isShed()).toBe(true);
    expect(() => batch().addRows(10)).toThrow(ApiError);
    // Answers to a few rows are small.
    batch().addRows(9);
    first!.emit('finish');
    expect(isShed()).toBe(true);
    socket.emit('close');
    expect(isShed()).toBe(false);
    batch().addRows(10);
    first!.emit('finish');
    sending(30_000);
    expect(isShed()).toBe(true);
  });

  it('bounds the bytes of bodies, takes those of unknown length for the largest, and one alone however large', () => {
    const limit = 64 * 1024 * 1024;
    const bodyBytes = limit / 4;
    const admission = new Admission({
      inFlight: 1_000,
      targetDelayMs: Number.POSITIVE_INFINITY,
      bodyBytes,
      bytesInFlight: limit,
      metrics: new Metrics(),
      random: () => 0.99,
    });
    const answers: unknown[] = [];
    const response = {
      writeHead: (status: number, headers: string[]) =>
        answers.push(
          status,
          Object.fromEntries(headers.flatMap((one, i) => (i % 2 ? [] : [[one, headers[i + 1]]]))),
        ),
      end: () => {},
    } as unknown as Parameters<Admission['sheds']>[2];
    const sheds = (headers: Record<string, string>): boolean =>
      admission.sheds('ingest', { headers } as Parameters<Admission['sheds']>[1], response);
    const chunked = { 'transfer-encoding': 'chunked' };
    for (let i = 0; i < 4; i++) {
      expect(sheds(chunked)).toBe(false);
      admission.admit('ingest', { headers: chunked } as unknown as Parameters<Admission['admit']>[1]);
    }
    expect(sheds({ 'content-length': '16384', 'x-request-id': 'of-a-caller' })).toBe(true);
    expect(answers).toEqual([
      429,
      expect.objectContaining({ 'retry-after': '3', 'x-request-id': 'of-a-caller' }),
    ]);
    // Small ones are bounded by the connections.
    for (const small of ['0', '16383']) expect(sheds({ 'content-length': small })).toBe(false);
    // Refused as too large, unread.
    expect(sheds({ 'content-length': `${bodyBytes + 1}` })).toBe(false);
  });
});
