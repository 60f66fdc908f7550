import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hash53 } from '../hash64.ts';
import { count, distinctCount, last, sum } from './aggregation.ts';
import { boolean, double, integer, long, string, timestamp } from './column.ts';
import { compileRepo } from './compile.ts';
import { eventDecoder } from './decode-event.ts';
import { entity } from './entity.ts';
import { featureView } from './feature-view.ts';
import { ProjectionError } from './projection-error.ts';
import { streamSource } from './stream-source.ts';
import type { EventRow, FeatureView } from './types.ts';

const source = streamSource({
  name: 's',
  columns: {
    at: timestamp(),
    key: string({ nullable: true }),
    code: integer(),
    big: long({ nullable: true }),
    amount: double({ nullable: true }),
    online: boolean({ nullable: true }),
  },
  eventTime: 'at',
});
const decode = eventDecoder(source);
const row = (changes: object = {}): EventRow => {
  const result = decode({
    at: 5,
    key: 'k',
    code: 1,
    big: '9007199254740993',
    amount: 2.5,
    online: true,
    ...changes,
  });
  if (!result.ok) throw new Error(result.message);
  return result.row;
};
const compile = (view: FeatureView) => compileRepo([view]).views.get(view.name)!;
const byKey = { name: 'v', source, entity: entity('key') };

/** A view that keeps the last value of one projected column. */
const projecting = (projection: object): FeatureView =>
  ({
    ...featureView({ ...byKey, features: { n: count().over('1d') } }),
    project: { x: projection },
    features: { x: { ...last('x').over('1d') } },
  }) as FeatureView;

const projected = (type: string, value: unknown, nullable = false): unknown =>
  compile(projecting({ type, nullable, from: () => value })).project(row())![0];

function errorOf(run: () => unknown): ProjectionError {
  try {
    run();
  } catch (error) {
    if (error instanceof ProjectionError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the stored values of an event', () => {
  const view = compile(
    featureView({
      ...byKey,
      features: {
        a: last('big').over('1d'),
        b: last('online').over('1d'),
        c: last('at').over('1d'),
        d: last('key').over('1d'),
        e: sum('amount').over('1d'),
      },
    }),
  );

  it('are values as they are, booleans as 0 and 1, in the order of the columns', () => {
    expect(view.columns.map(({ name }) => name)).toEqual(['amount', 'at', 'big', 'key', 'online']);
    expect(view.project(row())).toEqual([2.5, 5, 9007199254740993n, 'k', 1]);
    expect(view.project(row({ online: false, big: 7 }))).toEqual([2.5, 5, 7, 'k', 0]);
    expect(view.project(row({ key: null, big: null, amount: null, online: null }))).toEqual([
      null,
      5,
      null,
      null,
      null,
    ]);
  });

  it('are hashes of the text of the value where values only need to be told apart', () => {
    const hashed = compile(
      featureView({
        ...byKey,
        features: {
          a: distinctCount('big').over('1d'),
          b: distinctCount('online').over('1d'),
          c: distinctCount('key').over('1d'),
          d: distinctCount('amount').over('1d'),
        },
      }),
    );
    expect(hashed.columns.map(({ name }) => name)).toEqual(['amount', 'big', 'key', 'online']);
    expect(hashed.project(row())).toEqual(['2.5', '9007199254740993', 'k', 'true'].map(hash53));
    expect(hashed.project(row({ key: null, big: null, amount: null, online: null }))).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect(hashed.project(row({ amount: -0 }))![0]).toBe(hash53('0'));
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, min: -1e140, max: 1e140 }),
        fc.double({ noNaN: true, min: -1e140, max: 1e140 }),
        (a, b) => {
          const same = hashed.project(row({ amount: a }))![0] === hashed.project(row({ amount: b }))![0];
          expect(same).toBe(a === b);
        },
      ),
    );
  });
});

describe('a filter', () => {
  const filtered = (filter: unknown) =>
    compile({ ...featureView({ ...byKey, features: { n: count().over('1d') } }), filter } as FeatureView);

  it('lets an event through or not', () => {
    const view = compile(
      featureView({ ...byKey, filter: (event) => event.code > 1, features: { n: count().over('1d') } }),
    );
    expect(view.project(row({ code: 1 }))).toBeNull();
    expect(view.project(row({ code: 2 }))).toEqual([]);
  });

  it('that throws, or answers neither true nor false, makes a ProjectionError', () => {
    const boom = new Error('secret 4711');
    const error = errorOf(() =>
      filtered(() => {
        throw boom;
      }).project(row()),
    );
    expect(error).toMatchObject({ view: 'v', column: null, cause: boom });
    expect(error.message).toBe('view v, filter: it threw an error (Error)');
    expect(error.thrown).toBe('Error: secret 4711');
    for (const answer of [undefined, null, 0, 1, 'true', Promise.reject(new Error('late'))]) {
      expect(errorOf(() => filtered(() => answer).project(row())).message).toMatch(
        /must return true or false/,
      );
    }
  });

  it('is asked before projections are computed', () => {
    const view = {
      ...projecting({
        type: 'double',
        from: () => {
          throw new Error('x');
        },
      }),
      filter: () => false,
    };
    expect(compile(view).project(row())).toBeNull();
  });
});

describe('a projection', () => {
  it.each<[string, unknown, unknown]>([
    ['double', 1.5, 1.5],
    ['double', -0, 0],
    ['integer', -0, 0],
    ['integer', 2 ** 53 - 1, 2 ** 53 - 1],
    ['long', 5n, 5],
    ['long', -(2n ** 63n), -(2n ** 63n)],
    ['boolean', true, 1],
    ['boolean', false, 0],
    ['string', 'x', 'x'],
    ['timestamp', 12, 12],
  ])('of type %s returning %s is stored as %s', (type, value, stored) => {
    expect(Object.is(projected(type, value), stored)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['double', '1'],
    ['double', undefined],
    ['double', Number.NaN],
    ['double', Number.POSITIVE_INFINITY],
    ['double', 1e141],
    ['double', 1n],
    ['integer', 1.5],
    ['integer', 2 ** 53],
    ['long', '5'],
    ['long', 2n ** 63n],
    ['long', 2 ** 53],
    ['boolean', 1],
    ['string', 5],
    ['string', '\udfff'],
    ['timestamp', '2018-04-01T00:00:00Z'],
    ['timestamp', new Date(0)],
    ['timestamp', -1],
    ['timestamp', 2 ** 45],
    ['timestamp', 1.5],
  ])('of type %s returning %s makes a ProjectionError', (type, value) => {
    const error = errorOf(() => projected(type, value));
    expect(error).toMatchObject({ view: 'v', column: 'x' });
    expect(error.message).toMatch(/^view v, column 'x': the value returned by from\(\) must be /);
  });

  it('that is asynchronous makes a ProjectionError, and its own failure goes no further', () => {
    const view = compile(projecting({ type: 'string', from: async () => Promise.reject(new Error('late')) }));
    expect(errorOf(() => view.project(row())).message).toMatch(/must be a string/);
  });

  it('may return null only where it is nullable', () => {
    expect(projected('double', null, true)).toBeNull();
    expect(errorOf(() => projected('double', null)).message).toMatch(
      /returned null but the column is not nullable/,
    );
  });

  it('that throws makes a ProjectionError with the cause', () => {
    const boom = new Error('x');
    const error = errorOf(() =>
      compile(
        projecting({
          type: 'double',
          from: () => {
            throw boom;
          },
        }),
      ).project(row()),
    );
    expect(error).toMatchObject({ view: 'v', column: 'x', cause: boom });
    expect(error.message).toBe("view v, column 'x': from() threw an error (Error)");
  });

  it.each([
    [new TypeError('a'), 'TypeError', 'TypeError: a'],
    [new RangeError('m'.repeat(2_000)), 'RangeError', `RangeError: ${'m'.repeat(988)}`],
    [Object.assign(new Error('b'), { name: 'card 4711' }), 'Error', 'Error: b'],
    ['text', 'not an Error', 'text'],
    [undefined, 'not an Error', 'undefined'],
    [Object.create(null), 'not an Error', '(without a text)'],
  ])('that throws %s says its class, and apart from it what may hold values', (thrown, name, text) => {
    const error = errorOf(() =>
      compile(
        projecting({
          type: 'double',
          from: () => {
            throw thrown;
          },
        }),
      ).project(row()),
    );
    expect(error.message).toBe(`view v, column 'x': from() threw an error (${name})`);
    expect(error.thrown).toBe(text);
  });

  it('runs once per event, also where its column is stored in two forms, and not at all where it is not stored', () => {
    let runs = 0;
    let idle = 0;
    const view = compile(
      featureView({
        ...byKey,
        project: {
          x: {
            type: 'integer',
            from: (event) => {
              runs++;
              return event.code * 2;
            },
          },
          unused: { type: 'integer', from: () => ++idle },
        },
        features: { a: last('x').over('1d'), b: distinctCount('x').over('1d') },
      }),
    );
    // Compiling runs them on made-up rows to see which columns they read.
    const before = [runs, idle];
    expect(view.project(row({ code: 4 }))).toEqual([8, hash53('8')]);
    expect([runs, idle]).toEqual([before[0]! + 1, before[1]]);
  });
});

describe('the key of an event', () => {
  const keyOf = (keyColumn: 'key' | 'code' | 'big', changes: object) =>
    compile(featureView({ ...byKey, keyColumn, features: { n: count().over('1d') } })).keyOf(row(changes));

  it('is the text of its key column; empty text is a key, null is none', () => {
    expect(keyOf('key', { key: 'a' })).toBe('a');
    expect(keyOf('key', { key: '' })).toBe('');
    expect(keyOf('key', { key: null })).toBeNull();
    expect(keyOf('code', { code: -0 })).toBe('0');
    expect(keyOf('code', { code: 17 })).toBe('17');
    expect(keyOf('big', {})).toBe('9007199254740993');
  });

  it('is refused for this view where it is too long', () => {
    const error = errorOf(() => keyOf('key', { key: 'x'.repeat(1025) }));
    expect(error).toMatchObject({ view: 'v', column: 'key' });
  });
});
