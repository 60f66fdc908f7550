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
});

describe('what a builder is given that cannot work', () => {
  /** As `compileRepo` reports it, in one feature of an otherwise good repo. */
  const problemsOf = (feature: unknown): string[] => problemsIn({ ...view, features: { x: feature } });

  /** As plain JavaScript may call it. */
  const untyped = (builder: unknown) => builder as (...args: unknown[]) => ReturnType<typeof count>;

  function problemsIn(...definitions: unknown[]): string[] {
    try {
      compileRepo(definitions);
    } catch (error) {
      if (!(error instanceof DefinitionError)) throw error;
      return error.problems.map(({ place, message }) => `${place}: ${message}`);
    }
    return [];
  }

  it('is kept in the definition, which is made all the same', () => {
    const feature = count().over('1d', { ofset: '1d' } as never);
    expect(feature.problems).toEqual(["over: unknown option 'ofset'; did you mean 'offset'?"]);
    expect(Object.isFrozen(feature.problems)).toBe(true);
    expect('problems' in count().over('1d', { offset: '1d' })).toBe(false);
  });

  it('is reported with view and feature, together with everything else', () => {
    const other = streamSource({
      name: 's',
      columns: { at: timestamp(), k: string() },
      eventTime: 'at',
      late: 1,
    } as never);
    const broken = featureView({
      name: 'broken',
      source,
      entity: entity('card', { keys: 1 } as never),
      keyColum: 'card',
      features: {
        a: topKFrequent('card', 10, { capacity: 5 }),
        b: count().over('1d', { ofset: '1d' } as never),
        c: sum('nope' as never).over('1d'),
      },
    } as never);
    expect(problemsIn(broken, other).sort()).toEqual([
      "entity card: unknown option 'keys'; known: description, owner, tags",
      "source s: unknown option 'late'; known: name, topic, columns, eventTime, eventId, dedupeHorizon, maxFuture, lateness, description, owner, tags",
      'view broken, feature a: capacity of topKFrequent must be at least k, 10, not 5',
      'view broken, feature a: has no window: add .over(…) or .lifetime()',
      "view broken, feature b: over: unknown option 'ofset'; did you mean 'offset'?",
      "view broken, feature c: column 'nope' does not exist: it is neither a column of the source nor a projected one",
      "view broken: unknown option 'keyColum'; did you mean 'keyColumn'?",
    ]);
  });

  const ofFeatures: [string, unknown, RegExp | string][] = [
    [
      'a misspelt time zone',
      count().since('day', { timezone: 'UTC' } as never),
      /^view spend, feature x: since: unknown option 'timezone'; did you mean 'timeZone'\?$/,
    ],
    [
      'a name from the catalogue',
      distinctCount('card', { exact_up_to: 5 } as never).over('1d'),
      /distinctCount: unknown option 'exact_up_to'; did you mean 'exactUpTo'\?/,
    ],
    [
      'an option of its own invention',
      count()
        .by('card', { cap: 3 } as never)
        .over('1d'),
      /by: unknown option 'cap'; known: max$/,
    ],
    [
      'an unknown option of maxByN',
      maxByN('card', { by: 'price', m: 1 } as never).over('1d'),
      /maxByN: unknown option 'm'; known: by, n$/,
    ],
    [
      'an unknown option of a series',
      count().series({ start: '7d', size: '1d', hop: '1d' } as never),
      /series: unknown option 'hop'; known: start, end, size, step, default/,
    ],
    [
      'an offset of a series',
      count().series({ start: '7d', size: '1d', offset: '1d' } as never),
      /series: unknown option 'offset': a series is moved back by 'end'/,
    ],
    [
      'an offset of a calendar window',
      count().since('day', { offset: '1d' } as never),
      /since: unknown option 'offset': a calendar window ends at T.*over\(…, \{ offset \}\)/,
    ],
    [
      'an offset of last events',
      count().lastEvents(5, { offset: '1d' } as never),
      /lastEvents: unknown option 'offset': .*over\(…, \{ offset \}\)/,
    ],
    [
      'options of an aggregation that has none',
      untyped(sum)('price', { foo: 1 }).over('1d'),
      /sum takes a column and nothing further: options such as default go with the window/,
    ],
    [
      'options behind a number',
      untyped(topN)('price', 2, { foo: 1 }).over('1d'),
      /topN takes a column and n and nothing further/,
    ],
    [
      'options of a count',
      untyped(count)('price', {}).over('1d'),
      /count takes a column and nothing further/,
    ],
    [
      'options behind a half-life',
      untyped(expDecayCount)('price', '1d', {}).over('1d'),
      /expDecayCount takes a column and a half-life and nothing further/,
    ],
    ['a second secondary key', count().by('card').by('at').over('1d'), /by is given twice, 'card' and 'at'/],
    ['options that are none', count().over('1d', null as never), /over: options must be an object/],
    [
      'a capacity below k',
      topKFrequent('card', 10, { capacity: 9 }).over('1d'),
      /capacity of topKFrequent must be at least k, 10, not 9/,
    ],
    [
      'a k that is missing',
      untyped(topKFrequent)('card').over('1d'),
      /k of topKFrequent must be an integer from 1 to 100, it is missing/,
    ],
    [
      'edges that are no list',
      histogram('price', 5 as never).over('1d'),
      /histogram takes 1 to 256 edges, not 0/,
    ],
    [
      'percents that are missing',
      untyped(percentiles)('price').over('1d'),
      /percentiles takes 1 to 100 percents, not 0/,
    ],
    [
      'a size that is missing',
      count().series({ start: '7d' } as never),
      /^view spend, feature x: size of the series is missing: write a duration such as '7d'/,
    ],
    [
      'a window that is missing',
      count().over(undefined as never),
      /window is missing: write a duration such as '7d'/,
    ],
    ['a column that is missing', untyped(sum)().over('1d'), /sum needs a column, sum\('NAME'\)$/],
    [
      'a half-life that is none',
      expDecaySum('price', 'xx' as never).over('1d'),
      /halfLife of expDecaySum must be a duration from 1ms to 7305d, such as '7d', or whole milliseconds, not 'xx'/,
    ],
    [
      'a rate of a lifetime',
      rate().lifetime(),
      /rate needs the length of its window, and a lifetime has none: use \.over\('1d'\), \.series\(…\) or \.since\(…\); the number of events is count\(\)\.lifetime\(\)/,
    ],
    [
      'a rate of last events',
      rate().lastEvents(5),
      /rate needs .*, and last events have none: use \.over\('1d'\), \.series\(…\) or \.since\(…\)$/,
    ],
  ];

  it.each(ofFeatures)('%s', (_, feature, expected) => {
    expect(problemsOf(feature)).toEqual([expect.stringMatching(expected)]);
  });

  it('a second condition', () => {
    const online = { online: { type: 'boolean', from: () => true } };
    const features = { x: count().where('online').where('online').over('1d') };
    expect(problemsIn({ ...view, project: online, features })).toEqual([
      expect.stringMatching(/feature x: where is given twice, 'online' and 'online'/),
    ]);
  });

  it('an unknown option of a column or projection', () => {
    const columns = { ...source.columns, shop: string({ nulable: true } as never) };
    const project = { twice: { type: 'double', from: () => 1, nulable: true } };
    expect(problemsIn({ ...view, source: { ...source, columns }, project })).toEqual([
      "source swipes: column 'shop': unknown option 'nulable'; did you mean 'nullable'?",
      "view spend: projected column 'twice': unknown option 'nulable'; did you mean 'nullable'?",
    ]);
  });

  it('no options at all', () => {
    for (const build of [streamSource, featureView, onDemandFeature, featureService]) {
      const definition: unknown = (build as (options: unknown) => unknown)(null);
      expect(problemsIn(definition).join()).toMatch(/options must be an object/);
    }
    expect(
      problemsIn(service, featureService({ name: 'x', features: [view], view } as never)).join(),
    ).toMatch(/service x: unknown option 'view'/);
  });
});

describe('sketches', () => {
  it('fill in what stands before a list, and raise the capacity to k', () => {
    expect(percentiles('price', [50, 99]).params).toEqual([0.01, 50, 99]);
    expect(median('price').params).toEqual([]);
    expect(topKFrequent('card', 3).params).toEqual([3, 64]);
    expect(topKFrequent('card', 100).params).toEqual([100, 100]);
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
