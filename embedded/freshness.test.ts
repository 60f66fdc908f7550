/** What is applied again, or filled for the first time, says nothing of how fresh values are. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { compileRepo, count, featureService, featureView } from '../index.ts';
import { metricSamples } from '../serve/testing/metric-samples.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { type Embedded, openEmbedded } from './runtime.ts';
import { card, NOON_MS, payment, payments, spend, testRepo } from './testing/test-repo.ts';

const DAY_MS = 86_400_000;

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-freshness-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function open(dataDir: string, clock: ManualClock, repo: CompiledRepo = testRepo): Promise<Embedded> {
  const engine = await openEmbedded({ repo, dataDir, flush: false, wallClock: clock, processMetrics: false });
  onTestFinished(() => engine.close());
  await engine.ready();
  return engine;
}

async function push(engine: Embedded, atMs: number, events = 3): Promise<void> {
  const payload = { events: Array.from({ length: events }, () => payment({ at: atMs })) };
  const url = '/v1/sources/payments/events?wait=applied';
  expect((await engine.app.inject({ method: 'POST', url, payload })).statusCode).toBe(200);
}

/** Events counted, and their delays, s. */
async function fresh(engine: Embedded): Promise<[number, number]> {
  const samples = metricSamples((await engine.app.inject('/metrics')).body);
  const name = 'millrace_append_to_applied_seconds';
  return [samples.get(`${name}_count{source="payments"}`)!, samples.get(`${name}_sum{source="payments"}`)!];
}

test('a rebuild of old events counts none of them', async () => {
  const clock = new ManualClock(NOON_MS);
  const engine = await open(await directory(), clock);
  await push(engine, NOON_MS);
  expect(await fresh(engine)).toEqual([3, 0]);
  clock.advanceTo(NOON_MS + DAY_MS / 2);
  const url = '/v1/views/spend/rebuild';
  expect((await engine.app.inject({ method: 'POST', url })).statusCode).toBe(200);
  await waitUntil(async () => (await engine.app.inject(url)).json().state === 'switched', {
    what: 'the switch',
    timeoutMs: 60_000,
  });
  expect(await fresh(engine)).toEqual([3, 0]);
  // What comes afterwards counts, once.
  await push(engine, NOON_MS + DAY_MS / 2);
  expect(await fresh(engine)).toEqual([6, 0]);
});

test('a view that is added fills itself without counting, beside one that goes on', async () => {
  const clock = new ManualClock(NOON_MS);
  const dataDir = await directory();
  const before = await open(dataDir, clock);
  await push(before, NOON_MS);
  await before.close();
  clock.advanceTo(NOON_MS + DAY_MS / 2);
  const added = featureView({
    name: 'added',
    source: payments,
    entity: card,
    features: { n_1d: count().over('1d') },
  });
  const repo = compileRepo([featureService({ name: 'card', features: [spend, added] })]);
  const engine = await open(dataDir, clock, repo);
  const payload = { entities: { card: 'c1' } };
  const { features } = (
    await engine.app.inject({ method: 'POST', url: '/v1/services/card/features', payload })
  ).json();
  expect(features.n_1d).toBe(3);
  expect(await fresh(engine)).toEqual([0, 0]);
  await push(engine, NOON_MS + DAY_MS / 2);
  expect(await fresh(engine)).toEqual([3, 0]);
});

test('the first fill of all from a log that is there already counts none of it', async () => {
  const clock = new ManualClock(NOON_MS);
  const dataDir = await directory();
  const before = await open(dataDir, clock);
  await push(before, NOON_MS);
  await before.close();
  clock.advanceTo(NOON_MS + DAY_MS / 2);
  const only = featureView({
    name: 'only',
    source: payments,
    entity: card,
    features: { n_1d: count().over('1d') },
  });
  const engine = await open(
    dataDir,
    clock,
    compileRepo([featureService({ name: 'card', features: [only] })]),
  );
  expect(await fresh(engine)).toEqual([0, 0]);
  await push(engine, NOON_MS + DAY_MS / 2);
  expect(await fresh(engine)).toEqual([3, 0]);
});
