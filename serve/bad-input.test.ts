/** Every bad input gets a clear 4xx in our shape, says nothing of keys or values, and changes nothing. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';

let it: TestEngine;
beforeAll(async () => {
  it = await TestEngine.open();
});
afterAll(() => it.close());

const EVENTS = '/v1/sources/payments/events';
const CARD = '/v1/services/card/features';
const DECISION = '/v1/services/decision/features';
const SECRET = 'very-secret-value';
const JSON_TYPE = 'application/json';

interface BadInput {
  readonly what: string;
  readonly url: string;
  readonly body: unknown;
  readonly contentType?: string;
  readonly status: number;
  readonly code: string;
  /** What the message must name. */
  readonly names?: string;
  readonly details?: object;
}

const entities = { card: SECRET };
const asked = (data: unknown) => ({ event: { source: 'payments', data } });
const BAD: readonly BadInput[] = [
  {
    what: 'a body that is no JSON',
    url: EVENTS,
    body: `{"events":["${SECRET}`,
    status: 400,
    code: 'invalid_json',
  },
  { what: 'NaN, which is no JSON', url: CARD, body: '{"at": NaN}', status: 400, code: 'invalid_json' },
  {
    what: 'bytes that are no UTF-8',
    url: CARD,
    body: Buffer.from([0x22, 0xff, 0x22]),
    status: 400,
    code: 'invalid_json',
  },
  {
    what: 'bytes that are no UTF-8 in NDJSON',
    url: EVENTS,
    body: Buffer.from([0xff]),
    contentType: 'application/x-ndjson',
    status: 400,
    code: 'invalid_json',
  },
  {
    what: '__proto__ as a field',
    url: EVENTS,
    body: '{"__proto__":{"events":[]}}',
    status: 400,
    code: 'invalid_json',
    names: '__proto__',
  },
  {
    what: '__proto__ as an entity',
    url: CARD,
    body: '{"entities":{"__proto__":"1"}}',
    status: 400,
    code: 'invalid_json',
  },
  {
    what: 'a prototype in constructor',
    url: CARD,
    body: '{"constructor":{"prototype":{"a":1}}}',
    status: 400,
    code: 'invalid_json',
  },
  { what: 'no body', url: CARD, body: '', status: 400, code: 'invalid_body' },
  { what: 'an array as body', url: CARD, body: [], status: 400, code: 'invalid_body' },
  { what: 'null as body', url: EVENTS, body: null, status: 400, code: 'invalid_body' },
  ...[
    { what: 'features that are no array', features: 'payments_1h', names: 'array' },
    { what: 'no features', features: [], names: 'leave it out' },
    { what: 'features that are no text', features: [['payments_1h']], names: 'as text' },
    { what: 'a feature twice', features: ['hour', 'payments_1h', 'hour'], names: "'hour'" },
  ].map(({ what, features, names }) => ({
    what,
    url: CARD,
    body: { entities, features },
    status: 400,
    code: 'invalid_body',
    names,
    details: { field: 'features', expected: expect.arrayContaining(['payments_1h', 'refusals_1h']) },
  })),
  ...['nothing', 'payments_1h,hour', '', 'constructor', '__proto__', 'cents'].map((feature) => ({
    what: `the unknown feature '${feature}'`,
    url: CARD,
    body: { entities, features: ['hour', feature] },
    status: 400,
    code: 'unknown_feature',
    names: `'${feature}'`,
    details: { expected: expect.arrayContaining(['payments_1h', 'hour']) },
  })),
  {
    what: 'an unknown feature for a batch',
    url: `${CARD}/batch`,
    body: { rows: [], features: ['nothing'] },
    status: 400,
    code: 'unknown_feature',
    names: "'nothing'",
  },
  {
    what: 'features of a row',
    url: `${CARD}/batch`,
    body: { rows: [], feature: ['hour'] },
    status: 400,
    code: 'unknown_field',
    names: "'feature'",
  },
  ...[CARD, `${CARD}/batch`].map((url) => ({
    what: `an unknown mode at ${url}`,
    url,
    body: url === CARD ? { entities, mode: 'lenient' } : { rows: [], mode: 'lenient' },
    status: 400,
    code: 'invalid_body',
    names: 'strict or partial',
    details: { field: 'mode', expected: ['strict', 'partial'] },
  })),
  {
    what: 'a key of an entity that the features asked for do not need, but that is none',
    url: DECISION,
    body: { entities: { card: 1.5 }, features: ['moody'] },
    status: 400,
    code: 'invalid_entity_key',
    names: "'card'",
  },
  {
    what: 'request data that the features asked for do not need, but that is none',
    url: DECISION,
    body: { request: { amount: SECRET }, features: ['moody'] },
    status: 400,
    code: 'invalid_request_data',
    names: "'amount'",
  },
  { what: 'no events', url: EVENTS, body: {}, status: 400, code: 'invalid_body', names: "'events'" },
  {
    what: 'events that are no array',
    url: EVENTS,
    body: { events: {} },
    status: 400,
    code: 'invalid_body',
    names: "'events'",
  },
  {
    what: 'an unknown field of a push',
    url: EVENTS,
    body: { events: [], event: [] },
    status: 400,
    code: 'unknown_field',
    names: "'event'",
  },
  {
    what: 'an unknown field',
    url: CARD,
    body: { entities, As_of: 1 },
    status: 400,
    code: 'unknown_field',
    names: "'As_of'",
  },
  {
    what: 'constructor as a field',
    url: CARD,
    body: { entities, constructor: 1 },
    status: 400,
    code: 'unknown_field',
    names: "'constructor'",
  },
  {
    what: 'entities that are no object',
    url: CARD,
    body: { entities: ['1'] },
    status: 400,
    code: 'invalid_body',
    names: "'entities'",
  },
  {
    what: 'request that is no object',
    url: CARD,
    body: { entities, request: 1 },
    status: 400,
    code: 'invalid_body',
    names: "'request'",
  },
  {
    what: 'metadata that is no boolean',
    url: CARD,
    body: { entities, metadata: 'yes' },
    status: 400,
    code: 'invalid_body',
    names: "'metadata'",
  },
  {
    what: 'ingest that is no boolean',
    url: CARD,
    body: { entities, ingest: 1 },
    status: 400,
    code: 'invalid_body',
    names: "'ingest'",
  },
  {
    what: 'event that is no object',
    url: CARD,
    body: { entities, event: 1 },
    status: 400,
    code: 'invalid_body',
    names: "'event'",
  },
  {
    what: 'event without a source',
    url: CARD,
    body: { entities, event: { data: {} } },
    status: 400,
    code: 'invalid_body',
    names: "'event.source'",
  },
  {
    what: 'an unknown field of event',
    url: CARD,
    body: { entities, event: { source: 'payments', data: {}, id: 1 } },
    status: 400,
    code: 'unknown_field',
    names: "'id'",
  },
  {
    what: 'an unknown query parameter',
    url: `${EVENTS}?dryrun=true`,
    body: { events: [] },
    status: 400,
    code: 'unknown_parameter',
    names: "'dryrun'",
  },
  {
    what: 'constructor as a query parameter',
    url: `${EVENTS}?constructor=1`,
    body: { events: [] },
    status: 400,
    code: 'unknown_parameter',
    names: "'constructor'",
  },
  {
    what: 'a wrong value of wait',
    url: `${EVENTS}?wait=forever`,
    body: { events: [] },
    status: 400,
    code: 'invalid_parameter',
    names: "'wait'",
  },
  {
    what: 'a repeated parameter',
    url: `${EVENTS}?wait=durable&wait=applied`,
    body: { events: [] },
    status: 400,
    code: 'invalid_parameter',
  },
  {
    what: 'an unknown source',
    url: '/v1/sources/payment/events',
    body: { events: [] },
    status: 404,
    code: 'unknown_source',
    names: "'payment'",
  },
  {
    what: '__proto__ as source',
    url: '/v1/sources/__proto__/events',
    body: { events: [] },
    status: 404,
    code: 'unknown_source',
  },
  {
    what: 'constructor as source',
    url: '/v1/sources/constructor/events',
    body: { events: [] },
    status: 404,
    code: 'unknown_source',
  },
  {
    what: 'an unknown service',
    url: '/v1/services/cards/features',
    body: { entities },
    status: 404,
    code: 'unknown_service',
    names: "'cards'",
  },
  {
    what: '__proto__ as service',
    url: '/v1/services/__proto__/features',
    body: {},
    status: 404,
    code: 'unknown_service',
  },
  {
    what: 'constructor as service',
    url: '/v1/services/constructor/features/batch',
    body: { rows: [] },
    status: 404,
    code: 'unknown_service',
  },
  {
    what: 'a missing entity',
    url: CARD,
    body: {},
    status: 400,
    code: 'missing_entity',
    names: "'card'",
    details: { entity: 'card' },
  },
  {
    what: 'a null key',
    url: CARD,
    body: { entities: { card: null } },
    status: 400,
    code: 'missing_entity',
    names: "'card'",
  },
  {
    what: 'one of two entities',
    url: DECISION,
    body: { entities, request: { amount: 1 } },
    status: 400,
    code: 'missing_entity',
    names: "'shop'",
  },
  {
    what: 'an unknown entity',
    url: CARD,
    body: { entities: { ...entities, shop: '1' } },
    status: 400,
    code: 'unknown_entity',
    names: "'shop'",
  },
  {
    what: 'constructor as an entity',
    url: CARD,
    body: { entities: { ...entities, constructor: '1' } },
    status: 400,
    code: 'unknown_entity',
    names: "'constructor'",
  },
  {
    what: 'a boolean key',
    url: CARD,
    body: { entities: { card: true } },
    status: 400,
    code: 'invalid_entity_key',
    names: "'card'",
  },
  {
    what: 'a fractional key',
    url: CARD,
    body: { entities: { card: 1.5 } },
    status: 400,
    code: 'invalid_entity_key',
  },
  {
    what: 'an integer key beyond 2⁵³',
    url: CARD,
    body: '{"entities":{"card":9007199254740993}}',
    status: 400,
    code: 'invalid_entity_key',
  },
  {
    what: 'an object as key',
    url: CARD,
    body: { entities: { card: {} } },
    status: 400,
    code: 'invalid_entity_key',
  },
  {
    what: 'a key with a lone surrogate',
    url: CARD,
    body: '{"entities":{"card":"\\ud800"}}',
    status: 400,
    code: 'invalid_entity_key',
  },
  {
    what: 'a key of 10 kB',
    url: CARD,
    body: { entities: { card: SECRET.repeat(600) } },
    status: 400,
    code: 'key_too_long',
    names: "'card'",
  },
  {
    what: 'a key of 1025 bytes',
    url: CARD,
    body: { entities: { card: `${'é'.repeat(512)}x` } },
    status: 400,
    code: 'key_too_long',
  },
  {
    what: 'missing request data',
    url: DECISION,
    body: { entities: { card: '1', shop: '1' } },
    status: 400,
    code: 'missing_request_data',
    names: "'amount'",
  },
  {
    what: 'null request data',
    url: DECISION,
    body: { entities: { card: '1', shop: '1' }, request: { amount: null } },
    status: 400,
    code: 'missing_request_data',
    names: "'amount'",
  },
  {
    what: 'request data nobody needs',
    url: CARD,
    body: { entities, request: { amount: 1 } },
    status: 400,
    code: 'unknown_request_data',
    names: "'amount'",
  },
  {
    what: 'constructor as request data',
    url: DECISION,
    body: { entities: { card: '1', shop: '1' }, request: { amount: 1, constructor: 1 } },
    status: 400,
    code: 'unknown_request_data',
    names: "'constructor'",
  },
  {
    what: 'request data of the wrong type',
    url: DECISION,
    body: { entities: { card: '1', shop: '1' }, request: { amount: SECRET } },
    status: 400,
    code: 'invalid_request_data',
    names: "'amount'",
    details: { code: 'wrong_type', column: 'amount' },
  },
  {
    what: '`at` without a zone',
    url: CARD,
    body: { entities, at: '2026-03-02T12:00:00' },
    status: 400,
    code: 'invalid_at',
  },
  {
    what: '`at` as fractional ms',
    url: CARD,
    body: { entities, at: NOON_MS + 0.5 },
    status: 400,
    code: 'invalid_at',
  },
  {
    what: '`at` beyond all numbers',
    url: CARD,
    body: `{"entities":{"card":"1"},"at":1e999}`,
    status: 400,
    code: 'invalid_at',
  },
  { what: '`at` before 1970', url: CARD, body: { entities, at: -1 }, status: 400, code: 'invalid_at' },
  { what: '`at` as a boolean', url: CARD, body: { entities, at: true }, status: 400, code: 'invalid_at' },
  {
    what: 'a day that does not exist',
    url: CARD,
    body: { entities, at: '2026-02-30T12:00:00Z' },
    status: 400,
    code: 'invalid_at',
  },
  // The smallest asOfRetention of the service's views is 6 h.
  {
    what: '`at` before the retention',
    url: CARD,
    body: { entities, at: NOON_MS - 21_600_001 },
    status: 400,
    code: 'at_too_old',
    details: { as_of_retention_ms: 21_600_000 },
  },
  {
    what: '`at` in the future',
    url: CARD,
    body: { entities, at: NOON_MS + 600_001 },
    status: 400,
    code: 'at_in_future',
    details: { max_future_ms: 600_000 },
  },
  {
    what: 'an event of an unknown source',
    url: CARD,
    body: { entities, event: { source: '__proto__x', data: {} } },
    status: 404,
    code: 'unknown_source',
  },
  {
    what: 'an event of a source the service does not read',
    url: CARD,
    body: { entities, event: { source: 'clicks', data: {} } },
    status: 400,
    code: 'event_not_used',
    names: "'clicks'",
  },
  {
    what: 'an event that does not fit',
    url: CARD,
    body: asked({ ...payment(), amount: SECRET }),
    status: 400,
    code: 'invalid_event',
    names: "'amount'",
    details: { code: 'wrong_type', column: 'amount' },
  },
  {
    what: 'an event without data',
    url: CARD,
    body: { event: { source: 'payments' } },
    status: 400,
    code: 'invalid_event',
  },
  {
    what: 'an event with a key of 10 kB',
    url: CARD,
    body: asked(payment({ card: SECRET.repeat(600) })),
    status: 400,
    code: 'invalid_event',
    details: { code: 'key_too_long', column: 'card' },
  },
  {
    what: 'an event too far in the future',
    url: CARD,
    body: { ...asked(payment({ at: NOON_MS + 600_001 })), at: NOON_MS, ingest: true },
    status: 400,
    code: 'invalid_event',
    details: { code: 'too_far_in_future', column: 'at' },
  },
  {
    what: 'an event older than the retention',
    url: CARD,
    body: { ...asked(payment({ at: NOON_MS - 21_600_001 })), ingest: true },
    status: 400,
    code: 'at_too_old',
  },
  {
    what: 'ingest without an event',
    url: CARD,
    body: { entities, ingest: true },
    status: 400,
    code: 'event_required',
    names: "'event'",
  },
  {
    what: 'ingest of an event with a bad question',
    url: CARD,
    body: { ...asked(payment()), at: 'now', ingest: true },
    status: 400,
    code: 'invalid_at',
  },
  { what: 'an unknown route', url: '/v1/features', body: {}, status: 404, code: 'not_found' },
  { what: 'a GET-only route', url: '/v1/catalog', body: {}, status: 405, code: 'method_not_allowed' },
  {
    what: 'a URL that cannot be decoded',
    url: '/v1/services/%zz/features',
    body: {},
    status: 400,
    code: 'bad_request',
  },
  {
    what: 'a parameter of 2 kB',
    url: `/v1/services/${'s'.repeat(2_000)}/features`,
    body: {},
    status: 400,
    code: 'bad_request',
  },
  {
    what: 'a text body',
    url: CARD,
    body: 'card=1',
    contentType: 'text/plain',
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    what: 'NDJSON for features',
    url: CARD,
    body: '{}',
    contentType: 'application/x-ndjson',
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    what: 'a body of more than 16 MiB',
    url: EVENTS,
    body: Buffer.alloc(16 * 1024 * 1024 + 1, 0x20),
    status: 413,
    code: 'body_too_large',
  },
  {
    what: 'a request for one row of more than 1 MiB',
    url: CARD,
    body: Buffer.alloc(1024 * 1024 + 1, 0x20),
    status: 413,
    code: 'body_too_large',
  },
  {
    what: '300,000 events',
    url: EVENTS,
    body: { events: new Array(300_000).fill({}) },
    status: 413,
    code: 'too_many_events',
    details: { limit: 50_000 },
  },
];

function expectError(answer: Answer, status: number, code: string): void {
  expect([answer.status, answer.body.error?.code]).toEqual([status, code]);
  expect(Object.keys(answer.body)).toEqual(['error']);
  expect(Object.keys(answer.body.error)).toEqual(['code', 'message', 'details']);
  const text = JSON.stringify(answer.body);
  expect(text).not.toContain(SECRET);
  expect(text).not.toMatch(/node_modules|\.ts:|at Object\./);
}

describe('bad input', () => {
  test.each(BAD)('$what: $status $code', async ({ url, body, contentType, status, code, names, details }) => {
    const before = await it.recorded();
    const answer = await it.post(url, body, contentType ?? JSON_TYPE);
    expectError(answer, status, code);
    if (names !== undefined) expect(answer.body.error.message).toContain(names);
    if (details !== undefined) expect(answer.body.error.details).toMatchObject(details);
    expect(await it.recorded()).toBe(before);
  });

  test('names in messages are short and printable', async () => {
    const { body } = await it.post(CARD, { entities: { [`\u001b[31m${'é'.repeat(500)}`]: '1' } });
    expect(body.error.message).toMatch(/^[\x20-\x7e…]{1,130}$/);
  });

  test('other methods are named in the header allow, before the body is looked at', async () => {
    const response = await it.engine.app.inject({
      method: 'PUT',
      url: EVENTS,
      headers: { 'content-type': 'text/plain' },
      payload: '1',
    });
    expect(response.statusCode).toBe(405);
    expect(response.headers.allow).toBe('POST');
  });

  test('a compressed body is refused', async () => {
    const response = await it.engine.app.inject({
      method: 'POST',
      url: CARD,
      headers: { 'content-type': JSON_TYPE, 'content-encoding': 'gzip' },
      payload: Buffer.from([0x1f, 0x8b]),
    });
    expect(response.statusCode).toBe(415);
    expect(response.json().error.code).toBe('unsupported_media_type');
  });

  test('what breaks HTTP itself is answered in the same shape', async () => {
    await it.engine.app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = it.engine.app.server.address() as { port: number };
    const send = (text: string): Promise<string> =>
      new Promise((resolve, reject) => {
        let received = '';
        const socket = connect(port, '127.0.0.1', () => socket.write(text));
        socket.setEncoding('utf8');
        socket.on('data', (data: string) => {
          received += data;
        });
        socket.on('close', () => resolve(received));
        socket.on('error', reject);
      });
    const answerTo = async (text: string) => {
      const [head, body] = (await send(text)).split('\r\n\r\n');
      return { status: head!.split(' ')[1], code: JSON.parse(body!).error.code };
    };
    expect(await answerTo('nonsense\r\n\r\n')).toEqual({ status: '400', code: 'bad_request' });
    const huge = `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`;
    expect(await answerTo(huge)).toEqual({ status: '431', code: 'headers_too_large' });
    it.engine.app.server.once('connection', (socket) => {
      const error = Object.assign(new Error('slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
      it.engine.app.server.emit('clientError', error, socket);
    });
    expect(await answerTo('GET / HTTP/1.1\r\n')).toEqual({ status: '408', code: 'request_timeout' });
  });
});
