import { spawn } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { endProcess } from './end-process.ts';
import { identify, isAlive, signal } from './process-identity.ts';
import { waitUntil } from './wait-until.ts';

const children: ReturnType<typeof spawn>[] = [];

function sleeper(script = 'setInterval(() => {}, 1e6)'): number {
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  children.push(child);
  return child.pid!;
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

test('a process keeps its identity, and loses it when it ends', async () => {
  const identity = identify(sleeper())!;
  expect(identify(identity.pid)).toEqual(identity);
  expect(isAlive(identity)).toBe(true);
  expect(await endProcess(identity, { graceMs: 5_000 })).toBe(true);
  expect(isAlive(identity)).toBe(false);
  expect(await endProcess(identity, { graceMs: 5_000 })).toBe(false);
});

test('another process with the same pid is left alone', async () => {
  const present = identify(sleeper())!;
  const earlier = { pid: present.pid, started: identify(process.pid)!.started };
  expect(isAlive(earlier)).toBe(false);
  expect(signal(earlier, 'SIGKILL')).toBe(false);
  expect(await endProcess(earlier, { graceMs: 0 })).toBe(false);
  expect(isAlive(present)).toBe(true);
});

test('a process that ignores SIGTERM is killed after its grace', async () => {
  const identity = identify(sleeper("process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6)"))!;
  await endProcess(identity, { graceMs: 50 });
  expect(isAlive(identity)).toBe(false);
});

test('a pid that no process has', () => {
  expect(identify(2 ** 22 + 1)).toBeNull();
});

test('waiting ends with the reason why it did not come true', async () => {
  const wait = waitUntil(() => Promise.reject(new Error('refused')), { what: 'the answer', timeoutMs: 0 });
  await expect(wait).rejects.toMatchObject({
    message: 'not yet after 0 ms: the answer',
    cause: new Error('refused'),
  });
});
