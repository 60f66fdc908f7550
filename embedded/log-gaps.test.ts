/** Records that are gone from an embedded log before they were applied: what reads, readiness and metrics say. */
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import type { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { compose, type Embedded, type RuntimeOptions } from './runtime.ts';
import { openMemoryStorage, type Storage } from './storage.ts';
import { losePayments } from './testing/lost-records.ts';
import { NOON_MS, payment, testRepo } from './testing/test-repo.ts';

const HOUR_MS = 3_600_000;

let clock: ManualClock;
let storage: Storage;
let engine: Embedded;

beforeEach(() => {
  clock = new ManualClock(NOON_MS);
  storage = openMemoryStorage();
});
afterEach(() => engine.close());

/** Another engine on the same log and store. */
const open = async (options: Partial<RuntimeOptions> = {}): Promise<void> => {
  const kept = { ...storage, close: async () => {} };
  engine = await compose({ repo: testRepo, wallClock: clock, drainTimeoutMs: 1, ...options }, kept);
};
const get = async (url: string) => {
  const response = await engine.app.inject(url);
  return { status: response.statusCode, body: response.json() };
};
const read = async (service: string, asked: Record<string, unknown>) => {
  const url = `/v1/services/${service}/features`;
  const response = await engine.app.inject({ method: 'POST', url, payload: asked });
  return response.json();
};
const card = async () => (await read('card', { entities: { card: 'c1' } })).metadata?.features ?? {};
const openGaps = async (): Promise<string[]> => {
  const text = (await engine.app.inject('/metrics')).body;
  return [...text.matchAll(/^millrace_log_gaps_open\{source="payments".*\} (\d+)$/gm)].map(([, n]) => n!);
};

/** Two payments are applied; of three more that come while no engine runs, two are gone. */
const loseSome = async (): Promise<void> => {
  await open();
  await engine.push.push('payments', [payment(), payment()], { wait: 'applied' });
  await engine.close();
  clock.advanceTo(NOON_MS + HOUR_MS);
  await losePayments(storage, clock);
};

const missing = {
  after: new Date(NOON_MS).toISOString(),
  until: new Date(NOON_MS + HOUR_MS).toISOString(),
};

describe('records that an embedded log has lost', () => {
  test('show in every value they may be missing in, in readiness and metrics, also after a restart', async () => {
    await loseSome();
    for (let starts = 0; starts < 2; starts++) {
      await open();
      await engine.ready();
      // Nobody asked for metadata: what is not what it seems to be says so all the same.
      const features = await card();
      expect(features.payments_ever).toMatchObject({ status: 'catching_up', missing });
      expect(features.refusals_1h).toMatchObject({ status: 'catching_up', missing });
      expect(features.hour).toBeUndefined();
      expect(await openGaps()).toEqual(['1']);
      expect(await get('/readyz')).toMatchObject({
        status: 200,
        body: {
          status: 'ready',
          warnings: [
            expect.stringMatching(
              /partition 0: records 2 to 3, appended .*: millrace gaps acknowledge payments$/,
            ),
            // Windows without an end would reach it also in a store that is filled again.
            expect.stringMatching(/its log has lost records in partition 0 /),
          ],
        },
      });
      if (starts === 0) await engine.close();
    }
  });

  test('show in what is computed from such values, and end with the windows that reach back to them', async () => {
    await loseSome();
    await open();
    await engine.ready();
    const asked = {
      entities: { card: 'c1', shop: 's1' },
      request: { amount: 1, mood: null },
      metadata: true,
    };
    const { features } = (await read('decision', asked)).metadata;
    expect(features.amount_ratio).toMatchObject({ status: 'catching_up', missing });
    expect(features.after_moody).toEqual({ status: 'present' });

    clock.advanceTo(NOON_MS + 3 * HOUR_MS);
    const later = (await read('card', { entities: { card: 'c1' }, metadata: true })).metadata.features;
    expect(later.payments_1h.status).toBe('empty');
    expect(later.payments_1h.missing).toBeUndefined();
    expect(later.amount_max_1d).toMatchObject({ status: 'catching_up', missing });
    // An hour ago the window did.
    const then = { entities: { card: 'c1' }, metadata: true, at: NOON_MS + 1.5 * HOUR_MS };
    expect((await read('card', then)).metadata.features.payments_1h).toMatchObject({ missing });
  });

  test('are listed, and forgotten when somebody acknowledges them, for good and also by a consumer at work', async () => {
    await loseSome();
    const acknowledged: string[] = [];
    const write = (line: string): void => {
      if (line.includes('acknowledged')) acknowledged.push(line);
    };
    await open({ logger: pino({ level: 'warn' }, { write }) });
    await engine.ready();
    const views = ['spend', 'refusals', 'shops'];
    const gap = { source: 'payments', partition: 0, from_offset: 2, to_offset: 4, ...missing, views };
    expect(await get('/v1/gaps')).toEqual({ status: 200, body: { gaps: [gap] } });

    const acknowledge = async (payload: object) => {
      const response = await engine.app.inject({ method: 'POST', url: '/v1/gaps/acknowledge', payload });
      return { status: response.statusCode, body: response.json() };
    };
    expect((await acknowledge({})).body.error.code).toBe('invalid_body');
    expect((await acknowledge({ source: 'no such' })).body.error.code).toBe('unknown_source');
    expect((await get('/v1/gaps')).body.gaps).toHaveLength(1);
    expect(await acknowledge({ source: 'payments' })).toEqual({ status: 200, body: { acknowledged: 1 } });
    expect(acknowledged).toHaveLength(1);
    expect(JSON.parse(acknowledged[0]!)).toMatchObject({ level: 40, source: 'payments', gaps: 1 });

    const asks = async () => (await read('card', { entities: { card: 'c1' } })).metadata;
    expect(await asks()).toBeUndefined();
    expect(await openGaps()).toEqual(['0']);
    // It still holds the watermarks of before: what it moves them to must not bring the gap back.
    await engine.push.push('payments', [payment({ at: clock.nowMs() })], { wait: 'applied' });
    expect(await asks()).toBeUndefined();
    await engine.close();
    await open();
    await engine.ready();
    expect((await get('/v1/gaps')).body.gaps).toEqual([]);
    expect((await read('card', { entities: { card: 'c1' } })).features.payments_ever).toBe(4);
    expect(await acknowledge({ source: 'payments' })).toEqual({ status: 200, body: { acknowledged: 0 } });
  });

  // Where nothing is left behind the gap, what lies in it is missing all the same.
  test.each(['something', 'nothing'])(
    'stop their partition where the settings say so: reads go on with a status, readiness says why (%s left)',
    async (left) => {
      await loseSome();
      const log = (await storage.log('payments', 1)) as MemoryEventLog;
      const { endOffset } = await log.ends(0);
      if (left === 'nothing') log.ends = async () => ({ startOffset: endOffset, endOffset });
      await open({ consumer: { onGap: 'stop' }, drainTimeoutMs: 600_000 });
      await engine.ready();
      const { status, body } = await get('/readyz');
      expect(status).toBe(503);
      const { reasons, lag } = body.error.details;
      expect(reasons).toEqual([expect.stringMatching(/records 2 to \d .*--on-gap continue/)]);
      expect(lag).toContainEqual(expect.objectContaining({ source: 'payments', records: endOffset - 2 }));
      const { features, metadata } = await read('card', { entities: { card: 'c1' }, metadata: true });
      expect(features.payments_ever).toBe(2);
      for (const feature of ['payments_ever', 'payments_1h', 'refusals_1h']) {
        expect(metadata.features[feature].status, feature).toBe('catching_up');
      }
      // Another source is as ever, and what is pushed is kept.
      const click = { id: 'k1', at: NOON_MS, card: 'c1', page: 'p' };
      expect(await engine.push.push('clicks', [click], { wait: 'applied' })).toMatchObject({ accepted: 1 });
      expect(await engine.push.push('payments', [payment()])).toMatchObject({ accepted: 1 });
      expect(
        (await log.read({ partition: 0, fromOffset: endOffset, maxRecords: 9, maxBytes: 9 })).records,
      ).toHaveLength(1);
      // It does not wait for what will not be applied.
      await engine.close();
      if (left === 'nothing') return;
      await open();
      await engine.ready();
      expect((await read('card', { entities: { card: 'c1' } })).features.payments_ever).toBe(4);
      expect(await openGaps()).toEqual(['1']);
    },
  );
});
