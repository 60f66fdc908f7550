/** What is logged: request ids, no access log by default, and never a key or a value. */
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compose } from '../embedded/runtime.ts';
import { openMemoryStorage } from '../embedded/storage.ts';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS, payment, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { StoreUnavailableError } from '../engine/store/store-errors.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import { waitUntil } from '../services/process/wait-until.ts';

const SECRET = 'sEcReT';
const URL = '/v1/services/card/features';

let lines: Record<string, unknown>[];
let it: TestEngine | null = null;
const open = async (level: string, options = {}): Promise<TestEngine> => {
  const logger = pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  it = await TestEngine.open({ logger, ...options });
  return it;
};
beforeEach(() => {
  lines = [];
});
afterEach(async () => {
  await it?.close();
  it = null;
});

const answered = () => lines.filter(({ msg }) => msg === 'a request was answered');
const post = (headers: Record<string, string>, url = URL) =>
  it!.engine.app.inject({ method: 'POST', url, headers, payload: { entities: { card: SECRET } } });

test("a request keeps its caller's id, in the answer and in the log", async () => {
  await open('debug');
  const id = '01HZX3J5Y8.abc_d:e-f';
  expect((await post({ 'x-request-id': id })).headers['x-request-id']).toBe(id);
  await waitUntil(async () => answered().length === 1, { what: 'the line', timeoutMs: 60_000 });
  expect(answered()[0]).toMatchObject({
    reqId: id,
    route: '/v1/services/:service/features',
    method: 'POST',
    status: 200,
    ms: expect.any(Number),
  });
});

test.each(['', 'short', 'with a space', 'x'.repeat(129), 'new\tline-12345', '<script>12345', 'é'.repeat(20)])(
  'an id that is not well-formed is replaced: %j',
  async (id) => {
    await open('silent');
    const given = (await post({ 'x-request-id': id })).headers['x-request-id'];
    expect(given).toMatch(/^[0-9a-f-]{36}$/);
    expect((await post({})).headers['x-request-id']).not.toBe(given);
  },
);

test('errors have the id as well, whatever refuses the request', async () => {
  await open('silent');
  const id = 'abcdef-0123456789';
  for (const [url, more] of [
    ['/v1/nothing', {}],
    ['/%zz', {}],
    [URL, { 'content-encoding': 'gzip' }],
    [URL, { 'content-type': 'text/plain' }],
  ] as const) {
    const { statusCode, headers } = await post({ 'x-request-id': id, ...more }, url);
    expect(statusCode).toBeGreaterThanOrEqual(400);
    expect(headers['x-request-id']).toBe(id);
  }
});

test('requests refused by the hundred are a few lines, which say how many they are of', async () => {
  class AwayStore extends ForwardingStore {
    override async read(): Promise<never> {
      throw new StoreUnavailableError('the store is away');
    }
  }
  const storage = openMemoryStorage();
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const options = { repo: testRepo, wallClock: new ManualClock(NOON_MS), logger };
  const engine = await compose(options, { ...storage, store: new AwayStore(storage.store) });
  const ask = (body: object) =>
    engine.app.inject({ method: 'POST', url: URL, payload: { entities: { card: SECRET }, ...body } });
  const REQUESTS = 200;
  const startedMs = performance.now();
  for (let i = 0; i < REQUESTS; i++) {
    expect((await ask({})).statusCode).toBe(503);
    expect((await ask({ mode: 'partial' })).statusCode).toBe(200);
  }
  const secondsMax = Math.ceil((performance.now() - startedMs) / 1_000);
  await engine.close();
  for (const msg of ['the tile store cannot be read', 'features were answered without some states']) {
    const said = lines.filter((line) => line.msg === msg);
    expect(said.length).toBeGreaterThan(0);
    expect(said.length).toBeLessThanOrEqual(secondsMax);
    const omitted = said.reduce((sum, line) => sum + Number(line.omitted ?? 0), 0);
    // What came after the last line is not told by any.
    expect(said.length + omitted).toBeLessThanOrEqual(REQUESTS);
  }
});

test('by default requests are not logged', async () => {
  await open('info');
  await post({});
  await it!.close();
  it = null;
  expect(answered()).toEqual([]);
});

test('a run with bad input logs no key, id or value, at any level', async () => {
  await open('trace');
  const engine = it!;
  const bad = [
    // A projection throws over it: a dead letter.
    payment({ id: `${SECRET}1`, card: `${SECRET}2`, shop: `${SECRET}3`, amount: -1 }),
    payment({ amount: SECRET }),
    { [SECRET]: SECRET },
    SECRET,
    payment({ card: SECRET.repeat(600) }),
  ];
  await engine.push('payments', bad);
  await engine.push('payments', [payment({ card: SECRET, shop: SECRET })]);
  await engine.push(SECRET, bad);
  for (const body of [
    { entities: { card: SECRET }, metadata: true },
    { entities: { card: { [SECRET]: SECRET } } },
    { entities: { card: SECRET }, at: SECRET },
    { entities: { card: SECRET }, event: { source: 'payments', data: { [SECRET]: SECRET } } },
    { entities: { card: SECRET }, event: { source: SECRET, data: {} } },
    `{"entities":{"card":"${SECRET}"`,
  ]) {
    await engine.post(URL, body);
  }
  const mood = { card: 'c1', shop: SECRET };
  await engine.read('decision', { entities: mood, request: { amount: SECRET, mood: 'bad' } });
  // An on-demand feature that throws over what it was given.
  await engine.read('decision', { entities: mood, request: { amount: 1, mood: 'bad' } });
  await engine.get(`/v1/${SECRET}?${SECRET}=${SECRET}`);
  await engine.post(`/v1/services/${SECRET}/features`, {});
  const letters = await engine.get('/v1/sources/payments/dead-letters');
  expect(letters.status).toBe(200);
  await engine.close();
  it = null;
  expect(lines.some(({ msg }) => /dead letter/.test(String(msg)))).toBe(true);
  expect(answered().length).toBeGreaterThan(10);
  const text = JSON.stringify(lines);
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain('a secret of the request');
});
