import { describe, expect, it } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { FeatureView } from '../engine/definitions/types.ts';
import {
  count,
  distinctCount,
  entity,
  featureView,
  integer,
  last,
  maxGap,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { describeStateSizes } from './describe-state-sizes.ts';

const source = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: integer(), shop: string() },
  eventTime: 'at',
  eventId: 'id',
});
const common = { name: 'v', source, entity: entity('card') } as const;

function lines(view: unknown, ...rates: number[]): string[] {
  return describeStateSizes([...compileRepo([view as FeatureView]).views.values()][0]!, rates);
}

describe('the state sizes of a view', () => {
  const counts = featureView({ ...common, features: { n: count().over('30d') } });

  it('are a line for each rate', () => {
    const [title, table, ...warnings] = lines(counts, 1, 100, 1_000);
    expect(title).toMatch(
      /^ {2}state per key, estimated for events that come evenly, ids that ascend with gaps:$/,
    );
    expect(table!.split('\n')).toHaveLength(4);
    expect(table).toMatch(/^ {4}100 +3\d{3} +\d+ +\d+ +\d+ +[\d.]+ KiB$/m);
    expect(warnings).toEqual([]);
  });

  it('are marked past the bound, with what the options would give', () => {
    const [, table, warning, instead] = lines(counts, 10, 100_000);
    expect(table).toMatch(/^ {4}100k .* MiB !$/m);
    expect(warning).toMatch(
      /^ {2}! with 100k events a day a key takes [\d.]+ MiB, past its maxStateBytes of 8MiB/,
    );
    expect(instead).toMatch(
      /^ {4}instead: resolution '\w+' gives [\d.]+ [KM]iB; or maxStateBytes \d+ \* 2 \*\* 20 .*; or windows that reach back \d+[dh] at most take [\d.]+ MiB$/,
    );
    expect(lines({ ...counts, maxStateBytes: 2 ** 30 }, 100_000)).toHaveLength(2);
  });

  it('propose no resolution to a sequence, and no window where the as-of retention alone is too dense', () => {
    const gaps = featureView({ ...common, features: { gap: maxGap().over('30d') } });
    expect(lines(gaps, 100_000).at(-1)).not.toContain('resolution');
    const [, , , instead] = lines(gaps, 10_000_000);
    expect(instead).toMatch(/^ {4}instead: an asOfRetention of less than 1d$/);
  });

  it('list the blocks of wide partials', () => {
    const shops = featureView({ ...common, features: { shops: distinctCount('shop').over('30d') } });
    const [, table] = lines(shops, 1, 1_000);
    expect(table).toMatch(/ bytes a tile +blocks +bytes a block +state\n/);
    expect(table).toMatch(/^ {4}1 +3\d +\d+ +0 +\d+ +0 +0 +[\d.]+ (Ki)?B$/m);
    expect(table).toMatch(/^ {4}1000 .* [1-9]\d{2,} +[1-9]\d+ +[\d.]+ [KM]iB$/m);
    expect(lines(counts, 1)[1]).not.toContain('block');
  });

  it('say what texts are taken for', () => {
    const shops = featureView({ ...common, features: { shop: last('shop').over('1d') } });
    const title = lines(shops, 1)[0];
    expect(title).toContain('texts taken as 16 characters and 100 different ones');
    expect(title).toContain('ids that ascend');
    const byText = streamSource({
      name: 'payments',
      columns: { id: string(), at: timestamp(), card: integer() },
      eventTime: 'at',
      eventId: 'id',
    });
    const counted = featureView({ ...common, source: byText, features: { n: count().over('1d') } });
    expect(lines(counted, 1)[0]).not.toContain('ids that ascend');
  });
});
