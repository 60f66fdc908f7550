import type { PushBudget } from './push-budget.ts';
import type { PushGateway, PushOptions, PushResult } from './push-gateway.ts';

/** The push gateways of all sources of a repo. */
export class EventPush {
  readonly #gateways: ReadonlyMap<string, PushGateway>;

  readonly #budget: PushBudget;

  constructor(gateways: Iterable<PushGateway>, budget: PushBudget) {
    this.#budget = budget;
    this.#gateways = new Map([...gateways].map((gateway) => [gateway.source.name, gateway]));
  }

  /** Bytes of pushes being written. */
  get inFlightBytes(): number {
    return this.#budget.inFlightBytes;
  }

  /** One for each source whose log has no room. */
  get warnings(): readonly string[] {
    return [...this.#gateways.values()]
      .filter(({ isFull }) => isFull)
      .map(({ source: { name } }) => `source ${name} takes no events: its log or the disk is full`);
  }

  /** undefined: there is no such source. */
  gateway(source: string): PushGateway | undefined {
    return this.#gateways.get(source);
  }

  /**
   * Records events of a source; see `PushGateway.push`.
   *
   * @example await push.push('card_transactions', [{ transaction_id: 1, … }], { wait: 'applied' })
   * @throws PushError when nothing of the push is acknowledged
   */
  async push(source: string, events: readonly unknown[], options: PushOptions = {}): Promise<PushResult> {
    const gateway = this.#gateways.get(source);
    if (gateway === undefined) throw new Error(`there is no source '${source}'`);
    return gateway.push(events, options);
  }

  /** Takes no more pushes and resolves when those in flight are done. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#gateways.values()].map((gateway) => gateway.close()));
  }
}
