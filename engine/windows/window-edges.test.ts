/**
 * Both sides of every edge, enumerated, over every store and every form of a state: of windows, of the tile grid and of
 * fixed spans of days. Edges of calendars and of equal times: calendar-edges.test.ts, tie-edges.test.ts.
 */
import { expect, test } from 'vitest';
import { count, featureView, last, sum } from '../../index.ts';
import { card, describeForms, event, source } from '../testing/edge-forms.ts';
import { SingleView } from '../testing/single-view.ts';
import { SHIFTS } from '../tiles/grid.ts';
import type { Duration } from './duration.ts';

const DAY_MS = 86_400_000;

function viewOver(window: Duration, offset: Duration = 0): ReturnType<typeof featureView> {
  return featureView({
    name: 'view',
    source,
    entity: card,
    features: {
      n: count().over(window, { offset }),
      newest: last('at').over(window, { offset }),
      ids: sum('id').over(window, { offset }),
    },
    asOfRetention: '4000d',
  }) as never;
}

describeForms((open) => {
  const filled = (definition: unknown, times: readonly number[]): Promise<SingleView> =>
    open(
      definition,
      times.map((timeMs) => event(timeMs)),
    );

  test.each<[Duration, Duration]>([
    ['1s', 0],
    [1_001, 0],
    ['60s', 0],
    ['1d', 0],
    ['30d', 0],
    ['365d', 0],
    ['1d', '7d'],
    ['1s', 1],
    [2 ** 25, 2 ** 20],
  ])(
    'a window of %s with offset %s begins after T − offset − W and ends at T − offset',
    async (window, offset) => {
      const definition = viewOver(window, offset);
      const { sizeMs, offsetMs } = Object.values(definition.features)[0]!.window as {
        sizeMs: number;
        offsetMs: number;
      };
      const timeMs = Date.UTC(2018, 4, 23, 10);
      const state = await filled(definition, [timeMs]);
      for (const [atMs, expected] of [
        [timeMs + offsetMs - 1, 0],
        [timeMs + offsetMs, 1],
        [timeMs + offsetMs + 1, 1],
        [timeMs + offsetMs + sizeMs - 1, 1],
        [timeMs + offsetMs + sizeMs, 0],
        [timeMs + offsetMs + sizeMs + 1, 0],
      ] as const) {
        expect(await state.values('c', atMs), `T = event + ${atMs - timeMs} ms`).toEqual({
          n: expected,
          newest: expected === 0 ? null : timeMs,
          ids: expected === 0 ? 0 : expect.any(Number),
        });
      }
    },
  );

  test('events on both sides of a bucket, at every level of the grid', async () => {
    for (const shift of SHIFTS) {
      const span = 2 ** shift;
      const boundary = Math.floor(Date.UTC(2020, 1, 29, 12) / span) * span;
      // Then a tile without events, and one more event.
      const times = [-2 * span, -span - 1, -span, -span + 1, -1, 0, 1, span - 1, span, span + 1, 4 * span]
        .map((delta) => boundary + delta)
        .filter((timeMs, i, all) => all.indexOf(timeMs) === i);
      for (const sizeMs of [Math.max(1000, span), Math.max(1000, span) + 1, Math.max(1000, 2 * span - 1)]) {
        const state = await filled(viewOver(sizeMs), times);
        const around = [-1, 0, 1, sizeMs - 1, sizeMs, sizeMs + 1];
        const questions = new Set([
          ...times.flatMap((timeMs) => around.map((delta) => timeMs + delta)),
          // Between two tiles, on both borders of the empty one and within it.
          ...[2, 3].flatMap((tiles) => [-1, 0, 1].map((delta) => boundary + tiles * span + delta)),
          boundary + Math.floor(2.5 * span),
        ]);
        const expectRight = async (atMs: number): Promise<void> => {
          const inside = times.filter((t) => atMs - sizeMs < t && t <= atMs);
          const { n, newest } = await state.values('c', atMs);
          expect([n, newest], `2^${shift}, W ${sizeMs}, T boundary + ${atMs - boundary}`).toEqual([
            inside.length,
            inside.length === 0 ? null : Math.max(...inside),
          ]);
        };
        await Promise.all([...questions].map(expectRight));
      }
    }
  });

  test('events far apart: every top level bucket of thirty years', async () => {
    const times = Array.from({ length: 900 }, (_, i) => i * 2 ** 30 + (i % 3) - 1).filter((t) => t >= 0);
    const state = await filled(viewOver('3650d'), times);
    const sizeMs = 3650 * DAY_MS;
    for (const i of [0, 1, 2, 300, 450, 898]) {
      for (const atMs of [times[i]! - 1, times[i]!, times[i]! + sizeMs - 1, times[i]! + sizeMs]) {
        if (atMs < state.clock.nowMs() - 4000 * DAY_MS) continue;
        const { n } = await state.values('c', atMs);
        expect(n).toBe(times.filter((t) => atMs - sizeMs < t && t <= atMs).length);
      }
    }
  });

  test('a day is 86,400 s also across a leap day, and a year is 365 of them', async () => {
    const leapDay = Date.UTC(2024, 1, 29);
    const day = await filled(viewOver('1d'), [leapDay]);
    expect((await day.values('c', Date.UTC(2024, 2, 1) - 1)).n).toBe(1);
    expect((await day.values('c', Date.UTC(2024, 2, 1))).n).toBe(0);
    const year = await filled(viewOver('365d'), [leapDay]);
    expect((await year.values('c', Date.UTC(2025, 1, 28) - 1)).n).toBe(1);
    expect((await year.values('c', Date.UTC(2025, 1, 28))).n).toBe(0);
  });

  test('the beginning of time: windows that reach back before 1970', async () => {
    const state = await filled(viewOver('30d'), [0, 1, 500]);
    expect((await state.values('c', 0)).n).toBe(1);
    expect((await state.values('c', 499)).n).toBe(2);
    expect((await state.values('c', 30 * DAY_MS - 1)).n).toBe(3);
    expect((await state.values('c', 30 * DAY_MS)).n).toBe(2);
    const delayed = await filled(viewOver('30d', '1d'), [0, 1]);
    expect((await delayed.values('c', DAY_MS - 1)).n).toBe(0);
    expect((await delayed.values('c', DAY_MS)).n).toBe(1);
  });

  test('nested windows share tiles without counting any twice', async () => {
    const definition = featureView({
      name: 'nested',
      source,
      entity: card,
      features: {
        a: count().over('1s'),
        b: count().over('2s'),
        c: count().over('60s'),
        d: count().over('1h'),
        e: count().over('1h', { offset: '1s' }),
        f: count().lifetime(),
        g: count().lifetime({ offset: '1h' }),
      },
    });
    const times = Array.from({ length: 400 }, (_, i) => 1_700_000_000_000 + i * i * 30);
    const state = await filled(definition, times);
    const atMs = Math.max(...times);
    const within = (from: number, to: number): number => times.filter((t) => from < t && t <= to).length;
    expect(await state.values('c', atMs)).toEqual({
      a: within(atMs - 1_000, atMs),
      b: within(atMs - 2_000, atMs),
      c: within(atMs - 60_000, atMs),
      d: within(atMs - 3_600_000, atMs),
      e: within(atMs - 3_601_000, atMs - 1_000),
      f: 400,
      g: within(0, atMs - 3_600_000),
    });
  });
});

test('a window of less than a second is refused', async () => {
  expect(() => new SingleView(viewOver(999), { startMs: 0 })).toThrow(/window/);
});
