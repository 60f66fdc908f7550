import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

// How often V8 collects depends on how fast the machine is, and how far it lets the heap grow is what it says by itself.
const PROGRAM = `
  import { setFlagsFromString } from 'node:v8';
  import { letHeapGrow } from './cli/heap-growth.ts';
  const lives = Array.from({ length: 300_000 }, (_, i) => ({ text: 'n' + i }));
  letHeapGrow();
  setFlagsFromString('--trace-gc-verbose');
  gc();
  setFlagsFromString('--no-trace-gc-verbose');
  console.log('alive:', lives.length);
`;

test('the heap may grow to five times what lives before the whole of it is collected', () => {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [
      ...['--expose-gc', '--conditions=source', '--import', 'tsx'],
      ...['--input-type=module', '--eval', PROGRAM],
    ],
    { encoding: 'utf8', cwd: new URL('..', import.meta.url).pathname },
  );
  expect(status, stderr).toBe(0);
  expect(stdout).toContain('alive: 300000');
  const limit = /HeapController\] Limit: .* \((?<factor>[\d.]+)\)/.exec(stdout);
  // Without it at most 4.0, and less the slower memory is allocated.
  expect(limit?.groups?.factor).toBe('5.0');
}, 60_000);
