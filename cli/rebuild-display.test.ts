import { expect, test } from 'vitest';
import type { RebuildLook } from '../roles/view-rebuild.ts';
import { describeDeadLetters, describeRebuild, RebuildDisplay } from './rebuild-display.ts';

const look = (appliedRecords: number, totalRecords: number): RebuildLook => ({
  state: 'filling',
  appliedRecords,
  totalRecords,
  nextOffsets: [],
  awaited: [],
});

test('rate and time left are of this run, the share is of the whole', () => {
  // Another worker had come half way.
  expect(describeRebuild(look(500, 1_000), look(750, 1_000), 10_000)).toEqual({
    percent: 75,
    events: '250',
    rate: '25',
    eta: '10s',
  });
  expect(describeRebuild(look(0, 1_000), look(0, 1_000), 5_000)).toMatchObject({
    percent: 0,
    rate: '0',
    eta: '?',
  });
  expect(describeRebuild(look(0, 0), look(0, 0), 0)).toMatchObject({ percent: 100, rate: '0', eta: '0s' });
  // What had been applied was lost.
  expect(describeRebuild(look(500, 1_000), look(100, 1_000), 1_000)).toMatchObject({
    events: '0',
    percent: 10,
  });
});

test('where nobody watches, lines every few seconds, and each note once', () => {
  let nowMs = 0;
  const written: string[] = [];
  const stream = {
    isTTY: false,
    write: (text: string) => written.push(text),
  } as unknown as NodeJS.WriteStream;
  const display = new RebuildDisplay(stream, () => nowMs);
  for (let i = 0; i < 3; i++) display.note('It is tried again: no store');
  for (; nowMs <= 10_000; nowMs += 1_000) display.look(look(nowMs / 10, 2_000));
  display.stop();
  expect(written.join('')).toBe(
    'It is tried again: no store\n25 %, 500 events, 100/s, ETA 15s\n50 %, 1,000 events, 100/s, ETA 10s\n',
  );
  expect(display.summary()).toBe('1,000 events in 10s (100/s)');
});

test('nothing is drawn before it is known how much there is', () => {
  let written = '';
  const stream = {
    isTTY: true,
    columns: 120,
    write: (text: string) => {
      written += text;
    },
  } as unknown as NodeJS.WriteStream;
  const display = new RebuildDisplay(stream, () => 0);
  display.look(look(0, 0));
  expect(written).toBe('');
  display.look(look(500, 1_000));
  display.stop();
  expect(written).toContain('50 % | 500 events');
  expect(written).not.toContain('100 %');

  // A log without records.
  display.look({ ...look(0, 0), state: 'switched' });
  display.stop();
  expect(display.summary()).toBe('0 events in 0s (0/s)');
});

test('letters are said where there are any', () => {
  expect(describeDeadLetters(0)).toBe('');
  expect(describeDeadLetters(1)).toBe(
    ' 1 record could not be used, and it is among the dead letters (millrace dlq list).',
  );
  expect(describeDeadLetters(2_000)).toMatch(/^ 2,000 records could .* they are /);
});
