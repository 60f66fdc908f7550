import { expect, test } from 'vitest';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { isWithinReach } from '../ingest/gap-reach.ts';
import { appendReachMs, checkReach, LogTooShortError, sourceAppendReachMs } from './log-reach.ts';

const NOW_MS = 1_780_000_000_000;
const views = [...testRepo.views.values()].filter(({ keepsForever }) => !keepsForever);

/** Of a log whose first three records are gone. */
const check = (view: (typeof views)[number], firstWithin: number): void =>
  checkReach(view, [{ startOffset: 3, endOffset: 9 }], [firstWithin]);

test('a log is long enough where what it lacks would be no gap: events may be maxFuture ahead of their append', () => {
  expect(views.some(({ source }) => source.maxFutureMs > 0)).toBe(true);
  for (const view of views) {
    const fromMs = NOW_MS - appendReachMs(view);
    // The first record that is held was appended then, and those before it at the same time.
    const lacks = (untilMs: number) =>
      isWithinReach(view, { fromOffset: 0, toOffset: 3, afterMs: null, untilMs }, NOW_MS);
    expect([lacks(fromMs), lacks(fromMs - 1)], view.name).toEqual([true, false]);
  }
});

test('it is too short where the first record held lies within the reach, unless it is the very first there was', () => {
  const view = views[0]!;
  expect(() => check(view, 4)).not.toThrow();
  expect(() => check(view, 3)).toThrow(LogTooShortError);
  expect(() => check(view, 3)).toThrow(
    /begins at offset 3, and holds no record older than the .* maxFuture included/,
  );
  expect(() => checkReach(view, [{ startOffset: 0, endOffset: 9 }], [0])).not.toThrow();
});

test('a topic must keep records for as long as the farthest of its views reaches, maxFuture included', () => {
  for (const source of testRepo.sources.values()) {
    const expected = source.views.length === 0 ? 0 : source.retentionMs + source.definition.maxFutureMs;
    expect(sourceAppendReachMs(source), source.name).toBe(expected);
  }
});
