/** Starts and ends of a process, without one. What this does not show: that the process really ends (test/). */
import Fastify from 'fastify';
import { afterEach, expect, test, vi } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { CliError } from './cli-error.ts';
import { loadConfig } from './config.ts';
import { type Engine, type EnginePlan, runEngine } from './run-engine.ts';

const config = loadConfig({ flags: { port: '0', logLevel: 'silent' }, env: {}, cwd: process.cwd() });
const never = new Promise<never>(() => {});

/** Rejects already; nobody has to be waiting. */
function failure(): Promise<never> {
  const failed = Promise.reject(new Error('the consumer stands still'));
  failed.catch(() => {});
  return failed;
}

const engineWith = (parts: Partial<Engine>): Engine => ({
  app: Fastify(),
  push: null,
  clock: new ManualClock(1_700_000_000_000),
  ready: async () => {},
  close: async () => {},
  ...parts,
});

const planOf = (open: EnginePlan['open']): EnginePlan => ({
  open,
  simulates: true,
  about: [],
  explain: () => null,
  stopped: 'Stopped.',
  leaving: 'All is safe.',
});

/** What is printed; and how the process would have ended, had it ended by itself. */
function observed() {
  const output: string[] = [];
  const exits: unknown[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((text) => output.push(String(text)) > 0);
  }
  vi.spyOn(process, 'exit').mockImplementation(((code: unknown) => void exits.push(code)) as never);
  return { text: () => output.join(''), exits };
}

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('an engine that cannot go on is closed, and the process exits with 1 and the reason', async () => {
  const { text } = observed();
  const close = vi.fn(async () => {});
  const failed = failure();
  const run = runEngine(
    config,
    planOf(async () => engineWith({ failed, close })),
  );
  const error = await run.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CliError);
  expect(error).toMatchObject({ exitCode: 1, message: expect.stringContaining('the consumer stands still') });
  expect(text()).toContain('Ready.');
  expect(close).toHaveBeenCalledOnce();
});

test('what is not well although it serves is said at the start, as /readyz says it', async () => {
  const { text } = observed();
  const readiness = () => ({ reasons: ['source logins, partition 0: records were gone'] });
  await runEngine(
    config,
    planOf(async () => engineWith({ failed: failure(), readiness })),
  ).catch(() => {});
  expect(text()).toMatch(/\n {2}not ready {2}source logins, partition 0: records were gone\n/);
});

test.each(['before it is ready', 'afterwards'])(
  'the reason is not lost where closing does not end: a failure %s',
  async (when) => {
    const { text, exits } = observed();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const parts = when === 'afterwards' ? { failed: failure() } : { ready: failure };
    const close = vi.fn(() => never);
    void runEngine(
      config,
      planOf(async () => engineWith({ ...parts, close })),
    ).catch(() => {});
    await vi.waitUntil(() => close.mock.calls.length > 0, { timeout: 10_000 });
    vi.advanceTimersByTime(20_000);
    expect(exits).toEqual([1]);
    expect(text()).toMatch(
      /the consumer stands still\nNot closed after 20 s; leaving anyway. All is safe.\n$/,
    );
  },
);

test('a signal while servers do not answer yet ends the process soon, with 0', async () => {
  const { text, exits } = observed();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const open = vi.fn(() => never);
  void runEngine(config, planOf(open));
  await vi.waitUntil(() => open.mock.calls.length > 0, { timeout: 10_000 });
  process.emit('SIGTERM');
  await vi.waitUntil(() => text().includes('draining'));
  await new Promise(setImmediate);
  vi.advanceTimersByTime(3_000);
  expect(exits).toEqual([0]);
});

test('a signal while an engine is being opened closes it, and it never listens', async () => {
  const { text, exits } = observed();
  let opened!: (engine: Engine) => void;
  const opening = new Promise<Engine>((resolve) => {
    opened = resolve;
  });
  const open = vi.fn(() => opening);
  const run = runEngine(config, planOf(open));
  await vi.waitUntil(() => open.mock.calls.length > 0, { timeout: 10_000 });
  process.emit('SIGTERM');
  const close = vi.fn(async () => {});
  opened(engineWith({ close }));
  expect(await run).toBe(0);
  expect(close).toHaveBeenCalledOnce();
  expect(exits).toEqual([]);
  expect(text()).not.toContain('listens on');
  expect(text()).toContain('Stopped.');
});
