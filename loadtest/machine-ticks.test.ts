import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { machineTicks, ticksOf } from './machine-ticks.ts';

test('waiting for a disk is idle, interrupts are busy, what the host took is neither', () => {
  const stat = 'cpu  1000 200 30 4000 500 6 70 8 900 10\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5 6\n';
  expect(ticksOf(stat)).toEqual({ busy: 1306, idle: 4500, stolen: 8 });
});

test.runIf(existsSync('/proc/stat'))('this machine counts', () => {
  const { busy, idle, stolen } = machineTicks();
  expect(busy).toBeGreaterThan(0);
  expect(idle).toBeGreaterThan(0);
  expect(stolen).toBeGreaterThanOrEqual(0);
});
