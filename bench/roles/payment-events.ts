/** Events of the write benchmarks, as JSON texts; the same seed gives the same keys and amounts. */
import { SeededRandom } from '../../engine/testing/random.ts';
import type { EventMessage } from './topic.ts';

export const PARTITIONS = 4;

/** Name of the i-th view of the service: `by_card`, `by_card_2` and so on. */
export const paymentView = (i: number): string => (i === 0 ? 'by_card' : `by_card_${i + 1}`);

const EVENTS_PER_MS = 10;
const MERCHANTS = 500;

export interface PaymentEvents {
  readonly keys: number;
  /** The i-th event; keys come in the same random order again and again, so that a chunk holds none of them twice. */
  message(i: number): EventMessage;
}

/** @param args.keys a multiple of the partitions: a key is then always in the same one */
export function paymentEvents(args: {
  readonly seed: number;
  readonly keys: number;
  readonly startMs: number;
}): PaymentEvents {
  const { seed, keys, startMs } = args;
  if (keys % PARTITIONS !== 0) throw new RangeError(`keys must be a multiple of ${PARTITIONS}`);
  const random = new SeededRandom(seed);
  const order = Uint32Array.from({ length: keys }, (_, i) => i);
  for (let i = keys - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return {
    keys,
    message: (i) => ({
      partition: i % PARTITIONS,
      value: payment(i, `card-${order[i % keys]!}`, startMs + Math.floor(i / EVENTS_PER_MS)),
    }),
  };
}

/** An event of one key. */
export function payment(i: number, card: string, at: number): string {
  return JSON.stringify({ id: `e${i}`, at, card, amount: (i * 31) % 1000, merchant: `m${i % MERCHANTS}` });
}
