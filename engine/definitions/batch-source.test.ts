import { describe, expect, it } from 'vitest';
import { last } from './aggregation.ts';
import { batchSource } from './batch-source.ts';
import { double, integer, long, string, timestamp } from './column.ts';
import { compileRepo } from './compile.ts';
import { DefinitionError } from './definition-error.ts';
import { entity } from './entity.ts';
import { featureView } from './feature-view.ts';

const columns = {
  customer: integer(),
  segment: string({ nullable: true }),
  score: double(),
  since: timestamp(),
};
const timed = batchSource({
  name: 'customers',
  columns,
  key: 'customer',
  from: 'customers.parquet',
  effectiveTime: 'since',
  every: '1d',
});
const loaded = batchSource({
  name: 'zips',
  columns: { customer: integer(), zip: string() },
  key: ['customer'],
  from: { sql: 'SELECT 1', setup: "ATTACH 'w.duckdb' AS w (READ_ONLY)" },
});

const problemsOf = (...definitions: unknown[]): string[] => {
  try {
    compileRepo(definitions);
  } catch (error) {
    if (error instanceof DefinitionError)
      return error.problems.map(({ place, message }) => `${place}: ${message}`);
    throw error;
  }
  return [];
};

/** What nobody who checks types would write. */
const wrong = (options: object): string[] =>
  problemsOf(
    batchSource({
      ...{ name: 'facts', columns, key: 'customer', from: 'x.csv', effectiveTime: 'since' },
      ...options,
    } as never),
  );

describe('a batch source', () => {
  it('is a source whose events are facts, with an id and a time of their own', () => {
    expect(timed).toEqual({
      kind: 'stream_source',
      name: 'customers',
      topic: 'customers',
      columns: { ...columns, fact_id: long() },
      eventTime: 'since',
      eventId: 'fact_id',
      dedupeHorizonMs: 3_600_000,
      maxFutureMs: 366 * 86_400_000,
      latenessMs: 60_000,
      batch: {
        from: { path: 'customers.parquet' },
        key: ['customer'],
        columns: ['customer', 'segment', 'score', 'since'],
        effectiveTime: 'since',
        everyMs: 86_400_000,
      },
    });
    expect(loaded).toMatchObject({
      columns: { customer: integer(), zip: string(), loaded_at: timestamp(), fact_id: long() },
      eventTime: 'loaded_at',
      batch: { from: { sql: 'SELECT 1' }, columns: ['customer', 'zip'], effectiveTime: null, everyMs: null },
    });
    expect(Object.isFrozen(timed) && Object.isFrozen(timed.batch) && Object.isFrozen(timed.columns)).toBe(
      true,
    );
    expect(problemsOf(timed, loaded)).toEqual([]);
  });

  it('has views whose identity says nothing of the table', () => {
    const namespaceOf = (from: string, every: `${number}d`): string => {
      const source = batchSource({
        name: 's',
        columns,
        key: 'customer',
        from,
        effectiveTime: 'since',
        every,
      });
      const view = featureView({
        name: 'v',
        source,
        entity: entity('customer'),
        features: { segment: last('segment').lifetime() },
      });
      return compileRepo([view]).views.get('v')!.namespace;
    };
    expect(namespaceOf('a.csv', '1d')).toBe(namespaceOf('b.parquet', '7d'));
  });

  it('is refused with what is wrong with it, by name', () => {
    expect(wrong({ from: undefined })).toEqual([
      "source facts: from must be the path of files, 'customers.parquet', or a query, { sql: 'SELECT …' }",
    ]);
    expect(wrong({ from: ' ' })).toHaveLength(1);
    expect(wrong({ from: { sql: '' } })).toHaveLength(1);
    expect(wrong({ from: { sql: 'SELECT 1', setup: 1 } })).toEqual([
      'source facts: setup of from must be SQL that is run before the query',
    ]);
    expect(wrong({ from: { sql: 'SELECT 1', set_up: '' } })).toEqual([
      "source facts: unknown option 'set_up'; did you mean 'setup'?".replace('unknown', 'from: unknown'),
    ]);
    expect(wrong({ key: [] })).toEqual([
      'source facts: key must name the column, or columns, that say what a row is about',
    ]);
    expect(wrong({ key: undefined })).toHaveLength(1);
    expect(wrong({ key: 'custmer' })).toEqual(["source facts: key 'custmer' is not a column of the source"]);
    expect(wrong({ key: 'score' })).toEqual([
      "source facts: key 'score' must be a string, integer or long, not 'double'",
    ]);
    expect(wrong({ key: 'segment' })).toEqual(["source facts: key 'segment' must not be nullable"]);
    expect(wrong({ effectiveTime: 'score' })).toEqual([
      "source facts: effectiveTime 'score' must be a timestamp, not 'double'",
    ]);
    expect(wrong({ effectiveTime: 'untl' })).toEqual([
      "source facts: effectiveTime 'untl' is not a column of the source",
    ]);
    expect(wrong({ every: '1ms' })).toEqual(['source facts: every is 1ms: it must be at least 1s']);
    expect(wrong({ columns: { ...columns, fact_id: long() } })).toEqual([
      "source facts: column 'fact_id' is one that facts get when they are loaded: give that of the table another name",
    ]);
    expect(wrong({ eventTime: 'since' })).toEqual([
      "source facts: unknown option 'eventTime': the time from which a row holds is 'effectiveTime'",
    ]);
    expect(wrong({ evry: '1d' })).toEqual(["source facts: unknown option 'evry'; did you mean 'every'?"]);
    for (const given of [undefined, null, 1, 'x', []])
      expect(problemsOf(batchSource(given as never)).length).toBeGreaterThan(0);
  });
});
