import { describe, expect, it } from 'vitest';
import { ConsumerHealth } from './consumer-health.ts';

describe('consumer health', () => {
  const behind = (expected: number, idle = false) => [{ partition: 2, expected, endOffset: 10, idle }];

  it('wants partitions within the time, counted from the first of several crashes', () => {
    const health = new ConsumerHealth(100, 0);
    expect(health.check(99, [])).toBeNull();
    expect(health.check(100, [])).toMatch(/no partitions/);
    health.joined(100);
    expect(health.check(150, [])).toBeNull();
    health.crashed(160);
    health.crashed(200);
    expect(health.check(259, [])).toBeNull();
    expect(health.check(260, [])).toMatch(/no partitions/);
  });

  it('wants a sign of life', () => {
    const health = new ConsumerHealth(100, 0);
    health.joined(0);
    health.alive(50);
    expect(health.check(149, [])).toBeNull();
    expect(health.check(150, [])).toMatch(/no fetch/);
  });

  it('wants every partition to move that has something to fetch', () => {
    const health = new ConsumerHealth(100, 0);
    health.joined(0);
    const at = (nowMs: number, partitions: Parameters<ConsumerHealth['check']>[1]) => {
      health.alive(nowMs);
      return health.check(nowMs, partitions);
    };
    expect(at(0, behind(5))).toBeNull();
    expect(at(99, behind(5))).toBeNull();
    expect(at(100, behind(6))).toBeNull();
    expect(at(199, behind(6))).toBeNull();
    expect(at(200, behind(6))).toBe('partition 2 stays at offset 6, while its log reaches 10');
    expect(at(300, behind(6, true))).toBeNull();
    expect(at(301, behind(6))).toBeNull();
    expect(at(500, behind(10))).toBeNull();
  });
});
