/** The long run of the matrix, briefly: so that it is there when somebody wants it. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** Processes that compile what they run, on a machine that may be busy with others. */
const TIMEOUT_MS = 300_000;
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

function run(...args: string[]): Promise<{ readonly code: number; readonly out: string }> {
  const command = ['--conditions=source', '--import', 'tsx', 'engine/testing/matrix/run.ts', ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, command, { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), out: stdout + stderr });
    });
  });
}

test('runs the cases of a range of seeds in several processes and says what they met', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { code, out } = await run(
    '--cases',
    '70',
    '--seed',
    '3000001',
    '--store',
    'memory',
    '--workers',
    '2',
  );
  expect(out).toMatch(/memory: 70 cases, \d+ values compared/);
  expect(out).toContain('70 of 70 cases (100.0 %)');
  expect(out).toContain('no failure');
  expect(code).toBe(0);
});

test('refuses what it does not understand, and explains itself', { timeout: TIMEOUT_MS }, async () => {
  expect(await run('--cases', 'many')).toEqual({
    code: 2,
    out: "--cases must be an integer of at least 1, not 'many'\n\nnpm run test:matrix -- --help\n",
  });
  expect(await run('--store', 'disk')).toMatchObject({ code: 2, out: expect.stringContaining('disk') });
  expect((await run('--help')).out).toContain('--seed S');
});
