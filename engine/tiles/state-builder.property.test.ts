/**
 * Random definitions and events: a state built at once, and then written to by the log, has the values of one that the log
 * wrote alone, and those of the oracle. The log repeats some of what is in the built state, as around a cut.
 */
import { describe, expect, test } from 'vitest';
import { compileRepo } from '../definitions/compile.ts';
import type { EventRow, FeatureView } from '../definitions/types.ts';
import { integerEventId, textEventId } from '../event-id.ts';
import { isRight, show, showAnswer } from '../testing/is-right.ts';
import { TARGETS, targetOf } from '../testing/matrix/cells.ts';
import { type OracleEvent, oracleAnswer } from '../testing/oracle.ts';
import { SeededRandom } from '../testing/random.ts';
import { type RandomRepo, randomRepo } from '../testing/random-repo.ts';
import { SingleView } from '../testing/single-view.ts';
import { newEdgeOffsetMs } from '../windows/window-reach.ts';
import { TIME_END_MS } from './grid.ts';

const GROUPS = 4;
const RETENTION_MS = 4_000 * 86_400_000;
const SEEDS = Array.from({ length: 240 }, (_, i) => i);

interface Recorded extends OracleEvent {
  readonly idValue: number | bigint | string;
}

function randomEvents(random: SeededRandom, repo: RandomRepo): Recorded[] {
  let timeMs = repo.startMs;
  return Array.from({ length: random.pick([1, 8, 60, 150]) }, (_, serial) => {
    if (random.chance(0.7))
      timeMs += random.below(Math.ceil(random.pick([1, repo.scaleMs, 20 * repo.scaleMs])) + 1);
    const back = random.chance(0.2) ? random.below(Math.ceil(30 * repo.scaleMs)) : 0;
    const at = Math.max(0, Math.min(timeMs - back, TIME_END_MS - 1));
    const idValue =
      repo.idKind === 'string'
        ? `event ${serial}`
        : repo.idKind === 'long'
          ? 2n ** 62n - BigInt(serial)
          : serial;
    const id = typeof idValue === 'string' ? textEventId(idValue) : integerEventId(idValue);
    return { timeMs: at, id, idValue, row: repo.row(random, at, idValue) };
  });
}

async function compare(seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  const repo = randomRepo(random, String(seed), targetOf(Math.floor((seed * TARGETS.length) / SEEDS.length)));
  if (repo.idKind === 'none') return 0;
  const definition = {
    ...repo.views[0]!.definition,
    asOfRetentionMs: RETENTION_MS,
    resolutionMs: null,
  } as FeatureView;
  const view = [...compileRepo([definition]).views.values()][0]!;
  if (view.features.some(({ window }) => window.kind === 'last_events')) return 0;
  const events = randomEvents(random, repo);
  const rows = events.map(({ row }) => row);
  const newestMs = events.reduce((ms, { timeMs }) => Math.max(ms, timeMs), 0);
  const shape = { leafBytesMax: random.pick([60, 200, 4_000]), tailRowsMax: random.pick([1, 4, 100]) };
  const open = (): SingleView => new SingleView(definition, { startMs: newestMs + 1, shape });

  const cut = random.below(rows.length + 1);
  const { dedupeHorizonMs } = repo.source.definition;
  const built = open();
  await built.fill(rows.slice(0, cut), random.pick([1, 7, 1_000]));
  // Repeats from before the cut; where a state has merged nothing they are told from its rows, however old.
  const again = events
    .slice(0, cut)
    .filter(({ timeMs }) => random.chance(0.3) && timeMs >= newestMs - dedupeHorizonMs * 3);
  const live = [...again.map(({ row }) => row), ...rows.slice(cut)];
  const half = random.below(live.length + 1);
  await built.apply(live.slice(0, half));
  await built.compact();
  await built.apply(live.slice(half));
  const logged = open();
  await logged.apply(rows);

  let values = 0;
  for (let n = 0; n < 12; n++) {
    const near = random.pick(events);
    const { window } = random.pick(view.features);
    const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
    const moved = near.timeMs + newEdgeOffsetMs(window) + size + random.between(-1, 1);
    const atMs = Math.max(0, Math.min(moved, TIME_END_MS - 1));
    // What was too late when it came is in neither.
    if (near.row.card === null || near.timeMs < newestMs - RETENTION_MS) continue;
    const key = String(random.chance(0.8) ? near.row.card : random.pick(repo.keys));
    const about: EventRow | null =
      random.chance(0.5) && key === String(near.row.card) && atMs === near.timeMs ? near.row : null;
    const got = await built.values(key, atMs, about);
    const wanted = await logged.values(key, atMs, about);
    for (const feature of view.features) {
      const { column } = view.definition.features[feature.name]!;
      const where = `${feature.name} of '${key}' at ${atMs}`;
      const expected = oracleAnswer({
        ...{ view, feature, column, key, atMs, events },
        ...(about === null ? {} : { last: near.id }),
      });
      const value = got[feature.name];
      if (!isRight({ feature, expected, got: value as never, atMs, written: (v: unknown) => v as never }))
        expect.fail(`${where}: expected ${showAnswer(expected)}, got ${show(value as never)}`);
      if (!APPROXIMATE.test(feature.operation.name))
        expect(show(value as never), `${where}, by the log`).toBe(show(wanted[feature.name] as never));
      values++;
    }
  }
  return values;
}

/** Sketches beyond their bound are the same only within their error. */
const APPROXIMATE = /^(approx_distinct_count|distinct_count|percentiles?|median|top_k_frequent|entropy)$/;

describe('a state built at once has the values of one that the log wrote', () => {
  test.each(Array.from({ length: GROUPS }, (_, i) => i))(`seeds ≡ %i modulo ${GROUPS}`, async (rest) => {
    let values = 0;
    for (const seed of SEEDS.filter((own) => own % GROUPS === rest)) {
      try {
        values += await compare(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(values).toBeGreaterThan(100);
  });
});
