/**
 * Values over a history in memory, as of one moment after another, against the brute-force oracle: every operation over
 * every kind of window, events on the edges, equal times, events asked about that are not recorded. Tiles of two, four
 * and eight rows, so that few events make deep ones, and rows are dropped on the way.
 */
import { describe, expect, test } from 'vitest';
import type { CompiledView } from '../definitions/compiled.ts';
import { compareEventIds, type EventId, integerEventId, textEventId } from '../event-id.ts';
import { isRight, show, showAnswer } from '../testing/is-right.ts';
import { TARGETS, targetOf } from '../testing/matrix/cells.ts';
import { eventsOfKey, type OracleEvent, oracleAnswer } from '../testing/oracle.ts';
import { SeededRandom } from '../testing/random.ts';
import { type RandomRepo, randomRepo } from '../testing/random-repo.ts';
import { TIME_END_MS } from '../tiles/grid.ts';
import { KeyHistory } from '../tiles/key-history.ts';
import { allocateRows, type RowBlock, setValue } from '../tiles/row-block.ts';
import { newEdgeOffsetMs, rowsReachMs } from './window-reach.ts';
import { WindowRead } from './window-read.ts';

const SEEDS = 2 * TARGETS.length;
const AT_ONCE = 20;

const byOrder = (a: OracleEvent, b: OracleEvent): number =>
  a.timeMs - b.timeMs || compareEventIds(a.id, b.id);

function randomEvents(random: SeededRandom, repo: RandomRepo): OracleEvent[] {
  let timeMs = repo.startMs;
  return Array.from({ length: random.pick([0, 3, 30, 90]) }, (_, i) => {
    const id = repo.idKind === 'string' ? `event ${i}` : random.between(0, 1_000) * 100 + i;
    if (random.chance(0.7))
      timeMs += random.below(Math.ceil(random.pick([1, repo.scaleMs, 20 * repo.scaleMs])) + 1);
    const at = Math.min(timeMs, TIME_END_MS - 1);
    const eventId = typeof id === 'string' ? textEventId(id) : integerEventId(id);
    return { timeMs: at, id: eventId, row: repo.row(random, at, id) };
  });
}

/** Mostly with an event at an edge of some window, or a millisecond beside it. */
function randomTime(random: SeededRandom, view: CompiledView, events: readonly OracleEvent[]): number {
  if (events.length === 0) return random.below(1_000_000);
  const { timeMs } = random.pick(events);
  const { window } = random.pick(view.features);
  const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
  const atMs = timeMs + newEdgeOffsetMs(window) + size + random.between(-1, 1);
  return random.chance(0.6) ? timeMs : Math.max(0, Math.min(atMs, TIME_END_MS - 1));
}

function oneRow(view: CompiledView, { timeMs, id, row }: OracleEvent): RowBlock | null {
  const values = view.project(row);
  if (values === null) return null;
  const block = allocateRows(1, view.storages);
  block.times[0] = timeMs;
  block.idHi[0] = id.hi;
  block.idLo[0] = id.lo;
  values.forEach((value, c) => {
    setValue(block, c, 0, value);
  });
  return block;
}

interface Asked {
  readonly atMs: number;
  readonly last: EventId | null;
  readonly extra: OracleEvent | null;
}

let dropped = 0;

function compareView(random: SeededRandom, repo: RandomRepo, view: CompiledView): number {
  const key = String(random.pick(repo.keys.filter((value) => value !== null)));
  const events = eventsOfKey(view, key, randomEvents(random, repo)).toSorted(byOrder);
  const questions = Array.from({ length: random.pick([1, 10, 40]) }, (): Asked => {
    const atMs = randomTime(random, view, events);
    const tied = events.filter(({ timeMs }) => timeMs === atMs);
    const last = tied.length > 0 && random.chance(0.6) ? random.pick(tied).id : null;
    if (last !== null || random.chance(0.8)) return { atMs, last, extra: null };
    const id = integerEventId(1_000_000 + random.below(1_000));
    const extra = {
      timeMs: atMs,
      id,
      row: { ...repo.row(random, atMs, 1), [view.definition.keyColumn]: key },
    };
    const counted = eventsOfKey(view, key, [extra]);
    return { atMs, last: counted.length > 0 ? id : null, extra: counted[0] ?? null };
  });
  questions.sort(
    (a, b) => a.atMs - b.atMs || (a.last && b.last ? compareEventIds(a.last, b.last) : a.last ? -1 : 1),
  );
  const read = new WindowRead(view, view.features);
  const history = new KeyHistory(view, rowsReachMs(view.features.map(({ window }) => window)), [2, 4, 8]);
  const append = ({ timeMs, id, row }: OracleEvent): void => history.append(timeMs, id, view.project(row)!);
  // What another key leaves behind, tiles among it, must not be seen.
  events.slice(1).forEach(append);
  const end = { atMs: TIME_END_MS - 1, tie: null, extra: null, unknownMs: null };
  for (let times = 0; times < 3; times++) read.evaluateOver(history, end);
  history.clear();
  // Rows come as time goes on, or are all there and ties tell which count.
  const asTimeGoes = random.chance(0.7);
  if (!asTimeGoes) events.forEach(append);
  let next = 0;
  let values = 0;
  for (const { atMs, last, extra } of questions) {
    const isIn = ({ timeMs, id }: OracleEvent): boolean =>
      timeMs < atMs || (timeMs === atMs && (last === null || compareEventIds(id, last) <= 0));
    if (asTimeGoes) {
      for (; next < events.length && isIn(events[next]!); next++) append(events[next]!);
      history.moveTo(atMs);
      if (history.length < next) dropped++;
    }
    const answers = read.evaluateOver(history, {
      ...{ atMs, unknownMs: null },
      tie: asTimeGoes || last === null ? null : { timeMs: atMs, last },
      extra: extra === null ? null : oneRow(view, extra),
    });
    expect(answers.length).toBe(view.features.length);
    const counted = extra === null ? events : [...events, extra];
    for (const { feature, value, status } of answers) {
      const { column } = view.definition.features[feature.name]!;
      const expected = oracleAnswer({
        ...{ view, feature, column, key, atMs, events: counted },
        ...(last === null ? {} : { last }),
      });
      values++;
      if (!isRight({ feature, expected, got: value, atMs }))
        expect.fail(`${feature.name} at ${atMs}: expected ${showAnswer(expected)}, got ${show(value)}`);
      expect(status).not.toBe('coarse');
    }
  }
  return values;
}

describe('values over a history in memory are those of the oracle', () => {
  test.each(Array.from({ length: AT_ONCE }, (_, i) => i))(`seeds ≡ %i modulo ${AT_ONCE}`, (rest) => {
    let values = 0;
    for (let seed = rest; seed < SEEDS; seed += AT_ONCE) {
      const random = new SeededRandom(seed);
      const repo = randomRepo(random, String(seed), targetOf(seed));
      try {
        for (const view of repo.views) values += compareView(random, repo, view);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(values).toBeGreaterThan(100);
  });

  test('rows were dropped on the way', () => {
    expect(dropped).toBeGreaterThan(100);
  });
});
