/** What is left out of a history before it is sorted, at the millisecond: nothing that a row can see. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { trainingSet } from './make-training-set.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-stream-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const source = streamSource({
  name: 'clicks',
  columns: { id: integer(), at: timestamp(), user: string() },
  eventTime: 'at',
  eventId: 'id',
});
const clicks = featureView({
  name: 'clicks_of_user',
  source,
  entity: entity('user'),
  features: {
    minute: count().over('1m'),
    delayed: count().over('1m', { offset: '1m' }),
    always: count().lifetime({ offset: '2m' }),
  },
});

/** Features of one user at each of the times, from clicks at others, all ms. */
async function counted(
  features: readonly ('minute' | 'delayed' | 'always')[],
  clicked: readonly number[],
  asked: readonly number[],
) {
  const service = featureService({ name: 'service', features: features.map((name) => clicks.feature[name]) });
  const file = (name: string, rows: readonly object[]): string => {
    const path = join(dir, name);
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return path;
  };
  const table = await trainingSet({
    ...{ repo: compileRepo([service]), service: 'service', time: 'when' },
    history: file(
      'history.ndjson',
      clicked.map((at, id) => ({ id, at, user: 'u' })),
    ),
    spine: file(
      'spine.ndjson',
      asked.map((when) => ({ when, user: 'u' })),
    ),
  });
  return asked.map((_, i) => features.map((name) => Number(table.get(i)![name])));
}

const T = 1_700_000_000_000;
const MINUTE = 60_000;

test('the first millisecond of the longest window of the oldest row, and the last of the newest', async () => {
  const clicked = [T - MINUTE, T - MINUTE + 1, T, T + 5, T + 6];
  expect(await counted(['minute'], clicked, [T])).toEqual([[2]]);
  expect(await counted(['minute'], clicked, [T, T + 5])).toEqual([[2], [2]]);
  const delayed = clicked.map((at) => at - MINUTE);
  expect(await counted(['delayed'], delayed, [T])).toEqual([[2]]);
  expect(await counted(['minute', 'delayed'], [...clicked, ...delayed], [T])).toEqual([[4, 3]]);
});

test('all of the past for a lifetime window', async () => {
  expect(await counted(['always'], [0, T - 3 * MINUTE, T - 2 * MINUTE, T - 2 * MINUTE + 1], [T])).toEqual([
    [3],
  ]);
});
