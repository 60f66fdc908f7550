import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../../engine/testing/random.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import type { Events } from './events.ts';
import type { Ledger } from './ledger.ts';
import { until, WAIT_MS } from './until.ts';

/** Pause of a writer, ms: two cores also run six processes and the servers. */
const PAUSE_MS = 25;
const ANSWER_MS = 3_000;

/** Pushes over HTTP, each repeated until it is acknowledged. Counts what happens, so that schedules need no seconds. */
export class Load {
  /** Pushes. */
  acknowledged = 0;
  retries = 0;
  stopped = false;
  readonly #servers: readonly SupervisedProcess[];
  readonly #events: Events;
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;

  constructor(args: {
    servers: readonly SupervisedProcess[];
    events: Events;
    ledger: Ledger;
    random: SeededRandom;
  }) {
    this.#servers = args.servers;
    this.#events = args.events;
    this.#ledger = args.ledger;
    this.#random = args.random;
  }

  /** Resolves after as many more acknowledged pushes. */
  async more(pushes: number): Promise<void> {
    const target = this.acknowledged + pushes;
    await until(`${pushes} more pushes are acknowledged`, () => this.acknowledged >= target || this.stopped);
  }

  /** One writer; it stays with a server for a while, and changes when that one does not answer. */
  async write(): Promise<void> {
    const random = this.#random;
    let server = random.below(this.#servers.length);
    const push = async (source: string, events: readonly unknown[]): Promise<void> => {
      if (random.chance(0.1)) server++;
      const startedMs = performance.now();
      // Until it is acknowledged: the same events again wherever it is not known what became of them.
      while (!(await this.#push(this.#servers[server % this.#servers.length]!, source, events))) {
        if (performance.now() - startedMs > WAIT_MS) throw new Error('a push was never acknowledged');
        server++;
        await delay(PAUSE_MS);
      }
    };
    while (!this.stopped) {
      const size = random.between(1, 8);
      if (random.chance(0.75)) {
        const batch = Array.from({ length: size }, () => this.#events.payment());
        this.#ledger.begin(batch);
        await push('payments', batch);
        this.#ledger.acknowledge(batch);
      } else {
        await push(
          'visits',
          Array.from({ length: size }, () => this.#events.visit()),
        );
      }
      await delay(PAUSE_MS);
    }
  }

  async #push(server: SupervisedProcess, source: string, events: readonly unknown[]): Promise<boolean> {
    if (server.url === null) return false;
    const answer = await fetch(`${server.url}/v1/sources/${source}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ events }),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
      .then(async (response) => ({ status: response.status, text: await response.text() }))
      .catch(() => null);
    if (answer?.status === 200) {
      const { accepted, duplicates, rejected } = JSON.parse(answer.text);
      if (accepted + duplicates !== events.length || rejected.length > 0) throw new Error(answer.text);
      this.acknowledged++;
      return true;
    }
    if (answer !== null && answer.status !== 429 && answer.status !== 503) {
      throw new Error(`HTTP ${answer.status}: ${answer.text}`);
    }
    this.retries++;
    return false;
  }
}
