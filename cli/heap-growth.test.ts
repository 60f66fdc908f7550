import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** Like `serve`: little lives, each request leaves small objects and a Buffer. Prints how often the whole heap was collected. */
const program = (before: string): string => `
  import { constants, PerformanceObserver } from 'node:perf_hooks';
  import { letHeapGrow } from './cli/heap-growth.ts';
  ${before}
  let collections = 0;
  const count = (entries) => {
    for (const { detail } of entries) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections++;
  };
  const observer = new PerformanceObserver((list) => count(list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  const lives = Array.from({ length: 200_000 }, (_, i) => ({ text: 'n' + i }));
  const recent = [];
  for (let request = 0; request < 12_000; request++) {
    const objects = Array.from({ length: 300 }, (_, i) => ({ i, value: i + request + 0.5 }));
    recent[request % 200] = { objects, bytes: Buffer.alloc(60_000) };
    if (request % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  count(observer.takeRecords());
  console.log(JSON.stringify({ collections, alive: lives.length + recent.length }));
`;

function collections(before: string): number {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [
      ...['--max-semi-space-size=64', '--conditions=source', '--import', 'tsx'],
      ...['--input-type=module', '--eval', program(before)],
    ],
    { encoding: 'utf8', cwd: new URL('..', import.meta.url).pathname },
  );
  expect(status, stderr).toBe(0);
  const said = JSON.parse(stdout) as { collections: number; alive: number };
  expect(said.alive).toBe(200_200);
  return said.collections;
}

test('the whole heap is collected less often', () => {
  const byItself = collections('');
  expect(byItself).toBeGreaterThan(2);
  expect(collections('letHeapGrow();')).toBeLessThanOrEqual(byItself / 2);
}, 120_000);
