import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { DeadLetter } from '../ingest/dead-letter.ts';
import { LoggedDeadLetters } from './logged-dead-letters.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const letter = (offset: number, reason: DeadLetter['reason'] = 'undecodable'): DeadLetter => ({
  reason,
  message: 'the record is not UTF-8 JSON',
  thrown: 'Error: s3cret',
  source: 'payments',
  partition: 1,
  offset,
  readOffset: offset,
  view: reason === 'filter_or_projection' ? 'spend' : null,
  appendedMs: 0,
  stamp: null,
  value: Buffer.from('s3cret'),
  key: Buffer.from('s3cret'),
  headers: [],
});

function logged(write: (letters: readonly DeadLetter[]) => Promise<void> = async () => {}) {
  const lines: Record<string, unknown>[] = [];
  const warn = (details: Record<string, unknown>): void => void lines.push(details);
  return { lines, letters: new LoggedDeadLetters({ write }, { warn } as never) };
}

it('says the first letter of a reason at once, and how many more there were every 10 s', async () => {
  const { lines, letters } = logged();
  await letters.write([letter(3), letter(4)]);
  const first = { source: 'payments', reason: 'undecodable', letters: 2, partition: 1, offset: 4 };
  expect(lines).toEqual([{ ...first, message: 'the record is not UTF-8 JSON' }]);
  for (let offset = 5; offset < 105; offset++) await letters.write([letter(offset)]);
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(10_000);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatchObject({ letters: 100, offset: 104 });
  // Nothing came for 10 s: the next one is said at once.
  vi.advanceTimersByTime(60_000);
  expect(lines).toHaveLength(2);
  await letters.write([letter(105)]);
  expect(lines[2]).toMatchObject({ letters: 1, offset: 105 });
  expect(vi.getTimerCount()).toBe(1);
});

it('counts each reason by itself, and never shows the record', async () => {
  const { lines, letters } = logged();
  await letters.write([letter(1), letter(2, 'filter_or_projection'), letter(3)]);
  expect(lines).toEqual([
    expect.objectContaining({ reason: 'undecodable', letters: 2, offset: 3 }),
    expect.objectContaining({ reason: 'filter_or_projection', letters: 1, offset: 2, view: 'spend' }),
  ]);
  expect(JSON.stringify(lines)).not.toContain('s3cret');
});

it('says nothing of letters that could not be written', async () => {
  const { lines, letters } = logged(() => Promise.reject(new Error('no broker')));
  await expect(letters.write([letter(1)])).rejects.toThrow('no broker');
  expect(lines).toEqual([]);
});
