import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../../embedded/testing/test-repo.ts';

let it: TestEngine;
beforeAll(async () => {
  it = await TestEngine.open({ limits: { events: 100 } });
});
afterAll(() => it.close());

const URL = '/v1/sources/payments/events';
const countOf = async (card: string): Promise<number> => {
  const { body } = await it.read('card', { entities: { card } });
  return body.features.payments_ever;
};

describe('POST /v1/sources/{source}/events', () => {
  test('keeps the valid rows of a mixed batch and lists every other one', async () => {
    const { status, body } = await it.push('payments', [
      payment({ card: 'mixed' }),
      payment({ card: 'mixed', amount: 'much' }),
      'not an event',
      payment({ card: undefined }),
      payment({ card: 'mixed', at: NOON_MS + 600_001 }),
      payment({ card: 'x'.repeat(1_025) }),
      payment({ card: 'mixed', points: 2 ** 53 }),
      payment({ card: 'mixed', at: '2026-03-02T12:00:00' }),
      payment({ card: 'mixed', at: NOON_MS + 600_000 }),
    ]);
    expect(status).toBe(200);
    expect(body.accepted).toBe(2);
    expect(
      body.rejected.map(({ index, code, column }: Record<string, unknown>) => [index, code, column]),
    ).toEqual([
      [1, 'wrong_type', 'amount'],
      [2, 'not_an_object', null],
      [3, 'missing_value', 'card'],
      [4, 'too_far_in_future', 'at'],
      [5, 'key_too_long', 'card'],
      [6, 'integer_out_of_range', 'points'],
      [7, 'invalid_timestamp', 'at'],
    ]);
    expect(await countOf('mixed')).toBe(1);
  });

  test('answers 422 with the counts only if every event was rejected', async () => {
    const { status, body } = await it.push('payments', [payment({ amount: null }), {}]);
    expect(status).toBe(422);
    expect(body).toMatchObject({ accepted: 0, duplicates: 0, rejected: [{ index: 0 }, { index: 1 }] });
    const one = payment();
    await it.push('payments', [one]);
    expect((await it.push('payments', [one, {}])).status).toBe(200);
  });

  test('answers an empty push with zeros', async () => {
    for (const body of [{ events: [] }]) {
      expect(await it.post(URL, body)).toMatchObject({
        status: 200,
        body: { accepted: 0, duplicates: 0, rejected: [] },
      });
    }
    expect((await it.post(URL, '', 'application/x-ndjson')).status).toBe(200);
  });

  test('counts an id once, within a push and across pushes', async () => {
    const event = payment({ card: 'dup' });
    const other = payment({ card: 'dup' });
    expect((await it.push('payments', [event, event, other])).body).toMatchObject({
      accepted: 2,
      duplicates: 1,
    });
    expect((await it.push('payments', [event])).body).toMatchObject({ accepted: 0, duplicates: 1 });
    const far = { ...event, at: NOON_MS - 3_600_001 };
    expect((await it.push('payments', [far])).body).toMatchObject({ accepted: 1, duplicates: 0 });
    expect(await countOf('dup')).toBe(3);
  });

  test('counts different events of a source without ids, even if they are equal', async () => {
    const click = { at: NOON_MS, card: 'clicker', page: 'home' };
    expect((await it.push('clicks', [click, click])).body).toMatchObject({ accepted: 2, duplicates: 0 });
    const { body } = await it.read('both', { entities: { card: 'clicker' } });
    expect(body.features.clicks_1h).toBe(2);
  });

  test('takes NDJSON, blank lines and CRLF included, and lists lines that are no JSON', async () => {
    const lines = [
      JSON.stringify(payment({ card: 'nd' })),
      '',
      '{"id":',
      JSON.stringify(payment({ card: 'nd' })),
    ];
    const { status, body } = await it.post(`${URL}?wait=applied`, lines.join('\r\n'), 'application/x-ndjson');
    expect(status).toBe(200);
    expect(body).toMatchObject({ accepted: 2, rejected: [{ index: 1, code: 'not_json', column: null }] });
    expect(await countOf('nd')).toBe(2);
    const evil = await it.post(URL, '{"id":"e","__proto__":{"card":"nd"}}', 'application/x-ndjson');
    expect(evil).toMatchObject({ status: 422, body: { rejected: [{ code: 'not_json' }] } });
  });

  test('changes nothing in a dry run', async () => {
    const event = payment({ card: 'dry' });
    const dry = await it.post(`${URL}?dry_run=true`, { events: [event, event, {}] });
    expect(dry).toMatchObject({
      status: 200,
      body: { accepted: 1, duplicates: 1, rejected: [{ index: 2 }] },
    });
    expect((await it.post(`${URL}?dry_run=true`, { events: [{}] })).status).toBe(422);
    expect(await countOf('dry')).toBe(0);
    expect((await it.push('payments', [event])).body).toMatchObject({ accepted: 1, duplicates: 0 });
    expect((await it.post(`${URL}?dry_run=true`, { events: [event] })).body).toMatchObject({ duplicates: 1 });
  });

  test('with wait=applied, the next read sees the events, every time', async () => {
    for (let n = 1; n <= 40; n++) {
      expect((await it.push('payments', [payment({ card: 'fresh' })])).status).toBe(200);
      expect(await countOf('fresh')).toBe(n);
    }
  });

  test('keeps 64-bit integers to the last digit', async () => {
    await it.push('payments', [
      payment({ card: 'big', points: '9007199254740993' }),
      payment({ card: 'big', points: 1 }),
    ]);
    const { body } = await it.read('card', { entities: { card: 'big' } });
    expect(body.features.points_sum_1d).toBe('9007199254740994');
  });

  test('an event without a key for an entity does not count there, and does elsewhere', async () => {
    await it.push('payments', [payment({ card: 'nokey', shop: null }), payment({ card: '', shop: 's' })]);
    expect(await countOf('nokey')).toBe(1);
    expect(await countOf('')).toBe(1);
  });

  test('refuses more events than the limit', async () => {
    const events = Array.from({ length: 101 }, () => payment({ card: 'many' }));
    expect(await it.post(URL, { events })).toMatchObject({
      status: 413,
      body: { error: { code: 'too_many_events' } },
    });
    const lines = events.map((event) => JSON.stringify(event)).join('\n');
    const ndjson = await it.post(URL, lines, 'application/x-ndjson');
    expect(ndjson).toMatchObject({ status: 413, body: { error: { code: 'too_many_events' } } });
    expect(await countOf('many')).toBe(0);
  });
});
