/** What a process does shows in its metrics, and nothing that events or callers say becomes a label. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { METRICS } from './metrics.ts';
import { STAGES } from './stage-timings.ts';
import { metricSamples } from './testing/metric-samples.ts';

let it: TestEngine;
beforeEach(async () => {
  it = await TestEngine.open({ processMetrics: true });
});
afterEach(() => it.close());

const samples = async () => metricSamples((await it.get('/metrics')).body as string);
const stage = (service: string, name: string): string =>
  `millrace_feature_stage_seconds_count{service="${service}",stage="${name}"}`;
const requests = (service: string, kind: string, status: number): string =>
  `millrace_feature_request_seconds_count{service="${service}",kind="${kind}",status="${status}"}`;
/** The engine compacts by itself as well. */
const compacted = (name: string, value: number): Promise<void> =>
  waitUntil(
    async () => {
      await it.engine.compact();
      return (await samples()).get(name) === value;
    },
    { what: `${name} ${value}`, timeoutMs: 60_000 },
  );
const decision = { entities: { card: 'c1', shop: 's1' }, request: { amount: 5, mood: null } };

test('a request is timed as a whole and by stage, under its service', async () => {
  expect((await it.read('decision', decision)).status).toBe(200);
  const found = await samples();
  expect(found.get(requests('decision', 'single', 200))).toBe(1);
  for (const name of STAGES) expect(found.get(stage('decision', name)), name).toBe(1);
  // There from the start, so that a rate has something to start from.
  expect(found.get(stage('card', 'store'))).toBe(0);
});

test('a batch is timed by slice; refusals count under their status, services that there are not nowhere', async () => {
  const rows = Array.from({ length: 65 }, () => decision);
  expect((await it.post('/v1/services/decision/features/batch', { rows })).status).toBe(200);
  expect((await it.read('card', { entities: {} })).status).toBe(400);
  expect((await it.read('c0ffee', { entities: { card: 'c1' } })).status).toBe(404);
  const found = await samples();
  expect(found.get(requests('decision', 'batch', 200))).toBe(1);
  expect(found.get(stage('decision', 'merge'))).toBe(2);
  expect(found.get(stage('decision', 'serialise'))).toBe(1);
  expect(found.get(requests('card', 'single', 400))).toBe(1);
  expect([...found.keys()].filter((name) => name.includes('c0ffee'))).toEqual([]);
});

test('stages add up to no more than the request', async () => {
  for (let i = 0; i < 20; i++) await it.read('decision', decision);
  const found = await samples();
  const sumOf = (name: string): number => found.get(name)!;
  const stages = STAGES.map((name) =>
    sumOf(`millrace_feature_stage_seconds_sum{service="decision",stage="${name}"}`),
  );
  for (const sum of stages) expect(sum).toBeGreaterThan(0);
  expect(stages.reduce((a, b) => a + b)).toBeLessThan(
    sumOf('millrace_feature_request_seconds_sum{service="decision",kind="single",status="200"}'),
  );
});

test('an event is fresh by its append, old by its time, and late beyond the lateness of its source', async () => {
  await it.push('payments', [payment({ at: NOON_MS - 60_000 }), payment({ at: NOON_MS - 60_001 })]);
  const found = await samples();
  expect(found.get('millrace_append_to_applied_seconds_count{source="payments"}')).toBe(2);
  // The clock stands still.
  expect(found.get('millrace_append_to_applied_seconds_sum{source="payments"}')).toBe(0);
  expect(found.get('millrace_event_to_applied_seconds_bucket{le="60",source="payments"}')).toBe(1);
  expect(found.get('millrace_event_to_applied_seconds_sum{source="payments"}')).toBeCloseTo(120.001, 6);
  expect(found.get('millrace_late_events_total{source="payments"}')).toBe(1);
});

test('states are counted as they are made and end, and their size as compaction passes', async () => {
  await it.push('payments', [payment({ card: 'a' }), payment({ card: 'b' }), payment({ card: 'a' })]);
  const created = (await samples()).get('millrace_states_created_total{view="spend"}');
  expect(created).toBe(2);
  it.clock.advanceTo(NOON_MS + 3_600_000);
  await compacted('millrace_state_bytes_count{view="spend"}', 2);
  const found = await samples();
  const bytes = found.get('millrace_state_bytes_sum{view="spend"}')!;
  expect(bytes).toBeGreaterThan(100);
  expect(bytes).toBeLessThan(10_000);
  // 'shops' keeps nothing for ever, as 'spend' does with its lifetime window.
  it.clock.advanceTo(NOON_MS + 90 * 86_400_000);
  await compacted('millrace_states_ended_total{view="shops"}', 1);
});

test('no key, id or value of an event or request is a label', async () => {
  const secret = 'sEcReT';
  await it.push('payments', [
    payment({ id: `${secret}1`, card: `${secret}2`, shop: `${secret}3` }),
    // The projection of 'shops' throws.
    payment({ id: `${secret}4`, card: `${secret}5`, shop: `${secret}6`, amount: -1 }),
  ]);
  await it.push('payments', [{ [secret]: secret, amount: secret }]);
  await it.read('card', { entities: { card: `${secret}2` } });
  await it.read(secret, { entities: { [secret]: secret } });
  await it.get(`/v1/${secret}`);
  const text = (await it.get('/metrics')).body as string;
  expect(text).toMatch(/dead_letters_total\{.*\} 1/);
  expect(text).not.toContain(secret);
});

test('every series has a metric of the table, or is of the process: its event loop and memory are there', async () => {
  await it.push('payments', [payment()]);
  await it.read('decision', decision);
  const found = await samples();
  const own = new Set<string>(METRICS.map(({ name }) => name));
  const names = [...found.keys()].map((name) => name.replace(/\{.*/, ''));
  for (const name of names) {
    const base = name.replace(/_(bucket|sum|count)$/, '');
    expect(own.has(base) || own.has(name) || /^(process|nodejs)_/.test(name), name).toBe(true);
  }
  for (const name of ['nodejs_eventloop_lag_p50_seconds', 'nodejs_eventloop_lag_p99_seconds'])
    expect(names).toContain(name);
  expect(names).toContain('process_resident_memory_bytes');
});
