import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../../embedded/testing/test-repo.ts';

let it: TestEngine;
beforeAll(async () => {
  it = await TestEngine.open();
});
afterAll(() => it.close());

const ask = (card: string, more: object = {}) => it.read('card', { entities: { card }, ...more });
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

describe('POST /v1/services/{service}/features', () => {
  test('answers in the order of the service, empty keys with their empty answers', async () => {
    const { status, body } = await ask('never seen');
    expect(status).toBe(200);
    expect(Object.keys(body)).toEqual(['features']);
    expect(Object.entries(body.features)).toEqual([
      ['payments_1h', 0],
      ['amount_sum_1h', 0],
      ['amount_last_1h', null],
      ['amounts_last_1h', null],
      ['amount_max_1d', null],
      ['points_sum_1d', 0],
      ['shops_1d', 0],
      ['payments_before_1h', 0],
      ['payments_ever', 0],
      ['refusals_1h', 0],
      ['hour', 12],
    ]);
  });

  test('has exact edges: out at exactly the window, in one millisecond later', async () => {
    await it.push('payments', [payment({ card: 'edge', at: NOON_MS - HOUR_MS })]);
    const at = async (atMs: number) => (await ask('edge', { at: atMs })).body.features;
    expect((await at(NOON_MS)).payments_1h).toBe(0);
    expect((await at(NOON_MS)).payments_before_1h).toBe(1);
    expect((await at(NOON_MS - 1)).payments_1h).toBe(1);
    expect((await at(NOON_MS - HOUR_MS)).payments_1h).toBe(1);
    expect((await at(NOON_MS - HOUR_MS - 1)).payments_1h).toBe(0);
  });

  test('takes `at` as ISO 8601 with a zone, or as milliseconds', async () => {
    await it.push('payments', [payment({ card: 'iso', at: '2026-03-02T12:30:00+01:00' })]);
    for (const at of ['2026-03-02T11:30:00Z', '2026-03-02T12:30:00.000+01:00', NOON_MS - 30 * MINUTE_MS]) {
      expect((await ask('iso', { at })).body.features.payments_1h).toBe(1);
    }
    expect((await ask('iso', { at: '2026-03-02T11:29:59.999Z' })).body.features.payments_1h).toBe(0);
  });

  test('keys compare as text', async () => {
    await it.push('payments', [payment({ card: '1' })]);
    expect((await it.read('card', { entities: { card: 1 } })).body.features.payments_1h).toBe(1);
    expect((await ask('1')).body.features.payments_1h).toBe(1);
    expect((await ask('1.0')).body.features.payments_1h).toBe(0);
    expect((await ask(' 1')).body.features.payments_1h).toBe(0);
  });

  test('strange keys are keys like any other', async () => {
    const keys = [
      '',
      ' ',
      '__proto__',
      'constructor',
      'toString',
      '}{',
      '\u0000',
      'ключ',
      '🔑',
      'a:b',
      'k'.repeat(1_024),
    ];
    await it.push(
      'payments',
      keys.map((card, i) => payment({ card, amount: i + 1 })),
    );
    for (const [i, card] of keys.entries()) {
      const { features } = (await ask(card)).body;
      expect([features.payments_ever, features.amount_sum_1h]).toEqual([1, i + 1]);
    }
  });

  test('with metadata, gives as-of time, status and bounds', async () => {
    await it.push('payments', [payment({ card: 'meta', at: NOON_MS - MINUTE_MS })]);
    const { body } = await ask('meta', { at: NOON_MS, metadata: true });
    expect(body.metadata).toMatchObject({ at: '2026-03-02T12:00:00.000Z', at_ms: NOON_MS });
    expect(body.metadata.features.payments_1h).toEqual({
      status: 'present',
      window: { after: '2026-03-02T11:00:00.000Z', until: '2026-03-02T12:00:00.000Z' },
    });
    expect(body.metadata.features.payments_before_1h).toEqual({
      status: 'empty',
      window: { after: '2026-03-02T10:00:00.000Z', until: '2026-03-02T11:00:00.000Z' },
    });
    expect(body.metadata.features.payments_ever.window).toEqual({
      after: null,
      until: '2026-03-02T12:00:00.000Z',
    });
    expect(body.metadata.features.hour).toEqual({ status: 'present' });
  });

  test('computes on-demand features from features, request data and the as-of time', async () => {
    await it.push('payments', [payment({ card: 'od', shop: 'od', amount: 50 })]);
    const entities = { card: 'od', shop: 'od' };
    const { body } = await it.read('decision', { entities, request: { amount: 25 } });
    expect(body.features).toMatchObject({ amount_ratio: 0.5, moody: 1, after_moody: 2, shop_cents_1h: 5000 });
    expect((await ask('od', { at: NOON_MS - 6 * HOUR_MS })).body.features.hour).toBe(6);
  });

  test('an on-demand feature that throws has the status error, and so has what needs it; others do not', async () => {
    const entities = { card: 'od', shop: 'od' };
    for (const mood of ['bad', 'nan']) {
      const { status, body } = await it.read('decision', { entities, request: { amount: 5, mood } });
      expect(status).toBe(200);
      expect(body.features).toMatchObject({
        moody: null,
        after_moody: null,
        payments_1h: 1,
        amount_ratio: 0.1,
      });
      // Not asked for, named all the same: never a silent null.
      expect(body.metadata.features).toEqual({
        moody: { status: 'error' },
        after_moody: { status: 'error' },
      });
      expect(JSON.stringify(body)).not.toContain('secret');
    }
  });

  test('a late event lands where it belongs, a future one is invisible until its time', async () => {
    await it.push('payments', [
      payment({ card: 'late', at: NOON_MS + 5 * MINUTE_MS, amount: 3 }),
      payment({ card: 'late', at: NOON_MS - 50 * MINUTE_MS, amount: 1 }),
      payment({ card: 'late', at: NOON_MS - 55 * MINUTE_MS, amount: 2 }),
    ]);
    const now = (await ask('late')).body.features;
    expect([now.payments_1h, now.amount_last_1h]).toEqual([2, 1]);
    const later = (await ask('late', { at: NOON_MS + 5 * MINUTE_MS })).body.features;
    expect([later.payments_1h, later.amount_last_1h]).toEqual([2, 3]);
  });
});

describe('the event being decided', () => {
  const event = (columns: object, source = 'payments') => ({ source, data: payment(columns as never) });

  test('counts as if it had arrived, without being stored', async () => {
    const body = { event: event({ card: 'score', amount: 7, at: NOON_MS - MINUTE_MS }), metadata: true };
    const first = await it.read('card', body);
    expect(first.body.features).toMatchObject({
      payments_1h: 1,
      amount_sum_1h: 7,
      amount_last_1h: 7,
      payments_ever: 1,
    });
    expect(first.body.metadata.at_ms).toBe(NOON_MS - MINUTE_MS);
    expect((await it.read('card', body)).body.features.payments_1h).toBe(1);
    expect((await ask('score')).body.features.payments_1h).toBe(0);
  });

  test('is recorded in the same call with ingest, and never counted twice', async () => {
    const asked = event({ card: 'keep', amount: 7 });
    const body = { event: asked, ingest: true };
    const first = await it.read('card', body);
    expect(first.body).toMatchObject({
      ingested: 'recorded',
      features: { payments_1h: 1, amount_sum_1h: 7 },
    });
    const second = await it.read('card', body);
    expect(second.body).toMatchObject({
      ingested: 'duplicate',
      features: { payments_1h: 1, amount_sum_1h: 7 },
    });
    expect((await it.push('payments', [asked.data])).body).toMatchObject({ accepted: 0, duplicates: 1 });
    expect((await ask('keep')).body.features).toMatchObject({ payments_1h: 1, payments_ever: 1 });
    expect((await it.read('card', { event: asked })).body.features.payments_1h).toBe(1);
  });

  test('a source without ids counts it as the last of its millisecond', async () => {
    const click = { at: NOON_MS, card: 'clicking', page: 'a' };
    await it.push('clicks', [click]);
    const data = { ...click, page: 'b' };
    const { body } = await it.read('both', { event: { source: 'clicks', data }, ingest: true });
    expect(body).toMatchObject({
      ingested: 'recorded',
      features: { clicks_1h: 2, page_last_1h: 'b', payments_1h: 0 },
    });
    await it.push('clicks', [{ ...click, page: 'c' }]);
    expect((await it.read('both', { entities: { card: 'clicking' } })).body.features.clicks_1h).toBe(3);
  });

  test('events of its millisecond count only up to it in the order of ids', async () => {
    const ids = ['t1', 't2', 't3', 't4', 't5'];
    const events = ids.map((id, i) => payment({ id, card: 'ties', amount: 10 ** i, at: NOON_MS - 1 }));
    await it.push('payments', events);
    const totals: number[] = [];
    for (const data of events) {
      const { features } = (await it.read('card', { event: { source: 'payments', data } })).body;
      totals.push(features.payments_1h);
      expect(features.amount_last_1h).toBe(data.amount);
    }
    expect(totals.sort()).toEqual([1, 2, 3, 4, 5]);
    expect((await ask('ties', { at: NOON_MS - 1 })).body.features.payments_1h).toBe(5);
  });

  test('ties stop at it also in a view that filters it out, and for another key', async () => {
    const ids = ['u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'u8'];
    const refused = ids.map((id) => payment({ id, card: 'filtered', refused: true, at: NOON_MS - 2 }));
    await it.push('payments', refused);
    const counts = new Map<string, number>();
    for (const data of refused) {
      const { features } = (await it.read('card', { event: { source: 'payments', data } })).body;
      counts.set(String(data.id), features.refusals_1h);
    }
    expect([...counts.values()].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    // The same moment in the total order, asked by an event that is not refused, or is another card's.
    for (const [id, n] of counts) {
      const own = payment({ id, card: 'filtered', at: NOON_MS - 2 });
      const others = payment({ id, card: 'someone else', refused: true, at: NOON_MS - 2 });
      for (const data of [own, others]) {
        const body = { entities: { card: 'filtered' }, event: { source: 'payments', data } };
        expect((await it.read('card', body)).body.features.refusals_1h).toBe(n);
      }
    }
  });

  test('counts only for its own key and where the filter lets it through', async () => {
    const other = await it.read('card', { entities: { card: 'bystander' }, event: event({ card: 'actor' }) });
    expect(other.body.features.payments_1h).toBe(0);
    const own = await it.read('card', { event: event({ card: 'actor', refused: false }) });
    expect(own.body.features).toMatchObject({ payments_1h: 1, refusals_1h: 0 });
    const refused = await it.read('card', { event: event({ card: 'actor', refused: true }) });
    expect(refused.body.features).toMatchObject({ payments_1h: 1, refusals_1h: 1 });
  });

  test('at a later `at` it counts while it is in the window', async () => {
    const asked = event({ card: 'later', at: NOON_MS - HOUR_MS + 1 });
    const entities = { card: 'later' };
    expect((await it.read('card', { entities, event: asked, at: NOON_MS })).body.features.payments_1h).toBe(
      1,
    );
    const gone = await it.read('card', { entities, event: asked, at: NOON_MS + 1 });
    expect(gone.body.features).toMatchObject({ payments_1h: 0, payments_before_1h: 1 });
    const before = await it.read('card', { entities, event: asked, at: NOON_MS - HOUR_MS });
    expect(before.body.features.payments_1h).toBe(0);
  });

  test('fills in the entities; one it has no key for must be given', async () => {
    const asked = event({ card: 'fill', shop: 'fill' });
    const filled = await it.read('decision', { event: asked, request: { amount: 1 } });
    expect(filled).toMatchObject({
      status: 200,
      body: { features: { shop_payments_1h: 1, payments_1h: 1 } },
    });
    const keyless = await it.read('decision', { event: event({ shop: null }), request: { amount: 1 } });
    expect(keyless).toMatchObject({
      status: 400,
      body: { error: { code: 'missing_entity', details: { entity: 'shop' } } },
    });
  });

  test('one that a projection cannot use is refused, and not recorded', async () => {
    const asked = event({ card: 'neg', shop: 'neg', amount: -1 });
    const body = { event: asked, request: { amount: 1 }, ingest: true };
    const answer = await it.read('decision', body);
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'event_not_usable', details: { view: 'shops', column: 'cents' } } },
    });
    await it.push('payments', [payment({ card: 'other' })]);
    expect((await ask('neg')).body.features.payments_1h).toBe(0);
  });
});

describe('POST /v1/services/{service}/features/batch', () => {
  const batch = (body: unknown) => it.post('/v1/services/card/features/batch', body);

  test('answers every row; a bad one fails alone', async () => {
    await it.push('payments', [payment({ card: 'b1' }), payment({ card: 'b2' }), payment({ card: 'b2' })]);
    const { status, body } = await batch({
      rows: [
        { entities: { card: 'b1' } },
        { entities: {} },
        { entities: { card: 'b2' }, at: NOON_MS },
        { event: { source: 'payments', data: payment({ card: 'b2', at: NOON_MS + 1 }) } },
        { entities: { card: 'b2' }, at: 'yesterday' },
        { entities: { card: 'b2' }, ingest: true },
        17,
      ],
    });
    expect(status).toBe(200);
    // biome-ignore lint/suspicious/noExplicitAny: an answer or an error.
    expect(body.rows.map(({ features, error }: any) => features?.payments_1h ?? error?.code)).toEqual([
      1,
      'missing_entity',
      2,
      3,
      'invalid_at',
      'unknown_field',
      'invalid_body',
    ]);
  });

  test('answers many rows as it answers each alone, and takes an empty batch', async () => {
    const rows = Array.from({ length: 150 }, (_, i) => ({
      entities: { card: `b${i % 4}` },
      at: NOON_MS - i,
    }));
    const { body } = await batch({ rows, metadata: true });
    expect(body.rows).toHaveLength(150);
    for (const i of [0, 1, 2, 63, 64, 65, 149]) {
      expect(body.rows[i]).toEqual((await it.read('card', { ...rows[i], metadata: true })).body);
    }
    expect(await batch({ rows: [] })).toMatchObject({ status: 200, body: { rows: [] } });
  });

  test('refuses a batch of too many rows, or with unknown fields', async () => {
    const rows = Array.from({ length: 1_001 }, () => ({ entities: { card: 'x' } }));
    expect(await batch({ rows })).toMatchObject({ status: 413, body: { error: { code: 'too_many_rows' } } });
    expect(await batch({ rows: [], at: 1 })).toMatchObject({
      status: 400,
      body: { error: { code: 'unknown_field' } },
    });
    expect(await batch({ rows: {} })).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_body' } },
    });
  });
});
