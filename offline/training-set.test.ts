/** Histories and spines at the edge of what there can be: none or one event, the first and the last moment, many columns. */
import * as arrow from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { TIMESTAMP_LIMIT_MS } from '../engine/definitions/timestamp.ts';
import {
  compileRepo,
  count,
  double,
  entity,
  featureService,
  featureView,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import * as trades from '../test/fixtures/trades/features.ts';
import { trainingSet } from './make-training-set.ts';
import { repo as clicks } from './testing/clicks.ts';
import { arrowTableOf, type Row, type RowTypes } from './testing/table-writers.ts';

const TYPES: RowTypes = { key: 'string', at: 'timestamp', v: 'integer' };
const SPINE: RowTypes = { key: 'string', timestamp: 'timestamp' };

async function made(history: readonly Row[], spine: readonly Row[]): Promise<unknown[][]> {
  const table = await trainingSet({
    ...{ repo: clicks, service: 'all', threads: 1 },
    history: arrowTableOf({ types: TYPES, rows: history }),
    spine: arrowTableOf({ types: SPINE, rows: spine }),
  });
  return Array.from({ length: table.numRows }, (_, i) => {
    const { n, n_1s, total_1m, newest } = table.get(i)!.toJSON() as Record<string, unknown>;
    const list = newest === null ? null : Array.from(newest as Iterable<bigint>, Number);
    return [Number(n), Number(n_1s), Number(total_1m), list];
  });
}

const LAST_MS = TIMESTAMP_LIMIT_MS - 1;
const event = (at: number, v = 1): Row => ({ key: 'a', at, v });
const row = (timestamp: number, key: string | null = 'a'): Row => ({ key, timestamp });

describe('edges', () => {
  test('no events', async () => {
    expect(await made([], [row(5), row(6, 'b')])).toEqual([
      [0, 0, 0, null],
      [0, 0, 0, null],
    ]);
  });

  test('one event and one row', async () => {
    expect(await made([event(5, 7)], [row(5)])).toEqual([[1, 1, 7, [7]]]);
    expect(await made([event(5, 7)], [row(4)])).toEqual([[0, 0, 0, null]]);
  });

  test('no row has a key', async () => {
    expect(await made([event(5)], [row(5, null)])).toEqual([[0, 0, 0, null]]);
  });

  test('the first moment and the last', async () => {
    const spine = [row(LAST_MS), row(0), row(LAST_MS - 1)];
    expect(await made([event(0, 1), event(LAST_MS, 2)], spine)).toEqual([
      [1, 1, 2, [2]],
      [1, 1, 1, [1]],
      [0, 0, 0, null],
    ]);
  });

  test('everything in one millisecond, more rows than a batch', async () => {
    const history = Array.from({ length: 40_000 }, (_, v) => event(5, v));
    const spine = Array.from({ length: 30_000 }, (_, i) => row(5 + (i % 2)));
    const found = await made(history, spine);
    const right = [40_000, 40_000, (39_999 * 40_000) / 2, [39_997, 39_998, 39_999]];
    expect(found.length).toBe(30_000);
    expect(found.every((values) => JSON.stringify(values) === JSON.stringify(right))).toBe(true);
  });

  test('events of one millisecond by their ids, more than a batch, latest id first', async () => {
    const rows = Array.from({ length: 40_000 }, (_, i) => ({
      ...{ id: 39_999 - i, at: 5, account: 'a', symbol: 's', amount: 1 },
    }));
    const types: RowTypes = {
      id: 'integer',
      at: 'timestamp',
      account: 'string',
      symbol: 'string',
      amount: 'double',
    };
    const asked = Array.from({ length: 400 }, (_, i) => ({ account: 'a', timestamp: 5, id: i * 100 }));
    const table = await trainingSet({
      ...{ repo: compileRepo(Object.values(trades)), service: 'one', threads: 1 },
      history: arrowTableOf({ types, rows }),
      spine: arrowTableOf({
        types: { account: 'string', timestamp: 'timestamp', id: 'integer' },
        rows: asked,
      }),
    });
    expect(Array.from(table.getChild('trades_30d')!, Number)).toEqual(asked.map(({ id }) => id + 1));
  });

  test('several hundred features and columns of the spine', async () => {
    const columns = Object.fromEntries(
      Array.from({ length: 60 }, (_, c) => [`c${c}`, double({ nullable: true })]),
    );
    const wide = streamSource({
      name: 'wide',
      columns: { key: string(), at: timestamp(), ...columns },
      eventTime: 'at',
    });
    const features = Object.fromEntries(
      Object.keys(columns).flatMap((name) =>
        ['1h', '1d', '7d', '30d'].map((size) => [`${name}_${size}`, sum(name).over(size as '1h')]),
      ),
    );
    const view = featureView({
      name: 'v',
      source: wide,
      entity: entity('key'),
      features: { ...features, n: count().over('1d') },
    } as never);
    const values = Object.fromEntries(Object.keys(columns).map((name, c) => [name, c / 4]));
    const history = arrow.tableFromJSON([{ key: 'a', at: 5, ...values }]);
    const labels = Object.fromEntries(Array.from({ length: 500 }, (_, l) => [`label_${l}`, l / 2]));
    const table = await trainingSet({
      ...{
        repo: compileRepo([view, featureService({ name: 'all', features: [view] } as never)]),
        service: 'all',
        threads: 1,
      },
      ...{ history, spine: arrow.tableFromJSON([{ key: 'a', timestamp: 6, ...labels }]) },
    });
    const made = table.get(0)!.toJSON() as Record<string, unknown>;
    expect(Object.keys(made).length).toBe(2 + 500 + 241);
    expect(made).toMatchObject({ ...labels, c59_30d: 59 / 4, c1_1h: 0.25, n: 1n });
  });
});
