import { describe, expect, it } from 'vitest';
import { batchSource } from '../engine/definitions/batch-source.ts';
import { string, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import { EventClock } from './event-clock.ts';

const columns = { key: string(), at: timestamp() };
const timed = batchSource({ name: 'customers', columns, key: 'key', from: 'x.csv', effectiveTime: 'at' });

describe('a clock of event times', () => {
  it('is not held back or moved on by facts, where other sources say what time it is', () => {
    const stream = streamSource({ name: 'stream', columns, eventTime: 'at' });
    const clock = new EventClock([stream, timed]);
    clock.applied('stream', 0, 1_000);
    clock.applied('customers', 0, 5);
    clock.applied('stream', 0, 2_000);
    expect(clock.nowMs()).toBe(2_000);
    clock.applied('customers', 1, 9_000);
    expect(clock.nowMs()).toBe(2_000);
    const alone = new EventClock([timed]);
    alone.applied('customers', 0, 7);
    expect(alone.nowMs()).toBe(7);
  });
});
