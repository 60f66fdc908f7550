/**
 * The order of events with equal event time (C3), as 64 bits in two unsigned 32-bit halves compared high half
 * first: an integer id orders numerically, any other id by its XXH64, and without an id the log position
 * decides (partition, then offset).
 */
import { hash64 } from './hash64.ts';

export interface EventId {
  readonly hi: number;
  readonly lo: number;
}

const TWO_32 = 2 ** 32;

/** @param value −2⁶³ ≤ value < 2⁶³; signed order is kept by shifting the high half up by 2³¹ */
export function integerEventId(value: number | bigint): EventId {
  if (typeof value === 'number') {
    const hi = Math.floor(value / TWO_32);
    return { hi: hi + 2 ** 31, lo: value - hi * TWO_32 };
  }
  return { hi: Number(value >> 32n) + 2 ** 31, lo: Number(value & 0xffff_ffffn) };
}

export function textEventId(value: string): EventId {
  const hash = hash64(value);
  return { hi: Number(hash >> 32n), lo: Number(hash & 0xffff_ffffn) };
}

/** @param partition 0 ≤ partition < 2¹² · @param offset 0 ≤ offset < 2⁵² */
export function positionEventId(partition: number, offset: number): EventId {
  const high = Math.floor(offset / TWO_32);
  return { hi: partition * 2 ** 20 + high, lo: offset - high * TWO_32 };
}

export function compareEventIds(a: EventId, b: EventId): number {
  return a.hi - b.hi || a.lo - b.lo;
}
