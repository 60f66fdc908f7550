/** The type tests (`*.test-d.ts`, with their wrong uses) are part of the tree that the compiler checks. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the whole tree type-checks, wrong uses included', () => {
  const root = fileURLToPath(new URL('.', import.meta.url));
  const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url));
  const { stdout, status } = spawnSync(process.execPath, [tsc, '--noEmit', '-p', '.'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  expect(status).toBe(0);
}, 120_000);
