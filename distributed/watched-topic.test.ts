import { expect, test } from 'vitest';
import { payments, testRepo } from '../embedded/testing/test-repo.ts';
import type { SourceTopicSettings } from '../ingest/log/kafka/source-topic.ts';
import { watchedTopic } from './watched-topic.ts';

const source = testRepo.sources.get(payments.name)!;
const FOREVER = Number.POSITIVE_INFINITY;

test('settings that cannot be read are as they were last read; where a log begins is asked only if it has lost something', async () => {
  let settings: SourceTopicSettings | null = null;
  let startOffset = 0;
  const asked: number[] = [];
  const log = watchedTopic(source, {
    topic: 't',
    sourceSettings: async () => settings,
    allEnds: async () => [{ startOffset, endOffset: 9 }],
    offsetsAt: async (timeMs) => {
      asked.push(timeMs);
      return [7];
    },
  });
  expect(await log.retentionProblems(FOREVER)).toEqual([]);
  settings = { logAppendTime: true, retentionMs: 1_000, retentionBytes: FOREVER };
  const problem = expect.stringMatching(/^topic t: retention\.ms is 1000 /);
  expect(await log.retentionProblems(FOREVER)).toEqual([problem]);
  settings = null;
  expect(await log.retentionProblems(FOREVER)).toEqual([problem]);
  settings = { logAppendTime: true, retentionMs: FOREVER, retentionBytes: FOREVER };
  expect(await log.retentionProblems(FOREVER)).toEqual([]);

  expect(await log.start(5)).toEqual({ ends: [{ startOffset: 0, endOffset: 9 }], firstWithin: [] });
  expect(asked).toEqual([]);
  startOffset = 3;
  expect(await log.start(5)).toEqual({ ends: [{ startOffset: 3, endOffset: 9 }], firstWithin: [7] });
  expect(asked).toEqual([5]);
});
