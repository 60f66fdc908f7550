/** What a scenario sends: a feature repo, its events drawn by a seed, and the questions asked about them. */
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../engine/testing/random.ts';

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** One event without its id and its time, and the entities it is about. */
export interface Draw {
  /** Members of a JSON object, without braces. */
  readonly members: string;
  /** A JSON object: the entities of a request. */
  readonly entities: string;
  readonly values: Readonly<Record<string, string | number | boolean>>;
  /** Events of one key go to one partition. */
  readonly key: number;
}

/** A feature that counts or adds up what `selects` finds, in a window: computed beside the engine to compare. */
export interface CheckedFeature {
  readonly feature: string;
  readonly windowMs: number;
  selects(event: Draw['values'], entities: Readonly<Record<string, string>>): boolean;
  /** What an event adds. */
  amount(event: Draw['values']): number;
}

export interface Workload {
  /** Directory of the feature repo. */
  readonly features: string;
  readonly source: string;
  readonly service: string;
  /** Views that read the source. */
  readonly views: number;
  readonly idField: string;
  readonly timeField: string;
  /** How far back the history goes: the longest window. */
  readonly historyMs: number;
  /** Features that are never null, whatever the key. */
  readonly neverNull: readonly string[];
  readonly checked: readonly CheckedFeature[];
  /** Draws without end; keys are Zipf-like. @param keys how many of the first entity */
  draws(seed: number, keys: number): () => Draw;
  /** An event of a key that nobody else has, and the feature that shows when it is visible. */
  marker(n: number): { readonly draw: Draw; readonly feature: string };
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const COUNTRIES = ['DE', 'FR', 'NL', 'PL', 'IT', 'ES', 'GB', 'US', 'CH', 'AT'];

/** Draws of 0 … n − 1 where i has the weight 1 / (i + offset). */
function zipf(n: number, offset: number, random: SeededRandom): () => number {
  const cumulative = new Float64Array(n);
  let total = 0;
  for (let i = 0; i < n; i++) cumulative[i] = total += 1 / (i + offset);
  return () => {
    const drawn = (random.uint32() / 2 ** 32) * total;
    let low = 0;
    let high = n - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! <= drawn) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function drawOf(values: Draw['values'], entities: readonly string[], key: number): Draw {
  const asked = Object.fromEntries(entities.map((name) => [name, values[name]]));
  return { values, key, members: JSON.stringify(values).slice(1, -1), entities: JSON.stringify(asked) };
}

const swipeOf = (card: string, merchant: string, amount: number, country: string, key: number): Draw =>
  drawOf({ card, merchant, amount, country, is_foreign: country !== 'DE' }, ['card', 'merchant'], key);

const WINDOWS = { '1m': MINUTE_MS, '5m': 5 * MINUTE_MS, '1h': HOUR_MS, '1d': DAY_MS } as const;
const LONG_WINDOWS = { '7d': 7 * DAY_MS, '30d': 30 * DAY_MS, '90d': 90 * DAY_MS } as const;

function checkedSwipes(): CheckedFeature[] {
  const all = { ...WINDOWS, ...LONG_WINDOWS };
  const of = (entity: 'card' | 'merchant', kind: 'count' | 'sum', windows: readonly (keyof typeof all)[]) =>
    windows.map(
      (name): CheckedFeature => ({
        feature: `${entity}_${kind}_${name}`,
        windowMs: all[name],
        selects: (event, entities) => event[entity] === entities[entity],
        amount: (event) => (kind === 'count' ? 1 : Number(event.amount)),
      }),
    );
  return [
    ...of('card', 'count', ['1m', '5m', '1h', '1d', '7d', '30d', '90d']),
    ...of('card', 'sum', ['1h', '1d', '7d', '30d', '90d']),
    ...of('merchant', 'count', ['1m', '1h', '1d', '7d', '30d', '90d']),
    ...of('merchant', 'sum', ['1d', '30d', '90d']),
  ];
}

/** Cards are busy by a flat Zipf law, merchants by a steep one: the hottest has a tenth of all swipes. */
const swipes: Workload = {
  features: pathOf('./swipes'),
  source: 'swipes',
  service: 'swipe_risk',
  views: 2,
  idField: 'id',
  timeField: 'at',
  historyMs: 90 * DAY_MS,
  neverNull: ['card_count_90d', 'card_sum_90d', 'merchant_count_90d'],
  checked: checkedSwipes(),
  draws(seed, keys) {
    const random = new SeededRandom(seed);
    const card = zipf(keys, 10, random);
    const merchant = zipf(Math.max(10, Math.ceil(keys / 5)), 1, random);
    return () => {
      const key = card();
      const country = random.chance(0.9) ? 'DE' : random.pick(COUNTRIES);
      return swipeOf(`c${key}`, `m${merchant()}`, random.between(1, 50_000) / 100, country, key);
    };
  },
  marker: (n) => ({ draw: swipeOf(`probe${n}`, 'probe', 1, 'DE', n), feature: 'card_count_1h' }),
};

const loginOf = (ip: string, user: string, outcome: string, key: number): Draw =>
  drawOf({ host: 'gate', pid: 1, ip, user, outcome, n: 1 }, ['ip', 'user'], key);

/** Addresses that try users, of `examples/login-velocity`. */
const logins: Workload = {
  features: pathOf('../examples/login-velocity'),
  source: 'ssh_logins',
  service: 'login_risk',
  views: 2,
  idField: 'raw_line_no',
  timeField: 'ts',
  historyMs: HOUR_MS,
  neverNull: ['failed_rows_1h', 'distinct_users_5m', 'distinct_ips_for_user_1h'],
  checked: Object.entries({ '60s': MINUTE_MS, '5m': 5 * MINUTE_MS, '1h': HOUR_MS }).map(
    ([name, windowMs]) => ({
      feature: `failed_rows_${name}`,
      windowMs,
      selects: (event, entities) => event.ip === entities.ip && event.outcome === 'failed',
      amount: () => 1,
    }),
  ),
  draws(seed, keys) {
    const random = new SeededRandom(seed);
    const ip = zipf(keys, 5, random);
    const user = zipf(keys, 2, random);
    return () => {
      const key = ip();
      return loginOf(
        `10.0.${key >> 8}.${key & 255}`,
        `u${user()}`,
        random.chance(0.7) ? 'failed' : 'accepted',
        key,
      );
    };
  },
  marker: (n) => ({ draw: loginOf(`probe${n}`, 'probe', 'failed', n), feature: 'failed_rows_1h' }),
};

export const WORKLOADS = { swipes, logins } as const;
export type WorkloadName = keyof typeof WORKLOADS;

/** The event as JSON. */
export function eventText({ idField, timeField }: Workload, id: number, atMs: number, draw: Draw): string {
  return `{"${idField}":${id},"${timeField}":${atMs},${draw.members}}`;
}

/** Whoever sends events has ids of its own. */
export const FIRST_ID = { history: 0, k6: 1e12, producer: 2e12, prober: 3e12 } as const;

export interface HistoryEvent {
  readonly id: number;
  readonly atMs: number;
  readonly draw: Draw;
}

/** In order of time, evenly spread over the reach of the windows up to `untilMs`; the same arguments give the same events. */
export function* historyEvents(
  workload: Workload,
  args: { readonly seed: number; readonly keys: number; readonly events: number; readonly untilMs: number },
): Generator<HistoryEvent> {
  const { seed, keys, events, untilMs } = args;
  const next = workload.draws(seed, keys);
  for (let i = 0; i < events; i++) {
    const atMs = untilMs - Math.floor(((events - i) / events) * workload.historyMs);
    yield { id: FIRST_ID.history + i, atMs, draw: next() };
  }
}
