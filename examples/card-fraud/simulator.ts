/**
 * A seeded stream of card swipes for the source `card_transactions`: the same arguments give the same swipes.
 *
 * Customers and terminals are drawn Zipf-like (a few are busy, most are quiet); a customer keeps to a few
 * terminals; amounts are log-normal around the customer's own level; a terminal is compromised for whole weeks
 * now and then, and a share of its payments are then frauds.
 */

export interface SimulatorOptions {
  readonly seed: number;
  /** Time of the first swipe, ms since the epoch. */
  readonly startMs: number;
  /** Mean number of swipes per second; above 0. */
  readonly ratePerSecond: number;
  /** @default 1000 */
  readonly customers?: number;
  /** @default 400 */
  readonly terminals?: number;
}

export interface SimulatedEvent {
  readonly source: string;
  readonly data: Readonly<Record<string, string | number>>;
  /** When the swipe happens: its event time, ms. Never decreasing. */
  readonly atMs: number;
}

const WEEK_MS = 7 * 86_400_000;
const TERMINALS_PER_CUSTOMER = 8;
const COMPROMISED_SHARE = 0.01;
const FRAUD_SHARE_WHERE_COMPROMISED = 0.3;
const FRAUD_SHARE_ELSEWHERE = 0.0005;

/** A well-mixed integer of two integers (the finalizer of MurmurHash3). */
function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(b + 0x7f4a_7c15, 0xc2b2_ae35);
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Uniform numbers of [0, 1) (mulberry32). */
function uniformNumbers(seed: number): () => number {
  let state = mix(seed, 1);
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws of 0 … n − 1 where i has the weight 1 / (i + 10). */
function zipf(n: number, uniform: () => number): () => number {
  const cumulative = new Float64Array(n);
  let total = 0;
  for (let i = 0; i < n; i++) cumulative[i] = total += 1 / (i + 10);
  return () => {
    const drawn = uniform() * total;
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

/**
 * Swipes without end, in time order. `transaction_id` is 1000 · startMs + n, so that ids do not repeat after a
 * restart as long as fewer than a million swipes a second are drawn.
 *
 * @example for (const { source, data, atMs } of simulate({ seed: 1, startMs: Date.now(), ratePerSecond: 50 })) …
 */
export default function* simulate(options: SimulatorOptions): Generator<SimulatedEvent, never, undefined> {
  const { seed, startMs, ratePerSecond, customers = 1000, terminals = 400 } = options;
  if (!(ratePerSecond > 0)) throw new RangeError('ratePerSecond must be above 0');
  // The wall clock goes into the randomness: after a restart other swipes follow, not the same ones again.
  const uniform = uniformNumbers(mix(seed, startMs % 2 ** 31));
  const drawCustomer = zipf(customers, uniform);
  const drawTerminal = zipf(terminals, uniform);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  let exactMs = startMs;
  for (let n = 0; ; n++) {
    const atMs = Math.floor(exactMs);
    const customer = drawCustomer();
    const habit = uniform() < 0.85;
    const terminal = habit
      ? mix(mix(seed, customer), Math.floor(uniform() * TERMINALS_PER_CUSTOMER)) % terminals
      : drawTerminal();
    const compromised = mix(mix(seed, terminal), Math.floor(atMs / WEEK_MS)) / 2 ** 32 < COMPROMISED_SHARE;
    const fraud = uniform() < (compromised ? FRAUD_SHARE_WHERE_COMPROMISED : FRAUD_SHARE_ELSEWHERE);
    const level = 15 + (mix(seed, customer) % 8500) / 100;
    const amount = Math.max(0.01, level * Math.exp(0.5 * normal()) * (fraud ? 3 : 1));
    yield {
      source: 'card_transactions',
      data: {
        transaction_id: startMs * 1000 + n,
        tx_datetime: new Date(atMs).toISOString(),
        customer_id: customer,
        terminal_id: terminal,
        tx_amount: Math.round(amount * 100) / 100,
        tx_fraud: fraud ? 1 : 0,
      },
      atMs,
    };
    exactMs += (-Math.log(1 - uniform()) / ratePerSecond) * 1000;
  }
}
