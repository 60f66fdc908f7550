/** What a request may be written in, and in what it is answered. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decode, encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { KEEP_ALIVE_MS } from './app.ts';
import { ARROW_STREAM_TYPE, BATCH_TYPES, FEATURES_TYPES } from './content-types.ts';
import { decodeArrow } from './testing/decoded-arrow.ts';

let it: TestEngine;
beforeAll(async () => {
  it = await TestEngine.open();
  await it.push('payments', [payment({ card: 'typed', points: '9007199254740993', amount: 2.5 })]);
});
afterAll(() => it.close());

const FEATURES = '/v1/services/card/features';
const BATCH = `${FEATURES}/batch`;
const MSGPACK = 'application/msgpack';
const entities = { card: 'typed' };

interface Sent {
  readonly url?: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape.
type Body = any;

async function send({ url = FEATURES, body = { entities }, contentType = 'application/json', accept }: Sent) {
  const payload = body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body);
  const headers = { 'content-type': contentType, ...(accept === undefined ? {} : { accept }) };
  const response = await it.engine.app.inject({ method: 'POST', url, headers, payload });
  const type = String(response.headers['content-type']);
  return {
    status: response.statusCode,
    type,
    bytes: response.rawPayload,
    body: (type.includes('json')
      ? response.json()
      : type.includes('msgpack')
        ? decode(response.rawPayload, { useBigInt64: true })
        : null) as Body,
  };
}

const JSON_ANSWER = 'application/json; charset=utf-8';

describe('the header accept', () => {
  test.each([
    [undefined, JSON_ANSWER],
    ['', JSON_ANSWER],
    ['*/*', JSON_ANSWER],
    ['application/*', JSON_ANSWER],
    ['application/json', JSON_ANSWER],
    ['APPLICATION/JSON; charset=utf-8', JSON_ANSWER],
    ['text/html, */*;q=0.8', JSON_ANSWER],
    ['application/msgpack', 'application/msgpack'],
    ['application/vnd.msgpack', 'application/vnd.msgpack'],
    ['application/x-msgpack', 'application/x-msgpack'],
    ['application/json;q=0.5, application/msgpack', 'application/msgpack'],
    ['application/json, application/msgpack;q=0.9', JSON_ANSWER],
    ['application/msgpack;q=0.2, */*;q=0.1', 'application/msgpack'],
    ['application/json;q=0, */*', 'application/vnd.msgpack'],
    [`${ARROW_STREAM_TYPE}, application/json;q=0.1`, JSON_ANSWER],
  ])('%s is answered as %s', async (accept, type) => {
    const answer = await send({ accept });
    expect([answer.status, answer.type]).toEqual([200, type]);
    expect(Number(answer.body.features.amount_sum_1h)).toBe(2.5);
  });

  test.each([
    [FEATURES, 'text/html', FEATURES_TYPES],
    [FEATURES, ARROW_STREAM_TYPE, FEATURES_TYPES],
    [FEATURES, 'application/json;q=0', FEATURES_TYPES],
    [FEATURES, 'nonsense', FEATURES_TYPES],
    [BATCH, 'text/csv', BATCH_TYPES],
  ])('%s does not answer %s: it says what it does', async (url, accept, offered) => {
    const answer = await send({ url, accept, body: { rows: [], entities } });
    expect(answer).toMatchObject({
      status: 406,
      body: { error: { code: 'not_acceptable', details: { offered } } },
    });
  });

  test('an answer that cannot be had records nothing', async () => {
    const before = await it.recorded();
    const event = { source: 'payments', data: payment({ card: 'typed' }) };
    expect((await send({ body: { event, ingest: true }, accept: 'text/html' })).status).toBe(406);
    expect(await it.recorded()).toBe(before);
  });

  test('errors come in the type that is asked for, or as JSON', async () => {
    const bad = { entities: {} };
    for (const [accept, type] of [
      [MSGPACK, MSGPACK],
      ['application/json', JSON_ANSWER],
      [`${ARROW_STREAM_TYPE}`, JSON_ANSWER],
      [`${ARROW_STREAM_TYPE}, ${MSGPACK};q=0.5`, MSGPACK],
    ] as const) {
      const answer = await send({ url: BATCH, body: bad, accept });
      expect([answer.status, answer.type, answer.body.error.code]).toEqual([400, type, 'unknown_field']);
    }
    const nowhere = await send({ url: '/nowhere', accept: MSGPACK });
    expect([nowhere.status, nowhere.type, nowhere.body.error.code]).toEqual([404, MSGPACK, 'not_found']);
  });
});

describe('MessagePack', () => {
  test('asks, and is answered with exact 64-bit integers', async () => {
    const body = encode({ entities, at: NOON_MS, metadata: true });
    const answer = await send({ body, contentType: MSGPACK, accept: MSGPACK });
    expect(answer.status).toBe(200);
    expect(answer.body.features.points_sum_1d).toBe(9_007_199_254_740_993n);
    expect(answer.body.features.amounts_last_1h).toEqual([2.5]);
    expect(answer.body.metadata.at_ms).toBe(BigInt(NOON_MS));
    expect(answer.body.metadata.features.hour).toEqual({ status: 'present' });
    // As JSON the same is text.
    const json = await send({ body, contentType: MSGPACK });
    expect(json.body.features.points_sum_1d).toBe('9007199254740993');
  });

  test('pushes 64-bit integers exactly, and is answered in kind', async () => {
    const card = 'packed';
    const longs = [9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n, 5n];
    const events = longs.map((points) => payment({ card, points, at: BigInt(NOON_MS) }));
    const url = '/v1/sources/payments/events?wait=applied';
    for (const contentType of ['application/msgpack', 'application/vnd.msgpack', 'application/x-msgpack']) {
      const pushed = await send({
        url,
        body: encode({ events }, { useBigInt64: true }),
        contentType,
        accept: MSGPACK,
      });
      const first = contentType === 'application/msgpack';
      expect([pushed.status, pushed.type, pushed.body]).toEqual([
        200,
        MSGPACK,
        { accepted: first ? 4 : 0, duplicates: first ? 0 : 4, rejected: [] },
      ]);
    }
    const sum = longs.reduce((total, value) => total + value, 0n);
    expect((await it.read('card', { entities: { card } })).body.features.points_sum_1d).toBe(sum.toString());
    // Also from the log.
    await it.restart();
    const read = await send({ body: { entities: { card } }, accept: MSGPACK });
    expect(read.body.features.points_sum_1d).toBe(sum);
  });

  test('an integer beyond 64 bits, and one beyond 2⁵³ of a column that is none of 64 bits, fail alone', async () => {
    const good = { ...payment({ card: 'beyond' }), points: 1 };
    const events = [
      { ...good, id: 'beyond 1', points: 2n ** 64n - 1n },
      { ...good, id: 'beyond 2', amount: 2n ** 53n + 1n },
      { ...good, id: 'beyond 3', amount: Number.NaN },
      { ...good, id: 'beyond 4', at: 2n ** 60n },
      { ...good, id: 'beyond 5' },
    ];
    const pushed = await send({
      url: '/v1/sources/payments/events?wait=applied',
      body: encode({ events }, { useBigInt64: true }),
      contentType: MSGPACK,
    });
    expect(pushed.body).toMatchObject({ accepted: 1, duplicates: 0 });
    expect(
      pushed.body.rejected.map(({ index, code, column }: Record<string, unknown>) => [index, code, column]),
    ).toEqual([
      [0, 'integer_out_of_range', 'points'],
      [1, 'wrong_type', 'amount'],
      [2, 'number_out_of_range', 'amount'],
      [3, 'wrong_type', 'at'],
    ]);
  });

  test('that is not to be read is refused with 400', async () => {
    for (const body of [
      Buffer.from([0xc1]),
      Buffer.from([0xd4, 0x72, 0x40, 0x91]),
      Buffer.from('{"entities":{}}'),
    ]) {
      const answer = await send({ body, contentType: MSGPACK });
      expect([answer.status, answer.body.error.code]).toEqual([400, 'invalid_msgpack']);
    }
    const empty = await send({ body: Buffer.alloc(0), contentType: MSGPACK });
    expect([empty.status, empty.body.error.code]).toEqual([400, 'invalid_body']);
    const other = await send({ body: encode([1]), contentType: MSGPACK });
    expect([other.status, other.body.error.code]).toEqual([400, 'invalid_body']);
  });
});

describe('an Arrow stream', () => {
  const stream = async (rows: readonly unknown[], service = 'card', metadata = false) => {
    const answer = await send({
      url: `/v1/services/${service}/features/batch`,
      body: { rows, metadata },
      accept: ARROW_STREAM_TYPE,
    });
    expect([answer.status, answer.type]).toEqual([200, ARROW_STREAM_TYPE]);
    return decodeArrow(answer.bytes);
  };

  test('has a column for each feature, its status, and the row', async () => {
    const { columns, metadata, rows } = await stream([{ entities, at: NOON_MS }]);
    expect([...metadata]).toEqual([['service', 'card']]);
    const names = [
      ['payments_1h', 'int64'],
      ['amount_sum_1h', 'double'],
      ['amount_last_1h', 'double'],
      ['amounts_last_1h', 'list<item: double>'],
      ['amount_max_1d', 'double'],
      ['points_sum_1d', 'int64'],
      ['shops_1d', 'int64'],
      ['payments_before_1h', 'int64'],
      ['payments_ever', 'int64'],
      ['refusals_1h', 'int64'],
      ['hour', 'int64'],
    ] as const;
    expect([...columns]).toEqual([
      ...names,
      ...names.map(([name]) => [`${name}.status`, 'dictionary<utf8>']),
      ['row.at', 'timestamp<UTC>'],
      ['row.metadata', 'utf8'],
      ['row.error', 'utf8'],
    ]);
    expect(Object.fromEntries(rows[0]!)).toMatchObject({
      payments_1h: 1n,
      amount_sum_1h: 2.5,
      amounts_last_1h: [2.5],
      points_sum_1d: 9_007_199_254_740_993n,
      'points_sum_1d.status': 'present',
      'refusals_1h.status': 'empty',
      'row.at': NOON_MS,
      'row.metadata': null,
      'row.error': null,
    });
  });

  test('of no rows has its columns all the same', async () => {
    const { columns, rows } = await stream([]);
    expect(rows).toEqual([]);
    expect(columns.get('amounts_last_1h')).toBe('list<item: double>');
  });

  test('tells refused rows and degraded values without being asked', async () => {
    const both = { card: 'typed', shop: 's1' };
    const { rows } = await stream(
      [
        { entities: both, request: { amount: 5, mood: 'bad' } },
        { entities: { card: 'typed' }, request: { amount: 5 } },
        { entities: both, request: { amount: 5 } },
      ],
      'decision',
    );
    expect(rows[0]!.get('moody')).toBeNull();
    expect(rows[0]!.get('moody.status')).toBe('error');
    expect(JSON.parse(rows[0]!.get('row.metadata') as string).features).toEqual({
      after_moody: { status: 'error' },
      moody: { status: 'error' },
    });
    expect(JSON.parse(rows[1]!.get('row.error') as string)).toMatchObject({ code: 'missing_entity' });
    expect([...rows[1]!].filter(([, value]) => value !== null).map(([name]) => name)).toEqual(['row.error']);
    expect([rows[2]!.get('moody'), rows[2]!.get('moody.status'), rows[2]!.get('row.error')]).toEqual([
      1n,
      'present',
      null,
    ]);
  });

  test('has the bounds of windows in row.metadata where these are asked for', async () => {
    const { rows } = await stream([{ entities, at: NOON_MS }], 'card', true);
    const own = JSON.parse(rows[0]!.get('row.metadata') as string);
    const alone = await it.read('card', { entities, at: NOON_MS, metadata: true });
    expect(own).toEqual(alone.body.metadata);
  });

  test('counts its values like any other answer', async () => {
    const counted = async (): Promise<number> =>
      [
        ...String((await it.get('/metrics')).body).matchAll(/^millrace_feature_values_total\{.*\} (\d+)$/gm),
      ].reduce((sum, [, n]) => sum + Number(n), 0);
    const before = await counted();
    await stream([{ entities }, { entities: {} }, { entities }]);
    expect((await counted()) - before).toBe(22);
  });
});

test('/openapi.json names the content types', async () => {
  const { paths } = (await it.get('/openapi.json')).body;
  const bodies = [
    'application/json',
    'application/vnd.msgpack',
    'application/msgpack',
    'application/x-msgpack',
  ];
  const types = (path: string) => {
    const { requestBody, responses } = paths[path].post;
    return [Object.keys(requestBody.content), Object.keys(responses['200'].content)];
  };
  expect(types('/v1/services/{service}/features')).toEqual([bodies, FEATURES_TYPES]);
  expect(types('/v1/services/{service}/features/batch')).toEqual([bodies, BATCH_TYPES]);
  expect(types('/v1/sources/{source}/events')[0]).toEqual([...bodies, 'application/x-ndjson']);
});

test('a connection is kept for the next request, and the answer says for how long', async () => {
  await it.engine.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = it.engine.app.server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports: (number | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = httpRequest(
        {
          agent,
          host: '127.0.0.1',
          port,
          path: FEATURES,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
        },
        resolve,
      );
      sent.on('error', reject);
      sent.on('socket', (socket) => {
        if (socket.connecting) socket.once('connect', () => ports.push(socket.localPort));
        else ports.push(socket.localPort);
      });
      sent.end(JSON.stringify({ entities }));
    });
    expect(response.statusCode).toBe(200);
    expect(response.headers).toMatchObject({
      connection: 'keep-alive',
      'keep-alive': `timeout=${KEEP_ALIVE_MS / 1000}`,
    });
    await new Promise((resolve) => response.resume().once('end', resolve));
  }
  agent.destroy();
  expect(ports).toHaveLength(3);
  expect(new Set(ports).size).toBe(1);
});
