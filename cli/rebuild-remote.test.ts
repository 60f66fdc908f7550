import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { compose, type Embedded, openInMemory } from '../embedded/runtime.ts';
import { openMemoryStorage } from '../embedded/storage.ts';
import { losePayments } from '../embedded/testing/lost-records.ts';
import { NOON_MS, payment, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { CliError } from './cli-error.ts';
import { rebuildRemotely } from './rebuild-remote.ts';
import type { Config } from './settings.ts';

let engine: Embedded;
let config: Config;
let written: string;

beforeEach(async () => {
  engine = await openInMemory({ repo: testRepo, wallClock: new ManualClock(NOON_MS) });
  config = { url: await engine.app.listen({ port: 0 }) } as Config;
  await engine.push.gateway('payments')!.push([payment(), payment()]);
  written = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written += text;
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await engine.close();
});

const run = (view: string, abort = false): Promise<number> =>
  rebuildRemotely(config, { view, abort, acceptGap: false, graceMs: 0 });

test('a view of the running engine is rebuilt', async () => {
  expect(await run('spend')).toBe(0);
  expect(written).toMatch(/^View spend is read from its new state: \d+ events in \d+s \(\d+\/s\)\.\n$/);
});

test('a view that is being filled from a history is not rebuilt, but that can be given up', async () => {
  const { fingerprint } = testRepo.views.get('spend')!;
  const begun = await fetch(`${config.url}/v1/views/spend/backfill`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ fingerprint }),
  });
  expect(begun.status).toBe(200);
  await expect(run('spend')).rejects.toThrow(
    'view spend is being filled from a history: millrace backfill goes on with that (--abort gives it up)',
  );
  expect(await run('spend', true)).toBe(0);
  expect(written).toContain('was given up');
  expect(await run('spend')).toBe(0);
});

test('what cannot be done is said', async () => {
  await expect(run('spent')).rejects.toThrow(
    `there is no view 'spent' (unknown_view, HTTP 404)\n  {"expected":["spend","refusals","shops","browsing"]}`,
  );
  await expect(run('spend', true)).rejects.toThrow('no rebuild of view spend is under way');
  await engine.close();
  await expect(run('spend')).rejects.toThrow(CliError);
  await expect(run('spend')).rejects.toThrow(/no Millrace answers at/);
});

test('where the log has lost what the view can reach, the refusal says what helps', async () => {
  await engine.close();
  const clock = new ManualClock(NOON_MS);
  const storage = openMemoryStorage();
  const open = () => compose({ repo: testRepo, wallClock: clock }, { ...storage, close: async () => {} });
  await (await open()).close();
  await losePayments(storage, clock);
  engine = await open();
  config = { url: await engine.app.listen({ port: 0 }) } as Config;
  await expect(run('spend')).rejects.toThrow(
    /reach back to.*\(log_too_short, HTTP 409\) \(--accept-gap rebuilds it/,
  );
});

test('when the server ends meanwhile, it is said that the rebuild goes on at its next start', async () => {
  const status = { state: 'filling', applied_records: 1, total_records: 2, dead_letters: 0, reason: null };
  // Answers the one request that begins it.
  const dying = createServer((request, response) => {
    response.setHeader('connection', 'close');
    if (request.method === 'POST') response.end(JSON.stringify(status));
    else request.destroy();
  });
  await new Promise<void>((resolve) => dying.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    dying.close();
  });
  config = { url: `http://127.0.0.1:${(dying.address() as AddressInfo).port}` } as Config;
  const error: unknown = await run('spend').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CliError);
  expect((error as CliError).message).toMatch(
    /not answer any more .* goes on by itself, and the same command/,
  );
});
