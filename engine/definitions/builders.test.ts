import { describe, expect, it } from 'vitest';
import {
  count,
  distinctCount,
  expDecayCount,
  expDecayMean,
  expDecaySum,
  firstN,
  histogram,
  maxByN,
  maxGap,
  mean,
  median,
  minByN,
  minGap,
  percentiles,
  rate,
  sum,
  timeSinceLast,
  topKFrequent,
  topN,
} from './aggregation.ts';
import { double, string, timestamp } from './column.ts';
import { compileRepo } from './compile.ts';
import { DefinitionError } from './definition-error.ts';
import { entity } from './entity.ts';
import { featureService } from './feature-service.ts';
import { featureView } from './feature-view.ts';
import { onDemandFeature } from './on-demand-feature.ts';
import { streamSource } from './stream-source.ts';

const source = streamSource({
  name: 'swipes',
  columns: { at: timestamp(), card: string(), price: double() },
  eventTime: 'at',
});
const view = featureView({
  name: 'spend',
  source,
  entity: entity('card'),
  project: { twice: { type: 'double', from: (event) => event.price * 2 } },
  features: { n: count().over('1d', { tags: ['a'] }), constructor: mean('twice').over('7d') },
});
const half = onDemandFeature({
  name: 'half',
  type: 'double',
  inputs: { n: view.feature.n },
  request: { amount: double() },
  compute: ({ features }) => features.n / 2,
});
const service = featureService({ name: 'decision', features: [view, half], tags: ['x'] });

function frozenDeep(value: unknown, path: string, seen = new Set<unknown>()): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  expect(Object.isFrozen(value), path).toBe(true);
  for (const key of Reflect.ownKeys(value)) frozenDeep((value as never)[key], `${path}.${String(key)}`, seen);
}

describe('definitions', () => {
  it('are plain data, frozen all the way down', () => {
    frozenDeep(service, 'service');
    frozenDeep(source, 'source');
    for (const definition of [source, view, half, service, view.entity]) {
      expect(Object.getPrototypeOf(definition)).toBe(Object.prototype);
    }
    expect(JSON.parse(JSON.stringify(source))).toEqual(source);
  });

  it('do not follow later changes of the options they were made from', () => {
    const columns = { at: timestamp(), a: string() };
    const tags = ['x'];
    const made = streamSource({ name: 's', columns, eventTime: 'at', tags });
    Object.assign(columns, { b: string() });
    tags.push('y');
    expect(Object.keys(made.columns)).toEqual(['at', 'a']);
    expect(made.tags).toEqual(['x']);
  });

  it('have the documented defaults', () => {
    expect(source).toEqual({
      kind: 'stream_source',
      name: 'swipes',
      topic: 'swipes',
      columns: source.columns,
      eventTime: 'at',
      eventId: null,
      dedupeHorizonMs: 3_600_000,
      maxFutureMs: 600_000,
      latenessMs: 60_000,
    });
    expect(view).toMatchObject({
      keyColumn: 'card',
      filter: null,
      resolutionMs: null,
      maxStateBytes: 8 * 2 ** 20,
      asOfRetentionMs: 86_400_000,
      version: 1,
    });
    expect(string()).toEqual({ type: 'string', nullable: false });
    expect(string({ nullable: true })).toEqual({ type: 'string', nullable: true });
  });

  it('take durations as text or milliseconds', () => {
    expect(count().over('7d', { offset: 1000 }).window).toEqual({
      kind: 'sliding',
      sizeMs: 604_800_000,
      offsetMs: 1000,
    });
    expect(count().lifetime({ offset: '1h' }).window).toEqual({ kind: 'lifetime', offsetMs: 3_600_000 });
  });

  it('take windows of every kind', () => {
    const day = 86_400_000;
    expect(count().series({ start: '7d', end: '1d', size: '1d', step: '12h' }).window).toEqual({
      kind: 'series',
      startMs: 7 * day,
      endMs: day,
      sizeMs: day,
      stepMs: day / 2,
    });
    expect(count().series({ start: '7d', size: '1d' }).window).toMatchObject({ endMs: 0, stepMs: day });
    expect(count().since('day', { timeZone: 'Europe/Berlin' }).window).toEqual({
      kind: 'calendar',
      unit: 'day',
      timeZone: 'Europe/Berlin',
      weekStart: 'monday',
    });
    expect(count().since('week').window).toMatchObject({ timeZone: 'UTC' });
    expect(count().lastEvents(5).window).toEqual({ kind: 'last_events', count: 5, withinMs: null });
    expect(count().lastEvents(5, { within: '1d' }).window).toMatchObject({ withinMs: day });
    expect(() => count().series({ start: '7d', size: '1d', hop: '1d' } as never)).toThrow(
      /unknown option 'hop'/,
    );
    expect(() => count().lastEvents(5, { offset: '1d' } as never)).toThrow(/unknown option 'offset'/);
  });

  it('take conditions and secondary keys in any order, and keep what was said before', () => {
    const feature = maxByN('card', { by: 'price' }).where('online').by('shop').over('1d');
    expect(feature).toMatchObject({ orderBy: 'price', where: 'online', by: { column: 'shop', max: 64 } });
    expect(count().by('shop', { max: 3 }).where('online').over('1d')).toMatchObject({
      where: 'online',
      by: { column: 'shop', max: 3 },
    });
    const plain = count();
    plain.where('online');
    expect('where' in plain.over('1d')).toBe(false);
    expect(() => count().by('shop', { cap: 3 } as never)).toThrow(/unknown option 'cap'/);
  });

  it('name operation, column, parameters and default of a feature', () => {
    expect(sum('price').over('1d', { default: 0, description: 'd' })).toEqual({
      kind: 'feature',
      operation: 'sum',
      column: 'price',
      params: [],
      window: { kind: 'sliding', sizeMs: 86_400_000, offsetMs: 0 },
      default: 0,
      description: 'd',
    });
    expect(firstN('price', 3).lifetime().params).toEqual([3]);
    expect(distinctCount('card', { exactUpTo: 9 }).lifetime().params).toEqual([9]);
    expect(distinctCount('card').lifetime().params).toEqual([]);
    expect(topN('price', 3).lifetime().params).toEqual([3]);
    expect(maxByN('card', { by: 'price', n: 2 }).lifetime()).toMatchObject({
      column: 'card',
      orderBy: 'price',
      params: [2],
    });
    expect(minByN('card', { by: 'price' }).lifetime().params).toEqual([]);
    expect(maxGap().over('1d').column).toBeNull();
    expect(minGap('price').over('1d').column).toBe('price');
    expect('orderBy' in count().lifetime()).toBe(false);
    expect(count().lifetime().column).toBeNull();
    expect(expDecaySum('price', '7d').lifetime().params).toEqual([604_800_000]);
    expect(expDecayMean('price', 5).lifetime().params).toEqual([5]);
    expect(expDecayCount('1s').lifetime()).toMatchObject({ column: null, params: [1000] });
    expect(expDecayCount('card', '1s').lifetime()).toMatchObject({ column: 'card', params: [1000] });
    expect(histogram('price', [1, 2.5]).lifetime().params).toEqual([1, 2.5]);
    expect(rate().over('1d').column).toBeNull();
    expect(timeSinceLast('card').over('1d')).toMatchObject({ operation: 'time_since_last', column: 'card' });
    expect('default' in count().lifetime()).toBe(false);
  });

  it('refer to features of a view by name, inherited names included', () => {
    expect(view.feature.n).toEqual({ kind: 'feature_reference', view, name: 'n' });
    expect(view.feature.constructor.name).toBe('constructor');
    expect((view.feature as Record<string, unknown>).toString).toBeUndefined();
    expect(Object.keys(view)).not.toContain('feature');
  });

  it('expand a view in a service', () => {
    expect(service.features.map(({ name }) => name)).toEqual(['n', 'constructor', 'half']);
  });

  it('refuse options they do not know, each by name', () => {
    const options = { name: 's', columns: {}, eventTime: 'at', lateness_ms: 5, watermark: 1 };
    expect(() => streamSource(options as never)).toThrow(DefinitionError);
    expect(() => streamSource(options as never)).toThrow(/'lateness_ms'.*\n.*'watermark'/);
    expect(() => entity('card', { keys: 1 } as never)).toThrow(
      /unknown option 'keys'; known: description, owner, tags/,
    );
    expect(() => maxByN('card', { by: 'price', m: 1 } as never)).toThrow(/unknown option 'm'; known: by, n/);
    expect(() => count().over('1d', { ofset: '1d' } as never)).toThrow(/unknown option 'ofset'/);
    expect(() => featureView(null as never)).toThrow(DefinitionError);
  });
});

describe('sketches', () => {
  it('fill in what stands before a list, and raise the capacity to k', () => {
    expect(percentiles('price', [50, 99]).params).toEqual([0.01, 50, 99]);
    expect(median('price').params).toEqual([]);
    expect(topKFrequent('card', 3).params).toEqual([3, 64]);
    expect(topKFrequent('card', 100).params).toEqual([100, 100]);
  });

  it('refuse a capacity below k', () => {
    expect(() => topKFrequent('card', 10, { capacity: 9 })).toThrow(/capacity must be at least k, 10, not 9/);
  });

  it('take pairs for a default, and nothing else', () => {
    const compile = (value: readonly (readonly [string, number])[]) =>
      compileRepo([
        featureView({
          name: 'top',
          source,
          entity: entity('card'),
          features: { top: topKFrequent('card', 3).over('1d', { default: value }) },
        }),
      ]);
    expect(() => compile([['a', 1]])).not.toThrow();
    expect(() => compile([['a'] as never])).toThrow(/default must be pair\[\] or null/);
  });
});
