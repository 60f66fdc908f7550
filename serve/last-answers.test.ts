/** What is kept of last answers, for how long, and how much of it. */
import { expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { FEATURE_STATUSES, type FeatureAnswer } from './feature-answer.ts';
import { LastAnswers } from './last-answers.ts';

const clock = new ManualClock(1_000_000);
const answer = (
  value: FeatureAnswer['value'],
  status: FeatureAnswer['status'] = 'present',
): FeatureAnswer => ({
  value,
  status,
  truncated: false,
  window: { fromMs: null, toMs: 5 },
});

test('an answer is given as stale with its age, until it is too old', () => {
  const last = new LastAnswers({ maxAgeMs: 1_000, clock });
  const question = 'a question';
  expect(last.of(question)).toBeNull();
  last.keep(question, [answer(1), answer(null, 'empty')]);
  clock.advanceTo(clock.nowMs() + 1_000);
  const window = { fromMs: null, toMs: 5 };
  expect(last.of(question)).toEqual([
    { value: 1, status: 'stale', truncated: false, window, ageMs: 1_000 },
    { value: null, status: 'stale', truncated: false, window, ageMs: 1_000 },
  ]);
  clock.advanceTo(clock.nowMs() + 1);
  expect(last.of(question)).toBeNull();
  expect(last.bytes).toBe(0);
});

test('nothing is kept of an answer of which some value is not what it seems', () => {
  for (const status of FEATURE_STATUSES) {
    const last = new LastAnswers({ maxAgeMs: 1_000, clock });
    last.keep('q', [answer(1)]);
    last.keep('q', [answer(2), answer(3, status)]);
    const isWhole = status === 'present' || status === 'empty';
    // The one before is the last that was whole.
    expect(
      last.of('q')!.map(({ value }) => value),
      status,
    ).toEqual(isWhole ? [2, 3] : [1]);
  }
});

test('what it takes is bounded, large values and all; those given longest ago go first', () => {
  const bytesMax = 50_000;
  const last = new LastAnswers({ maxAgeMs: 1_000, clock, bytesMax });
  const large = [answer(Array.from({ length: 50 }, (_, i) => `text ${i}`)), answer(new Map([['key', 1]]))];
  for (let i = 0; i < 1_000; i++) {
    last.keep('kept', large);
    last.keep(`${i}`, large);
    expect(last.bytes).toBeLessThanOrEqual(bytesMax);
  }
  expect(last.of('0')).toBeNull();
  expect(last.of('999')).not.toBeNull();
  expect(last.of('kept')).not.toBeNull();
  // One that is too large by itself is not kept, and takes none with it.
  last.keep('huge', [answer('x'.repeat(bytesMax))]);
  expect(last.of('huge')).toBeNull();
  expect(last.of('kept')).not.toBeNull();
});
