import { expect, it } from 'vitest';
import { appendTimeProblem, retentionProblems, type SourceTopicSettings } from './source-topic.ts';

const DAY_MS = 86_400_000;
const FOREVER = Number.POSITIVE_INFINITY;

const topic = (settings: Partial<SourceTopicSettings>): SourceTopicSettings => {
  return { logAppendTime: true, retentionMs: FOREVER, retentionBytes: FOREVER, ...settings };
};
const problems = (settings: Partial<SourceTopicSettings>, neededMs = 30 * DAY_MS): string[] =>
  retentionProblems(topic(settings), neededMs);

it('has nothing to say of a topic that keeps what views reach back to', () => {
  expect(problems({})).toEqual([]);
  expect(problems({ retentionMs: 30 * DAY_MS })).toEqual([]);
  expect(problems({}, FOREVER)).toEqual([]);
});

it('says what to set where events go too early', () => {
  expect(problems({ retentionMs: 30 * DAY_MS - 1 })).toEqual([
    expect.stringMatching(
      /^retention\.ms is 2591999999 .* back 30d: .* set it to at least 2592000000, or -1$/,
    ),
  ]);
  expect(problems({ retentionMs: 7 * DAY_MS }, FOREVER)).toEqual([
    expect.stringMatching(/\(7d\), but views reach back to the first event: .* set it to -1$/),
  ]);
  expect(problems({ retentionBytes: 1_000 })).toEqual([
    expect.stringMatching(/^retention\.bytes is 1000: .* set it to -1$/),
  ]);
});

it('says where append times are the producers’ word', () => {
  expect(appendTimeProblem(topic({ logAppendTime: false }))).toMatch(
    /message\.timestamp\.type is CreateTime/,
  );
  expect(appendTimeProblem(topic({}))).toBeNull();
});
