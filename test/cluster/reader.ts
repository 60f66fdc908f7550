import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../../engine/testing/random.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import { CARDS } from './events.ts';
import type { Ledger } from './ledger.ts';
import type { Load } from './load.ts';

const PAUSE_MS = 60;
/** A suspended server answers when it is woken, or not at all. */
const ANSWER_MS = 5_000;
/**
 * How far a value may be behind what was acknowledged and still be `present` or `empty`, ms: the 10 s after which a view
 * that lags, or whose lag is not seen, is `catching_up`, and 5 s for the look at positions on a busy machine.
 */
const BEHIND_MS = 15_000;
const CURRENT = new Set(['present', 'empty']);

interface Answer {
  readonly features: Readonly<Record<string, number | string | null>>;
  readonly metadata: { readonly features: Readonly<Record<string, { readonly status: string }>> };
}

/**
 * Reads lifetime features while events are on their way and faults are injected. A value is never more than what was
 * sent, whatever its status; one that says it is current is never less than what was acknowledged {@link BEHIND_MS} ago; a
 * key without events has none. That is all that can be said while the load goes on: the oracle is asked afterwards.
 */
export class Reader {
  /** Features answered, by status, and requests that were refused or failed. */
  readonly seen = new Map<string, number>();
  readonly wrong: string[] = [];
  readonly #servers: readonly SupervisedProcess[];
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;

  constructor(args: { servers: readonly SupervisedProcess[]; ledger: Ledger; random: SeededRandom }) {
    this.#servers = args.servers;
    this.#ledger = args.ledger;
    this.#random = args.random;
  }

  async run(load: Load): Promise<void> {
    while (!load.stopped) {
      const server = this.#random.pick(this.#servers);
      const card = this.#random.chance(0.05) ? 'nobody' : this.#random.pick(CARDS);
      if (server.url !== null) await this.#read(server, server.url, card);
      await delay(PAUSE_MS);
    }
  }

  async #read(server: SupervisedProcess, url: string, card: string): Promise<void> {
    const least = this.#ledger.least(card, performance.now() - BEHIND_MS);
    const response = await fetch(`${url}/v1/services/card/features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      // Ahead of all event times, so that nothing that is counted is hidden.
      body: JSON.stringify({ entities: { card }, at: Date.now(), metadata: true }),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
      .then(async (answer) => ({ status: answer.status, text: await answer.text() }))
      .catch(() => null);
    if (response === null || response.status !== 200) {
      if (response !== null && response.status !== 503) {
        this.wrong.push(`${server.name}: HTTP ${response.status}: ${response.text}`);
      }
      this.#count(response === null ? 'no answer' : `HTTP ${response.status}`);
      return;
    }
    const most = this.#ledger.most(card);
    const { features, metadata } = JSON.parse(response.text) as Answer;
    const check = (feature: string, low: bigint, high: bigint): void => {
      const { status } = metadata.features[feature]!;
      this.#count(status);
      const value = BigInt(features[feature] ?? 0);
      if (value > high || (CURRENT.has(status) && value < low)) {
        this.wrong.push(
          `${server.name}: ${feature} of ${card} is ${value} (${status}), should be ${low} to ${high}`,
        );
      }
      if (status === 'empty' && value !== 0n) this.wrong.push(`${server.name}: ${feature} empty, ${value}`);
      if (status === 'error') this.wrong.push(`${server.name}: ${feature} of ${card} has status error`);
    };
    check('payments_ever', BigInt(least.payments), BigInt(most.payments));
    check('points_ever', least.points, most.points);
  }

  #count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }
}
