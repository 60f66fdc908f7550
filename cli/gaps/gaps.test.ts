/** `millrace gaps` as it is typed, against a running engine. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { compose, type Embedded } from '../../embedded/runtime.ts';
import { openMemoryStorage } from '../../embedded/storage.ts';
import { losePayments } from '../../embedded/testing/lost-records.ts';
import { NOON_MS, payment, testRepo } from '../../embedded/testing/test-repo.ts';
import { ManualClock } from '../../engine/clock.ts';
import { buildOperationsApp } from '../../serve/app.ts';
import { CliError } from '../cli-error.ts';
import { buildProgram } from '../main.ts';

const HOUR_MS = 3_600_000;

let engine: Embedded;
let url: string;
let out = '';

beforeEach(async () => {
  const clock = new ManualClock(NOON_MS);
  const storage = openMemoryStorage();
  const open = () =>
    compose({ repo: testRepo, wallClock: clock, drainTimeoutMs: 1 }, { ...storage, close: async () => {} });
  engine = await open();
  await engine.push.push('payments', [payment(), payment()], { wait: 'applied' });
  await engine.close();
  clock.advanceTo(NOON_MS + HOUR_MS);
  await losePayments(storage, clock);
  engine = await open();
  await engine.ready();
  url = await engine.app.listen({ port: 0, host: '127.0.0.1' });
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text;
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await engine.close();
});

async function gaps(...words: string[]): Promise<string> {
  out = '';
  await buildProgram().parseAsync(['node', 'millrace', 'gaps', ...words, '--url', url]);
  return out;
}

async function failure(...words: string[]): Promise<string> {
  const error: unknown = await gaps(...words).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CliError);
  return (error as CliError).message;
}

test('lists what each partition lacks and who may ask for it, until somebody acknowledges it', async () => {
  const text = await gaps();
  expect(text).toMatch(/^PARTITION +RECORDS +APPENDED AFTER +APPENDED BY +MAY BE MISSING IN\n/);
  expect(text).toMatch(
    /\npayments\/0 +2 to 3 +2026-03-02T12:00:00.000Z +2026-03-02T13:00:00.000Z +spend, refusals, shops\n/,
  );
  expect(await gaps('list')).toBe(text);
  const { gaps: listed } = JSON.parse(await gaps('--json'));
  expect(listed).toEqual((await engine.app.inject('/v1/gaps')).json().gaps);
  expect(listed).toHaveLength(1);

  expect(await gaps('acknowledge', 'payments')).toMatch(/^Acknowledged 1 gap of source payments: /);
  expect(await gaps()).toMatch(/^No gaps: /);
  expect(JSON.parse(await gaps('list', '--json'))).toEqual({ gaps: [] });
  expect(await gaps('acknowledge', 'payments')).toBe('Source payments had no gaps that a window asks for.\n');
});

test('what is wrong is said in words, and leaves the gaps as they are', async () => {
  expect(await failure('acknowledge', 'none')).toContain("there is no source 'none'");
  expect(await gaps()).toContain('payments/0');
  const operations = await buildOperationsApp({
    roles: ['ingest'],
    clock: engine.clock,
    readiness: () => engine.readiness(),
    metrics: engine.metrics,
  });
  const served = url;
  url = await operations.listen({ port: 0, host: '127.0.0.1' });
  expect(await failure()).toMatch(/this process has the role ingest.* a `serve` process/);
  await operations.close();
  url = served;
  await engine.app.close();
  expect(await failure('acknowledge', 'payments')).toContain('no Millrace answers at');
});
