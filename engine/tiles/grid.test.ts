import { expect, test } from 'vitest';
import { checkFieldName } from '../store/state-address.ts';
import {
  bucketOf,
  DEPTH_MAX,
  IDS_FIELD,
  nodeField,
  pathFields,
  ROOT_FIELD,
  SHIFTS,
  spanMs,
  TIME_END_MS,
} from './grid.ts';

/** Both sides of every boundary of the grid, near its beginning, now and at its end. */
function boundaryTimes(): number[] {
  const times = new Set([0, 1, TIME_END_MS - 1]);
  for (const shift of SHIFTS) {
    const span = 2 ** shift;
    for (const near of [span, 1_700_000_000_000, TIME_END_MS - 1]) {
      const boundary = Math.floor(near / span) * span;
      for (const timeMs of [boundary - 1, boundary, boundary + 1]) {
        if (timeMs >= 0 && timeMs < TIME_END_MS) times.add(timeMs);
      }
    }
  }
  return [...times];
}

test('every level splits into 8 and the lowest is one millisecond', () => {
  for (let depth = 2; depth <= DEPTH_MAX; depth++) expect(spanMs(depth - 1)).toBe(8 * spanMs(depth));
  expect(spanMs(DEPTH_MAX)).toBe(1);
});

test('a bucket holds exactly the times of its interval', () => {
  for (const timeMs of boundaryTimes()) {
    for (let depth = 1; depth <= DEPTH_MAX; depth++) {
      const bucket = bucketOf(depth, timeMs);
      expect(BigInt(bucket)).toBe(BigInt(timeMs) >> BigInt(SHIFTS[depth - 1]!));
      expect(bucket * spanMs(depth)).toBeLessThanOrEqual(timeMs);
      expect(timeMs).toBeLessThan((bucket + 1) * spanMs(depth));
    }
  }
});

test('a bucket lies inside one bucket of the level above', () => {
  for (const timeMs of boundaryTimes()) {
    for (let depth = 2; depth <= DEPTH_MAX; depth++) {
      expect(Math.floor(bucketOf(depth, timeMs) / 8)).toBe(bucketOf(depth - 1, timeMs));
    }
  }
});

test('different nodes have different fields, all of them legal names', () => {
  const fields = new Map<string, string>([
    [ROOT_FIELD, 'root'],
    [IDS_FIELD, 'ids'],
  ]);
  for (const timeMs of boundaryTimes()) {
    const path = pathFields(timeMs);
    expect(path).toHaveLength(DEPTH_MAX);
    path.forEach((field, i) => {
      checkFieldName(field);
      const node = `${i + 1}:${bucketOf(i + 1, timeMs)}`;
      expect(field).toBe(nodeField(i + 1, bucketOf(i + 1, timeMs)));
      expect(fields.get(field) ?? node).toBe(node);
      fields.set(field, node);
    });
  }
});
