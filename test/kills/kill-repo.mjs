// The feature repo of the kill run and the events it is fed with. Plain JavaScript, as the process that is killed runs
// the built engine: to start it from sources takes three times as long. `millrace` is dist there, and the sources in the
// process that checks.
import {
  compileRepo,
  count,
  distinctCount,
  entity,
  featureService,
  featureView,
  integer,
  lastN,
  max,
  maxGap,
  streamSource,
  string,
  sum,
  timestamp,
} from 'millrace';

const columns = { tag: string(), at: timestamp(), key: string(), n: integer() };

/** With an event id: a push without an answer is sent again. */
const taps = streamSource({ name: 'taps', columns, eventTime: 'at', eventId: 'tag' });
/** Without: a push without an answer is left alone. */
const strokes = streamSource({ name: 'strokes', columns, eventTime: 'at' });

const key = entity('key');

const tapsByKey = featureView({
  name: 'taps_by_key',
  source: taps,
  entity: key,
  features: {
    taps_1m: count().over('1m'),
    taps_20m: count().over('20m'),
    taps_n_20m: sum('n').over('20m'),
    taps_n_max_5m: max('n').over('5m'),
    taps_different_20m: distinctCount('n').over('20m'),
    taps_last: lastN('n', 3).over('20m'),
  },
  asOfRetention: '1m',
});

/** Ordered: late rows go into the tree. */
const gapsByKey = featureView({
  name: 'gaps_by_key',
  source: taps,
  entity: key,
  features: { taps_gap_max_20m: maxGap().over('20m') },
  asOfRetention: '1m',
});

/** A lifetime window: what no other window reaches is merged for good. */
const strokesByKey = featureView({
  name: 'strokes_by_key',
  source: strokes,
  entity: key,
  features: {
    strokes_1m: count().over('1m'),
    strokes_ever: count().lifetime(),
    strokes_n_ever: sum('n').lifetime(),
  },
  asOfRetention: '1m',
});

const service = featureService({ name: 'kills', features: [tapsByKey, gapsByKey, strokesByKey] });

export const killRepo = compileRepo([service]);

export const KEYS = ['hot', 'a', 'b', 'c', 'd', 'e'];

/** So small that folds, splits and expiry happen all the time; not so soon again that compaction is never done. */
export const SHAPE = { leafBytesMax: 120, tailRowsMax: 4, recentIdsMax: 64 };
export const PACING = { foldAfterMs: 150 };

const LATE_BY_MS_MAX = 15 * 60_000;

/** Uniform numbers of [0, 1) (mulberry32). */
export function uniformNumbers(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What push `number` of a round consists of; the same in the process that sends it and in the one that checks. */
export function pushOf({ round, number, startMs }) {
  const uniform = uniformNumbers(round * 100_003 + number);
  const below = (limit) => Math.floor(uniform() * limit);
  const source = uniform() < 0.6 ? 'taps' : 'strokes';
  const events = Array.from({ length: 1 + below(8) }, (_, i) => ({
    tag: `${round}.${number}.${i}`,
    at: new Date(startMs - (uniform() < 0.3 ? below(LATE_BY_MS_MAX) : below(2_000))).toISOString(),
    key: uniform() < 0.5 ? KEYS[0] : KEYS[below(KEYS.length)],
    n: below(1_000),
  }));
  return { source, events };
}
