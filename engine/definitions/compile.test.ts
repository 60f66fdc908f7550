import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  any,
  changes,
  count,
  distinctCount,
  expDecayCount,
  expDecayMean,
  expDecaySum,
  first,
  firstN,
  histogram,
  last,
  lastN,
  maxByN,
  maxGap,
  mean,
  min,
  minByN,
  minGap,
  rate,
  stddevPop,
  sum,
  timeSinceFirst,
  timeSinceLast,
  varSamp,
} from './aggregation.ts';
import { boolean, double, integer, long, string, timestamp } from './column.ts';
import { compileRepo } from './compile.ts';
import { DefinitionError } from './definition-error.ts';
import { entity } from './entity.ts';
import { featureService } from './feature-service.ts';
import { featureView } from './feature-view.ts';
import { onDemandFeature } from './on-demand-feature.ts';
import { streamSource } from './stream-source.ts';
import type { FeatureView, OnDemandFeature, StreamSource } from './types.ts';

const swipes = streamSource({
  name: 'swipes',
  columns: {
    id: long(),
    at: timestamp(),
    card: string(),
    shop: string({ nullable: true }),
    pieces: integer(),
    price: double(),
    tip: double({ nullable: true }),
    online: boolean(),
  },
  eventTime: 'at',
  eventId: 'id',
});
const card = entity('card');
const spend = featureView({
  name: 'spend',
  source: swipes,
  entity: card,
  features: { n_1d: count().over('1d'), mean_7d: mean('price').over('7d') },
});

/** Definitions as plain JavaScript may write them. */
const plain = (definition: object, changes: object): object => ({ ...definition, ...changes });
const plainView = (changes: object): object => plain(spend, changes);
const plainSource = (changes: object): object => plain(swipes, changes);
const plainFeature = (changes: object): object =>
  plainView({ features: { x: { ...count().over('1d'), ...changes } } });

const service = (features: unknown): object => ({ kind: 'feature_service', name: 'decision', features });
const ratio = onDemandFeature({
  name: 'ratio',
  type: 'double',
  inputs: { mean: spend.feature.mean_7d },
  request: { amount: double() },
  compute: ({ features, request }) => (features.mean === null ? null : request.amount / features.mean),
});

const compile = (view: FeatureView) => compileRepo([view]).views.get(view.name)!;

function problemsOf(...definitions: unknown[]): string[] {
  try {
    compileRepo(definitions);
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    expect(error.problems.length).toBeGreaterThan(0);
    for (const { place, message } of error.problems) expect(error.message).toContain(`${place}: ${message}`);
    return error.problems.map(({ place, message }) => `${place}: ${message}`);
  }
  return [];
}

const expectProblem = (definition: unknown, expected: RegExp): void => {
  expect(problemsOf(definition)).toEqual([expect.stringMatching(expected)]);
};

describe('a repo that cannot work is refused', () => {
  const days = (n: number): number => n * 86_400_000;
  const aggregationProblems: [string, object, RegExp][] = [
    [
      'an unknown column',
      { operation: 'mean', column: 'prize' },
      /^view spend, feature x: column 'prize' does not exist/,
    ],
    [
      'a column name that objects inherit',
      { operation: 'mean', column: 'constructor' },
      /'constructor' does not exist/,
    ],
    ['a column that is no text', { operation: 'mean', column: 7 }, /column 7 does not exist/],
    [
      'a column of a type the operation does not take',
      { operation: 'mean', column: 'card' },
      /mean does not take column 'card' of type string; it takes integer/,
    ],
    ['a boolean summed', { operation: 'sum', column: 'online' }, /sum does not take column 'online'/],
    ['an operation without its column', { operation: 'mean', column: null }, /mean needs a column/],
    [
      'an unknown operation',
      { operation: 'mode', column: 'price' },
      /unknown operation 'mode'; operations are count, /,
    ],
    ['an inherited name as operation', { operation: 'toString' }, /unknown operation 'toString'/],
    [
      'a missing parameter',
      { operation: 'first_n', column: 'price', params: [] },
      /n of firstN .* it is missing/,
    ],
    [
      'a parameter out of bounds',
      { operation: 'first_n', column: 'price', params: [0] },
      /integer from 1 to \d+, not 0/,
    ],
    ['a parameter that is not whole', { operation: 'last_n', column: 'price', params: [1.5] }, /not 1.5/],
    [
      'too many parameters',
      { operation: 'sum', column: 'price', params: [1] },
      /sum takes 0 parameters, not 1/,
    ],
    [
      'no column to order by',
      { operation: 'max_by_n', column: 'card' },
      /^view spend, feature x: maxByN needs a column to order by/,
    ],
    [
      'an unknown column to order by',
      { operation: 'max_by_n', column: 'card', orderBy: 'prize' },
      /column 'prize' does not exist/,
    ],
    [
      'a column to order by that has no order',
      { operation: 'min_by_n', column: 'price', orderBy: 'card' },
      /minByN does not order by column 'card' of type string; it takes integer, long, double, timestamp/,
    ],
    [
      'a column to order by where none is taken',
      { operation: 'mean', column: 'price', orderBy: 'price' },
      /mean takes no column to order by/,
    ],
    [
      'a sequence over a lifetime',
      { operation: 'max_gap', column: null, window: { kind: 'lifetime', offsetMs: 0 } },
      /maxGap takes no lifetime window/,
    ],
    ['parameters that are no list', { params: 3 }, /params must be a list/],
    [
      'a rate of a window without a length',
      { operation: 'rate', column: null, params: [], window: { kind: 'lifetime', offsetMs: 0 } },
      /^view spend, feature x: rate needs the length of its window, and a lifetime has none/,
    ],
    [
      'a half-life that is no duration',
      { ...expDecaySum('price', '7 days' as never).over('1d') },
      /halfLife of expDecaySum must be a duration from 1ms to 7305d, .* not '7 days'/,
    ],
    ['a half-life of nothing', { ...expDecayCount(0).over('1d') }, /halfLife .* not 0/],
    ['a histogram without edges', { ...histogram('price', []).over('1d') }, /takes 1 to 256 edges, not 0/],
    ['edges out of order', { ...histogram('price', [1, 3, 2]).over('1d') }, /edges of histogram must ascend/],
    [
      'too many edges',
      {
        ...histogram(
          'price',
          Array.from({ length: 257 }, (_, i) => i),
        ).over('1d'),
      },
      /takes 1 to 256 edges, not 257/,
    ],
    ['any of a number', { ...any('price').over('1d') }, /any does not take column 'price' of type double/],
    [
      'a window of 0',
      { window: { kind: 'sliding', sizeMs: 0, offsetMs: 0 } },
      /window is 0ms: it must be at least 1s/,
    ],
    ['a negative window', { window: { kind: 'sliding', sizeMs: -5, offsetMs: 0 } }, /window is -5ms/],
    [
      'a window below 1 s',
      { window: { kind: 'sliding', sizeMs: 999, offsetMs: 0 } },
      /window is 999ms: it must be at least 1s/,
    ],
    [
      'a window that is not whole ms',
      { window: { kind: 'sliding', sizeMs: 1000.5, offsetMs: 0 } },
      /whole number of milliseconds, not 1000.5/,
    ],
    [
      'a window above 20 years',
      { window: { kind: 'sliding', sizeMs: days(7305) + 1, offsetMs: 0 } },
      /at most 20 years/,
    ],
    [
      'an infinite window',
      { window: { kind: 'sliding', sizeMs: Number.POSITIVE_INFINITY, offsetMs: 0 } },
      /at most 20 years/,
    ],
    [
      'a window that is NaN',
      { window: { kind: 'sliding', sizeMs: Number.NaN, offsetMs: 0 } },
      /must be a number of milliseconds/,
    ],
    ['a negative offset', { window: { kind: 'lifetime', offsetMs: -1 } }, /offset is -1ms/],
    ['no window', { window: undefined }, /window must be/],
    ['a window of unknown kind', { window: { kind: 'session' } }, /window must be/],
    ['a default of another type', { default: 'none' }, /default must be integer or null, .* not 'none'/],
    [
      'a default that is NaN',
      { operation: 'mean', column: 'price', default: Number.NaN },
      /default must be double or null/,
    ],
    ['a description that is no text', { description: 7 }, /description must be text/],
  ];

  it.each(aggregationProblems)('%s', (_, changes, expected) => {
    expectProblem(plainFeature(changes), expected);
  });

  const viewProblems: [string, object, RegExp][] = [
    [
      'a feature without a window',
      { features: { x: count() } },
      /^view spend, feature x: has no window: add \.over/,
    ],
    ['a feature that is none', { features: { x: 5 } }, /feature x: must be an aggregation over a window/],
    [
      'a bad feature name',
      { features: { 'a-b': count().over('1d') } },
      /feature a-b: feature name 'a-b' is not a name/,
    ],
    ['no features', { features: {} }, /^view spend: has no features/],
    ['features that are no object', { features: [count().over('1d')] }, /features must be an object/],
    ['a bad view name', { name: '7th' }, /view name '7th' is not a name/],
    ['no name', { name: undefined }, /^view \(without a name\): view name undefined is not a name/],
    ['a reserved name', { name: '__proto__' }, /'__proto__' is reserved/],
    ['a missing key column', { keyColumn: 'pan' }, /keyColumn 'pan' is not a column of source swipes/],
    ['an inherited name as key column', { keyColumn: 'toString' }, /keyColumn 'toString' is not a column/],
    [
      'a double as key',
      { keyColumn: 'price' },
      /keyColumn 'price' must be a string, integer or long, not 'double'/,
    ],
    ['a timestamp as key', { keyColumn: 'at' }, /not 'timestamp'/],
    ['a boolean as key', { keyColumn: 'online' }, /not 'boolean'/],
    ['a resolution of 0', { resolutionMs: 0 }, /resolution is 0ms/],
    ['a negative resolution', { resolutionMs: -1 }, /resolution is -1ms/],
    [
      'a window shorter than the resolution',
      { resolutionMs: days(2) },
      /feature n_1d: window 1d is shorter than the view's resolution of 2d/,
    ],
    [
      'a calendar window shorter than the resolution',
      { resolutionMs: days(2), features: { x: count().since('day', { timeZone: 'UTC' }) } },
      /feature x: calendar day is shorter than the view's resolution of 2d/,
    ],
    [
      'a sequence in a view with a resolution',
      { resolutionMs: 1000, features: { x: changes('shop').over('1d') } },
      /feature x: changes takes no view with a resolution/,
    ],
    [
      'a maxStateBytes that is too small',
      { maxStateBytes: 65_535 },
      /maxStateBytes must be .* 65536 .* not 65535/,
    ],
    ['a maxStateBytes that is too large', { maxStateBytes: 2 ** 30 + 1 }, /maxStateBytes must be/],
    ['a maxStateBytes that is not whole', { maxStateBytes: 1e6 + 0.5 }, /maxStateBytes must be/],
    ['a maxStateBytes that is text', { maxStateBytes: '8MiB' }, /maxStateBytes must be/],
    ['a negative asOfRetention', { asOfRetentionMs: -1 }, /asOfRetention is -1ms/],
    ['version 0', { version: 0 }, /version must be a positive integer, not 0/],
    ['a version that is not whole', { version: 1.5 }, /version must be a positive integer/],
    ['a version that is text', { version: '2' }, /version must be a positive integer, not '2'/],
    ['a filter that is no function', { filter: true }, /filter must be a function or null/],
    ['an entity by name', { entity: 'card' }, /entity must be made with entity\(\)/],
    [
      'a projection onto a source column',
      { project: { price: { type: 'double', from: () => 1 } } },
      /projected column 'price' has the name of a column/,
    ],
    [
      'a projection without a function',
      { project: { x: { type: 'double', from: 'price' } } },
      /'x': from must be a function/,
    ],
    [
      'a projection of unknown type',
      { project: { x: { type: 'decimal', from: () => 1 } } },
      /'x' has unknown type 'decimal'/,
    ],
    [
      'a projection that is a function',
      { project: { x: () => 1 } },
      /projected column 'x' must be \{ type, from \}/,
    ],
    [
      'a bad projection name',
      { project: { 'x y': { type: 'double', from: () => 1 } } },
      /projected column 'x y' is not a name/,
    ],
    ['tags that are no list', { tags: 'fraud' }, /tags must be a list/],
  ];

  it.each(viewProblems)('%s', (_, changes, expected) => {
    expectProblem(plainView(changes), expected);
  });

  const sourceProblems: [string, object, RegExp][] = [
    [
      'an eventTime that is no column',
      { eventTime: 'when' },
      /^source swipes: eventTime 'when' is not a column/,
    ],
    ['an inherited name as eventTime', { eventTime: 'valueOf' }, /eventTime 'valueOf' is not a column/],
    [
      'an eventTime that is no timestamp',
      { eventTime: 'pieces' },
      /eventTime 'pieces' must be a timestamp, not 'integer'/,
    ],
    [
      'a nullable eventTime',
      { columns: { ...swipes.columns, at: timestamp({ nullable: true }) } },
      /eventTime 'at' must not be nullable/,
    ],
    ['an eventId that is no column', { eventId: 'uuid' }, /eventId 'uuid' is not a column/],
    ['a nullable eventId', { eventId: 'shop' }, /eventId 'shop' must not be nullable/],
    ['a double as eventId', { eventId: 'price' }, /eventId 'price' must be a string, integer or long/],
    ['an eventId that is missing', { eventId: undefined }, /eventId undefined is not a column/],
    ['a negative dedupeHorizon', { dedupeHorizonMs: -1 }, /dedupeHorizon is -1ms/],
    [
      'a maxFuture that is text',
      { maxFutureMs: '10m' },
      /maxFuture must be a number of milliseconds, not '10m'/,
    ],
    ['a lateness that is not whole', { latenessMs: 0.5 }, /lateness must be a whole number/],
    ['a bad topic', { topic: 'a/b' }, /topic 'a\/b' is not a topic name/],
    [
      'a topic whose dead letters would have too long a name',
      { topic: 'a'.repeat(237) },
      /is not a topic name: 1 to 236/,
    ],
    ['a bad name', { name: '' }, /source name '' is not a name/],
    ['no columns', { columns: {} }, /has no columns/],
    ['columns that are no object', { columns: null }, /columns must be an object/],
    [
      'a column of unknown type',
      { columns: { ...swipes.columns, x: { type: 'decimal', nullable: false } } },
      /column 'x' has unknown type 'decimal'/,
    ],
    [
      'a column that is no object',
      { columns: { ...swipes.columns, x: 'double' } },
      /column 'x' must be made with string\(\)/,
    ],
    [
      'a column without nullability',
      { columns: { ...swipes.columns, x: { type: 'double' } } },
      /column 'x': nullable must be true or false/,
    ],
    ['a bad column name', { columns: { ...swipes.columns, 'x-y': double() } }, /column 'x-y' is not a name/],
  ];

  it.each(sourceProblems)('%s', (_, changes, expected) => {
    const problems = problemsOf(plainSource(changes));
    expect(problems).toContainEqual(expect.stringMatching(expected));
  });

  it('an own column called __proto__', () => {
    const columns = JSON.parse('{"__proto__":{"type":"double","nullable":false}}');
    expectProblem(
      plainSource({ columns: { ...columns, at: timestamp() }, eventId: null }),
      /'__proto__' is reserved/,
    );
  });

  const onDemandProblems: [string, object, RegExp][] = [
    ['a bad name', { name: 'a.b' }, /feature name 'a.b' is not a name/],
    ['an unknown type', { type: 'number' }, /^on-demand feature ratio: unknown type 'number'/],
    ['a compute that is no function', { compute: 1 }, /compute must be a function/],
    ['an input that is a whole view', { inputs: { v: spend } }, /input 'v' must be a feature of a view/],
    ['an input that is undefined', { inputs: { v: undefined } }, /input 'v' must be a feature/],
    [
      'an input of a view that lacks it',
      { inputs: { v: { kind: 'feature_reference', view: spend, name: 'nope' } } },
      /input 'v': view spend has no feature 'nope'/,
    ],
    [
      'an input of an inherited name',
      { inputs: { v: { kind: 'feature_reference', view: spend, name: 'constructor' } } },
      /view spend has no feature 'constructor'/,
    ],
    [
      'an input of no view',
      { inputs: { v: { kind: 'feature_reference', view: null, name: 'x' } } },
      /input 'v' refers to no feature view/,
    ],
    [
      'a request column of unknown type',
      { request: { a: { type: 'money', nullable: false } } },
      /request column 'a' has unknown type 'money'/,
    ],
    ['inputs that are no object', { inputs: [] }, /inputs must be an object/],
    ['request that is no object', { request: 'amount' }, /request must be an object/],
  ];

  it.each(onDemandProblems)('on demand: %s', (_, changes, expected) => {
    expectProblem(plain(ratio, changes), expected);
  });

  it('an on-demand feature that needs itself, directly or through others', () => {
    const inputs: Record<string, unknown> = {};
    const a = { ...ratio, name: 'a', inputs };
    const b = { ...ratio, name: 'b', inputs: { a } };
    inputs.b = b;
    expectProblem(a, /^on-demand feature a: needs itself: a → b → a$/);
    const self: Record<string, unknown> = {};
    const c = { ...ratio, name: 'c', inputs: self };
    self.c = c;
    expectProblem(service([c]), /needs itself: c → c$/);
  });

  it.each<[string, unknown, RegExp]>([
    ['without features', service([]), /^service decision: has no features/],
    ['whose features are no list', service({}), /features must be a list/],
    ['with a name twice', service([spend, spend.feature.n_1d]), /two features are called 'n_1d'/],
    [
      'with an on-demand feature named like a feature',
      service([spend.feature.mean_7d, { ...ratio, name: 'mean_7d' }]),
      /two features are called 'mean_7d'/,
    ],
    [
      'naming a feature that does not exist',
      service([{ kind: 'feature_reference', view: spend, name: 'n_2d' }]),
      /item 1: view spend has no feature 'n_2d'/,
    ],
    ['with something that is no feature', service([spend, undefined]), /item 2 must be a feature of a view/],
    ['of a bad name', { ...service([ratio]), name: 'a b' }, /service name 'a b' is not a name/],
    [
      'whose on-demand features want one request column in two types',
      service([ratio, { ...ratio, name: 'r2', request: { amount: integer() } }]),
      /request column 'amount' is double for ratio and integer for r2/,
    ],
    [
      'whose on-demand features disagree on nullability',
      service([ratio, { ...ratio, name: 'r2', inputs: {}, request: { amount: double({ nullable: true }) } }]),
      /is double for ratio and nullable double for r2/,
    ],
  ])('a service %s', (_, definition, expected) => {
    expectProblem(definition, expected);
  });

  it('an entity with a bad name', () => {
    expectProblem(entity('customer id'), /^entity customer id: entity name 'customer id' is not a name/);
  });

  it('two different definitions of one name and kind', () => {
    expect(problemsOf(swipes, plainSource({}))).toEqual([
      'source swipes: two different definitions have this name',
    ]);
    expect(problemsOf(entity('card'), entity('card'))[0]).toMatch(/^entity card: two different/);
    expect(problemsOf(spend, plainView({}))[0]).toMatch(/^view spend: two different/);
    expect(problemsOf(ratio, plain(ratio, {}))[0]).toMatch(/^on-demand feature ratio: two different/);
    expect(problemsOf(service([ratio]), service([ratio]))[0]).toMatch(/^service decision: two different/);
    expect(problemsOf(swipes, swipes, spend, spend)).toEqual([]);
  });

  it('two sources that read one topic', () => {
    expectOnly(
      problemsOf(swipes, plainSource({ name: 'other', topic: 'swipes' })),
      /^source other: topic 'swipes' is also/,
    );
  });

  it('an unknown kind of definition, and a repo without definitions', () => {
    expect(problemsOf({ kind: 'featureview', name: 'x' })).toEqual([
      expect.stringMatching(/unknown kind of definition 'featureview'/),
      'repo: has no definitions',
    ]);
    expectOnly(problemsOf(), /repo: has no definitions/);
  });

  it('with every problem named at once', () => {
    const problems = problemsOf(
      plainSource({ eventTime: 'nope', eventId: 'price', latenessMs: -1 }),
      plainView({
        source: plainSource({ name: 'other', topic: 'other' }),
        version: 0,
        keyColumn: 'pan',
        features: {
          a: mean('prize' as 'price').over(500),
          b: firstN('price', 0).over('1d', { offset: -1 }),
          c: sum('card').over('1d'),
        },
      }),
      service([]),
    );
    expect(problems.map((problem) => problem.replace(/(: .{0,24}).*/, '$1'))).toMatchInlineSnapshot(`
      [
        "source swipes: lateness is -1ms: it mus",
        "source swipes: eventTime 'nope' is not ",
        "source swipes: eventId 'price' must be ",
        "view spend: keyColumn 'pan' is not a",
        "view spend: version must be a positi",
        "view spend, feature a: window is 500ms: it must",
        "view spend, feature a: column 'prize' does not ",
        "view spend, feature b: offset is -1ms: it must ",
        "view spend, feature b: n of firstN must be an i",
        "view spend, feature c: sum does not take column",
        "service decision: has no features",
      ]
    `);
  });
});

function expectOnly(problems: readonly string[], expected: RegExp): void {
  expect(problems).toEqual([expect.stringMatching(expected)]);
}

describe('functions that read what does not exist', () => {
  it('names the column a filter misspells, on either side of a comparison', () => {
    const filter = (event: Record<string, unknown>) => event.online === true && event.shopp === 'x';
    expect(problemsOf(plainView({ filter }))).toEqual([
      "view spend: filter reads 'shopp', which is not a column of source swipes",
    ]);
  });

  it('names the column a projection misspells, also where it throws on made-up values', () => {
    const from = (event: Record<string, string>) => Number((event.prise as string).slice(1));
    const project = { x: { type: 'double', from } };
    const features = { x: sum('x').over('1d') };
    expect(problemsOf(plainView({ project, features }))).toEqual([
      "view spend: projected column 'x' reads 'prise', which is not a column of source swipes",
    ]);
  });

  it('takes functions that read what exists', () => {
    const filter = (event: Record<string, unknown>) => event.tip !== null && event.online === false;
    expect(problemsOf(plainView({ filter }))).toEqual([]);
  });
});

it('reports text that is no duration with its place, together with everything else', () => {
  const source = streamSource({
    name: 'swipes',
    columns: { at: timestamp(), card: string() },
    eventTime: 'at',
    lateness: 'soon' as '1s',
  });
  const features = { x: count().over('90y' as '90d'), y: mean('nope' as 'card').over('1d') };
  const problems = problemsOf(plainView({ source, features }));
  expect(problems).toHaveLength(3);
  expect(problems.join('\n')).toMatch(/source swipes: lateness: 'soon' is not a duration/);
  expect(problems.join('\n')).toMatch(/feature x: window: '90y' is not a duration/);
  expect(problems.join('\n')).toMatch(/feature y: .*nope/);
});

describe('definitions that were not made by the builders', () => {
  it('never make it throw anything but a DefinitionError', () => {
    const kinds = [
      'stream_source',
      'entity',
      'feature_view',
      'on_demand_feature',
      'feature_service',
      'feature_reference',
      'feature',
    ];
    const fields = [
      'name',
      'topic',
      'columns',
      'eventTime',
      'eventId',
      'source',
      'entity',
      'keyColumn',
      'filter',
      'project',
      'features',
      'inputs',
      'request',
      'compute',
      'type',
      'window',
      'operation',
      'column',
      'params',
      'view',
      'resolutionMs',
      'maxStateBytes',
      'version',
    ];
    const odd = fc.letrec<{ definition: unknown; value: unknown }>((tie) => ({
      definition: fc
        .tuple(
          fc.constantFrom(...kinds),
          fc.dictionary(fc.constantFrom(...fields), tie('value'), { maxKeys: 8 }),
        )
        .map(([kind, rest]) => ({ kind, ...rest })),
      value: fc.oneof(
        { maxDepth: 4, depthSize: 'xsmall' },
        fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, maxDepth: 0 }),
        fc.constantFrom(spend, swipes, card, ratio, Symbol('x'), () => 1, 'swipes', 'card', 'price', 1000),
        tie('definition'),
        fc.array(tie('definition'), { maxLength: 2 }),
        fc.dictionary(fc.constantFrom(...fields, 'x', 'constructor'), tie('definition'), { maxKeys: 2 }),
      ),
    })).definition;
    fc.assert(
      fc.property(fc.array(odd, { maxLength: 4 }), (definitions) => {
        problemsOf(...definitions);
      }),
      { numRuns: 300 },
    );
  });

  it('one field of a good repo replaced by anything is compiled or refused, with all its definitions named', () => {
    const anything = fc.oneof(
      fc.anything({ withBigInt: true, withNullPrototype: true }),
      fc.constant(() => 1),
    );
    for (const [definition, wrap] of [
      [swipes, (source: unknown) => plainView({ source })],
      [spend, (view: unknown) => view],
      [ratio, (feature: unknown) => service([feature])],
    ] as const) {
      fc.assert(
        fc.property(fc.constantFrom(...Object.keys(definition)), anything, (field, value) => {
          problemsOf(wrap(plain(definition, { [field]: value })));
        }),
      );
    }
  });

  it('may throw when they are looked at', () => {
    const trap = {
      kind: 'feature_view',
      name: 'v',
      get features(): never {
        throw new Error('no looking');
      },
    };
    expect(problemsOf(trap).join()).toMatch(/cannot be read: no looking/);
    expect(
      problemsOf(
        new Proxy(
          {},
          {
            get: () => {
              throw new Error('never');
            },
          },
        ),
      ).join(),
    ).toMatch(/never/);
    expect(() => compileRepo(null as never)).toThrow(DefinitionError);
  });

  it('work when they are right, a view named in a service included', () => {
    const repo = compileRepo([service([plainView({})])]);
    expect(repo.services.get('decision')!.output.map(({ name }) => name)).toEqual(['n_1d', 'mean_7d']);
  });
});

describe('times of a service', () => {
  const timed = (times: object): object => plain(service([spend]), times);

  it('have their defaults where they are left out', () => {
    const { deadlineMs, staleForMs } = compileRepo([service([spend])]).services.get('decision')!;
    expect([deadlineMs, staleForMs]).toEqual([2_000, 0]);
  });

  it('are durations', () => {
    const given = featureService({ name: 'decision', features: [spend], deadline: '50ms', staleFor: '5m' });
    const { deadlineMs, staleForMs } = compileRepo([given]).services.get('decision')!;
    expect([deadlineMs, staleForMs]).toEqual([50, 300_000]);
  });

  it.each([
    [{ deadlineMs: 0 }, /^service decision: deadline is 0ms: it must be at least 1ms/],
    [{ deadlineMs: 60_001 }, /deadline is 60001ms: at most 1m is possible$/],
    [{ deadlineMs: 1.5 }, /deadline must be a whole number of milliseconds/],
    [{ deadlineMs: 'soon' }, /deadline: 'soon' is not a duration/],
    [{ deadlineMs: null }, /deadline must be a number of milliseconds/],
    [{ staleForMs: -1 }, /staleFor is -1ms: it must be at least 0ms/],
    [{ staleForMs: Number.NaN }, /staleFor must be a number of milliseconds/],
  ])('%o are refused', (times, expected) => {
    expectProblem(timed(times), expected);
  });
});

describe('a compiled view', () => {
  const view = featureView({
    name: 'many',
    source: swipes,
    entity: card,
    project: {
      amount: { type: 'double', from: (event) => event.pieces * event.price },
      flag: { type: 'boolean', nullable: true, from: (event) => (event.shop === null ? null : event.online) },
    },
    features: {
      n: count().over('1h'),
      n_price: count('price').over('1h'),
      n_tip: count('tip').over('1h'),
      mean_amount: mean('amount').over('7d', { offset: '1d' }),
      spread_amount: stddevPop('amount').over('1d'),
      shops: distinctCount('shop').over('30d'),
      last_shop: last('shop').lifetime({ offset: '2d' }),
      last_3_ids: lastN('id', 3).over('1d', { default: [] }),
      first_flag: first('flag').over('1d'),
      flags: distinctCount('flag', { exactUpTo: 2 }).over('1d'),
    },
    asOfRetention: '2d',
  });
  const compiled = compile(view);

  it('stores only the columns its partials need, each as it is needed', () => {
    expect(compiled.columns.map(({ name, need, storage }) => [name, need, storage])).toEqual([
      ['amount', 'value', 'number'],
      ['flag', 'value', 'number'],
      ['flag', 'hash', 'number'],
      ['id', 'value', 'long'],
      ['shop', 'value', 'text'],
      ['shop', 'hash', 'text_hash'],
      ['tip', 'value', 'number'],
    ]);
    expect(compiled.storages).toEqual(compiled.columns.map(({ storage }) => storage));
  });

  it('shares partials, counts rows for columns without nulls, and gives each feature its own in order', () => {
    expect(compiled.partials.map(({ key }) => key)).toEqual([
      'count(tip)',
      'exact_sum(amount)',
      'exact_sum_of_squares(amount)',
      'first_n(flag,1)',
      'last_n(id,3)',
      'last_n(shop,1)',
      'row_count()',
      // Wide ones are last.
      'distinct(#flag,2)',
      'distinct(#shop,1024)',
    ]);
    const keys = compiled.features.map(({ name, partials }) => [
      name,
      ...partials.map((p) => compiled.partials[p]!.key),
    ]);
    expect(keys).toEqual([
      ['n', 'row_count()'],
      ['n_price', 'row_count()'],
      ['n_tip', 'count(tip)'],
      ['mean_amount', 'row_count()', 'exact_sum(amount)'],
      ['spread_amount', 'row_count()', 'exact_sum(amount)', 'exact_sum_of_squares(amount)'],
      ['shops', 'distinct(#shop,1024)'],
      ['last_shop', 'last_n(shop,1)'],
      ['last_3_ids', 'last_n(id,3)'],
      ['first_flag', 'first_n(flag,1)'],
      ['flags', 'distinct(#flag,2)'],
    ]);
    for (const { column, key } of compiled.partials) {
      if (key === 'row_count()') expect(column).toBe(-1);
      else
        expect(key).toContain(
          `${compiled.columns[column]!.need === 'hash' ? '#' : ''}${compiled.columns[column]!.name}`,
        );
    }
  });

  it('keeps no column without nulls only to see which rows have a value', () => {
    const times = featureView({
      name: 'times',
      source: swipes,
      entity: card,
      features: {
        since_price: timeSinceLast('price').over('1d'),
        since_tip: timeSinceFirst('tip').over('1d'),
        fading: expDecayCount('price', '1h').over('1d'),
        fading_mean: expDecayMean('tip', '1h').over('1d'),
        prices: rate('price').over('1d'),
      },
    });
    const { partials, columns } = compile(times);
    expect(columns.map(({ name }) => name)).toEqual(['tip']);
    expect(partials.map(({ key, column }) => [key, column])).toEqual([
      ['decayed_count(3600000)', -1],
      ['decayed_count(tip,3600000)', 0],
      ['decayed_sum(tip,3600000)', 0],
      ['first_time(tip)', 0],
      ['last_time()', -1],
      ['row_count()', -1],
    ]);
  });

  it('completes parameters and empty answers', () => {
    const byName = new Map(compiled.features.map((feature) => [feature.name, feature]));
    expect(byName.get('shops')!.params).toEqual([1024]);
    expect(byName.get('n')!.empty).toBe(0);
    expect(byName.get('mean_amount')!.empty).toBeNull();
    expect(byName.get('last_3_ids')!.empty).toEqual([]);
    expect(byName.get('first_flag')!.type).toBe('boolean');
    expect(byName.get('n')!.type).toBeNull();
  });

  it('knows how far back it looks', () => {
    const day = 86_400_000;
    expect(compiled.longestWindowMs).toBe(30 * day);
    expect(compiled.hasLifetime).toBe(true);
    expect(compiled.lifetimeOffsetMs).toBe(2 * day);
    expect(compile(spend)).toMatchObject({
      longestWindowMs: 7 * day,
      ordered: false,
      hasLifetime: false,
      lifetimeOffsetMs: 0,
    });
    expect(compileRepo([spend]).sources.get('swipes')!.retentionMs).toBe(8 * day);
    expect(compileRepo([spend, view]).sources.get('swipes')!.retentionMs).toBe(Number.POSITIVE_INFINITY);
    expect(compileRepo([swipes]).sources.get('swipes')!).toMatchObject({ retentionMs: 0, views: [] });
  });
});

describe('a compiled view with a column to order by and sequences', () => {
  const compiled = compile(
    featureView({
      name: 'order',
      source: swipes,
      entity: card,
      features: {
        shops: maxByN('shop', { by: 'price', n: 3 }).over('1d'),
        shop: minByN('shop', { by: 'at' }).over('1d'),
        gap: maxGap().over('1d'),
        gap_price: minGap('price').over('1d'),
        gap_tip: minGap('tip').over('1d'),
        changes: changes('pieces').over('1d'),
      },
    }),
  );

  it('stores the column to order by as values', () => {
    expect(compiled.columns.map(({ name, need }) => `${need} of ${name}`)).toEqual([
      'value of at',
      'value of pieces',
      'value of price',
      'value of shop',
      'value of tip',
    ]);
    expect(compiled.features.map(({ params }) => params)).toEqual([[3], [1], [], [], [], []]);
  });

  it('names that column in the partial, and looks at every row for gaps of a column without nulls', () => {
    expect(compiled.partials.map(({ key }) => key)).toEqual([
      'changes(pieces)',
      'gaps()',
      'gaps(tip)',
      'max_by_n(shop,price,3)',
      'min_by_n(shop,at,1)',
    ]);
    expect(compiled.features.slice(2).map(({ partials }) => partials)).toEqual([[1], [1], [2], [0]]);
  });

  it('knows that it has ordered partials, and other views that they have none', () => {
    expect(compiled.ordered).toBe(true);
    expect(compile(spend).ordered).toBe(false);
  });
});

describe('the identity of a view', () => {
  const base = {
    name: 'v',
    source: swipes,
    entity: card,
    features: { n: count().over('1d'), m: mean('price').over('7d') },
  };
  const namespaceOf = (definition: unknown): string =>
    [...compileRepo([definition]).views.values()][0]!.namespace;
  const changed = (changes: object): string =>
    namespaceOf(featureView({ ...base, ...changes } as unknown as Parameters<typeof featureView>[0]));
  const namespace = namespaceOf(featureView(base));

  it('is 16 hex digits and does not change from one release to the next', () => {
    expect(namespace).toMatch(/^[0-9a-f]{16}$/);
    // A change here means that every deployed state is rebuilt.
    expect(namespaceOf(featureView({ ...base }))).toBe('a82dd8ac2b173fbd');
  });

  it.each<[string, object]>([
    ['a description', { description: 'x', owner: 'y', tags: ['z'] }],
    ['the order of features', { features: { m: base.features.m, n: base.features.n } }],
    ['names of features', { features: { count_1d: base.features.n, mean_7d: base.features.m } }],
    [
      'another feature on the same partials and windows',
      { features: { ...base.features, s: sum('price').over('1d') } },
    ],
    ['a default', { features: { ...base.features, m: mean('price').over('7d', { default: 0 }) } }],
    ['lateness and maxFuture', { source: plainSource({ latenessMs: 0, maxFutureMs: 0 }) }],
    [
      'a column it does not use',
      { source: plainSource({ columns: { ...swipes.columns, extra: double() } }) },
    ],
    ['a topic', { source: plainSource({ topic: 'moved' }) }],
  ])('is kept when it differs in %s', (_, changes) => {
    expect(changed(changes)).toBe(namespace);
  });

  it.each<[string, object]>([
    ['its name', { name: 'w' }],
    ['version', { version: 2 }],
    ['entity', { entity: entity('customer'), keyColumn: 'card' }],
    ['key column', { keyColumn: 'shop' }],
    ['a window', { features: { ...base.features, n: count().over('2d') } }],
    ['an offset', { features: { ...base.features, n: count().over('1d', { offset: '1s' }) } }],
    ['a window that is lifetime', { features: { ...base.features, n: count().lifetime() } }],
    ['an operation', { features: { ...base.features, n: min('price').over('1d') } }],
    ['an aggregated column', { features: { ...base.features, m: mean('pieces').over('7d') } }],
    ['resolution', { resolution: '1h' }],
    ['asOfRetention', { asOfRetention: '2d' }],
    ['a filter where there was none', { filter: () => true }],
    [
      'a projection of the same name',
      {
        project: { amount: { type: 'double', from: () => 1 } },
        features: { ...base.features, m: mean('amount').over('7d') },
      },
    ],
    [
      'the type of a column it uses',
      { source: plainSource({ columns: { ...swipes.columns, price: integer() } }) },
    ],
    ['dedupe horizon', { source: plainSource({ dedupeHorizonMs: 0 }) }],
    ['event id', { source: plainSource({ eventId: null }) }],
    ['type of the event id', { source: plainSource({ columns: { ...swipes.columns, id: string() } }) }],
  ])('changes with %s', (_, changes) => {
    expect(changed(changes)).not.toBe(namespace);
  });

  it('does not depend on maxStateBytes: a state goes on under another bound', () => {
    expect(changed({ maxStateBytes: 2 ** 20 })).toBe(changed({}));
  });

  it('tells apart two views that differ only in their filter functions', () => {
    const a = featureView({ ...base, name: 'a', filter: (event) => event.online });
    const b = featureView({ ...base, name: 'b', filter: (event) => !event.online });
    expect(namespaceOf(a)).not.toBe(namespaceOf(b));
  });
});

describe('a compiled service', () => {
  const shop = entity('shop');
  const shops = featureView({
    name: 'shops',
    source: swipes,
    entity: shop,
    features: {
      tips: sum('tip').over('1d'),
      spread: varSamp('price').over('1d'),
      unused: count().over('1h'),
    },
  });
  const doubled = onDemandFeature({
    name: 'doubled',
    type: 'double',
    inputs: { ratio, tips: shops.feature.tips },
    request: { amount: double(), channel: string({ nullable: true }) },
    compute: ({ features }) => (features.ratio === null ? null : features.ratio * 2 + features.tips),
  });
  const compiled = compileRepo([
    featureService({ name: 's', features: [doubled, shops.feature.spread, spend] }),
  ]).services.get('s')!;

  it('answers in the order of its definition, a view expanded', () => {
    expect(compiled.output.map(({ name, kind, view }) => [name, kind, view?.name ?? null])).toEqual([
      ['doubled', 'on_demand', null],
      ['spread', 'aggregate', 'shops'],
      ['n_1d', 'aggregate', 'spend'],
      ['mean_7d', 'aggregate', 'spend'],
    ]);
  });

  it('names entities in the order of first use, inputs included', () => {
    expect(compiled.entities).toEqual([card, shop]);
  });

  it('reads each view once and only the features needed', () => {
    expect(compiled.views.map(({ view, features }) => [view.name, features.map(({ name }) => name)])).toEqual(
      [
        ['spend', ['n_1d', 'mean_7d']],
        ['shops', ['tips', 'spread']],
      ],
    );
  });

  it('computes inputs before their users and asks for the request data of all', () => {
    expect(compiled.onDemand.map(({ name }) => name)).toEqual(['ratio', 'doubled']);
    expect({ ...compiled.request }).toEqual({
      amount: { type: 'double', nullable: false },
      channel: { type: 'string', nullable: true },
    });
    expect(Object.getPrototypeOf(compiled.request)).toBeNull();
  });

  it('brings what it refers to into the repo', () => {
    const repo = compileRepo([featureService({ name: 's', features: [doubled] })]);
    expect([...repo.views.keys()].sort()).toEqual(['shops', 'spend']);
    expect([...repo.sources.keys()]).toEqual(['swipes']);
    expect([...repo.entities.keys()].sort()).toEqual(['card', 'shop']);
    expect(repo.sources.get('swipes')!.views.length).toBe(2);
  });

  it('puts a chain of on-demand features in order whatever the order of the service', () => {
    const chain: OnDemandFeature<number | null>[] = [];
    for (let i = 0; i < 6; i++) {
      chain.push(
        onDemandFeature({
          name: `f${i}`,
          type: 'double',
          inputs: Object.fromEntries(chain.map((feature) => [feature.name, feature])),
          compute: () => null,
        }),
      );
    }
    fc.assert(
      fc.property(fc.shuffledSubarray(chain, { minLength: 1 }), (features) => {
        const { onDemand } = compileRepo([featureService({ name: 's', features })]).services.get('s')!;
        for (const [index, feature] of onDemand.entries()) {
          for (const input of Object.values(feature.inputs)) {
            expect(onDemand.indexOf(input as OnDemandFeature)).toBeLessThan(index);
            expect(onDemand).toContain(input);
          }
        }
      }),
    );
  });
});

it('values of a module that are no definitions are ignored', () => {
  const exports = {
    swipes,
    helper: () => 1,
    LIMIT: 5,
    nothing: null,
    list: [1],
    part: count().over('1d'),
    ref: spend.feature.n_1d,
    half: count(),
  };
  expect([...compileRepo(Object.values(exports)).views.keys()]).toEqual(['spend']);
});

// Types only: a source is assignable to the general one.
const _general: StreamSource = swipes;
void _general;
