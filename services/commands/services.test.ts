import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { main } from '../main.ts';
import { isAlive } from '../process/process-identity.ts';
import { redisCommand } from '../redis/redis-command.ts';
import { startRedis } from '../redis/redis-server.ts';
import { describeWithServices } from '../testing/describe-with-services.ts';
import { installPackages } from './install-packages.ts';
import { readState, type StartedService, writeState } from './services-state.ts';

let dir: string;
let printed: string;

const run = async (...args: readonly string[]): Promise<number> =>
  main([...args, '--only', 'redis', '--dir', dir]);
const redis = (): StartedService => readState(dir).redis!;
const ask = (...args: readonly string[]): Promise<unknown> => redisCommand(redis().ports[0]!, ...args);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-services-'));
  printed = '';
  const print = (text: string | Uint8Array): boolean => {
    printed += text;
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(print);
  vi.spyOn(process.stderr, 'write').mockImplementation(print);
});

afterEach(async () => {
  await run('stop');
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true });
});

test('a reader that goes away, such as head, is nothing to report', async () => {
  const script = fileURLToPath(new URL('../run.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  child.stdout.destroy();
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, errors }).toEqual({ code: 0, errors: '' });
});

describeWithServices(['redis'], 'npm run services', () => {
  test('starts once, prints flags and variables, and keeps data and address', async () => {
    expect(await run('start')).toBe(0);
    const first = redis();
    expect(printed).toContain(`--redis ${first.address}`);
    expect(printed).toContain(`MILLRACE_REDIS=${first.address}`);
    await ask('SET', 'key', '1');
    expect(await run()).toBe(0);
    expect(redis()).toEqual(first);
    expect(await ask('CONFIG', 'GET', 'append*fsync')).toEqual(['appendfsync', 'everysec']);
    expect(await ask('CONFIG', 'GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);

    await run('stop');
    expect(isAlive(first)).toBe(false);
    await run('start');
    expect(redis().address).toBe(first.address);
    expect(await ask('GET', 'key')).toBe('1');

    await run('start', '--fresh');
    expect(await ask('GET', 'key')).toBeNull();
  });

  test('stopping ends nothing else', async () => {
    const foreign = await startRedis();
    try {
      await run('start');
      await run('stop');
      await expect(ask('PING')).rejects.toThrow();
      expect(await foreign.command('PING')).toBe('PONG');
    } finally {
      await foreign.stop();
    }
  });

  test('a recycled pid is neither taken for the server nor ended', async () => {
    await run('start');
    const before = redis();
    await run('stop');
    // Since then, its pid went to this very process.
    writeState(dir, { redis: { ...before, pid: process.pid } });
    await run('stop');
    expect(printed).toContain('does not run');
    await run('start');
    expect(redis().pid).not.toBe(process.pid);
    expect(await ask('PING')).toBe('PONG');
  });
});

describe('arguments', () => {
  test.each([
    [['--only', 'redis,mysql'], '--only takes redis, kafka, registry; it is "mysql"'],
    [['--port', '1'], "Unknown option '--port'"],
    [['restart'], 'unknown command restart'],
  ])('%j is refused', async (args, message) => {
    expect(await main(args)).toBe(2);
    expect(printed).toContain(message);
  });

  test('help is printed', async () => {
    expect(await main(['--help'])).toBe(0);
    expect(printed).toContain('npm run services:stop');
  });
});

test('a machine without redis-server is told what to install', async () => {
  vi.stubEnv('PATH', dir);
  const installed = installPackages({ only: ['redis'], install: false, report: () => {} });
  await expect(installed).rejects.toThrow('apt-get install redis-server (or --install');
  vi.unstubAllEnvs();
});
