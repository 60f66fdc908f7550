import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../../engine/testing/random.ts';
import type { Load } from '../cluster/load.ts';
import type { RunningRoles } from '../cluster/running-roles.ts';
import type { FaultCounts } from './fault-counts.ts';

/** What a scenario acts on while the load lasts. */
export class World {
  readonly random: SeededRandom;
  readonly roles: RunningRoles;
  readonly load: Load;
  readonly faults: FaultCounts;
  /** Where the brokers themselves listen, whatever is before them. */
  readonly brokerPorts: readonly number[];
  readonly say: (text: string) => void;
  readonly #endMs: number;
  /** Faults of the scenario itself. */
  injected = 0;

  constructor(args: {
    random: SeededRandom;
    roles: RunningRoles;
    load: Load;
    faults: FaultCounts;
    brokerPorts: readonly number[];
    say: (text: string) => void;
    /** As of `performance.now()`. */
    endMs: number;
  }) {
    this.random = args.random;
    this.roles = args.roles;
    this.load = args.load;
    this.faults = args.faults;
    this.brokerPorts = args.brokerPorts;
    this.say = args.say;
    this.#endMs = args.endMs;
  }

  /** Whether no further fault is to begin. */
  get isOver(): boolean {
    return this.load.stopped || performance.now() >= this.#endMs;
  }

  /** How long a fault, or the time between two, lasts; the end of the load ends it. Nothing is waited for with it. */
  async pause(ms: number): Promise<void> {
    const untilMs = Math.min(performance.now() + ms, this.#endMs);
    while (!this.load.stopped && performance.now() < untilMs) {
      await delay(Math.min(100, Math.max(1, untilMs - performance.now())));
    }
  }

  /** Says and counts a fault that begins now. */
  readonly fault = (kind: string, detail = ''): void => {
    this.injected++;
    this.faults.add(kind);
    this.say(detail === '' ? kind : `${kind}: ${detail}`);
  };
}
