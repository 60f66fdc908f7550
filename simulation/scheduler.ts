/**
 * A cooperative scheduler whose every choice comes from a seed.
 *
 * Actors are ordinary async functions. Each call they make to the log or the store passes a gate; the
 * scheduler opens one gate at a time and lets everything that follows run until all actors stand at gates
 * again. So every interleaving at the grain of single store and log operations can occur, and the same seed
 * always gives the same one. A killed actor's gate is never opened: it stops between two operations, as a
 * process does on SIGKILL. A suspended one is passed over for a while, as on SIGSTOP.
 */
import type { SeededRandom } from '../engine/testing/random.ts';

interface Gate {
  readonly actor: Actor;
  readonly open: () => void;
}

export interface Actor {
  readonly name: string;
  alive: boolean;
  /** The scheduler's step before which the actor is not chosen. */
  suspendedUntil: number;
  /** Set when the actor's function returned or threw. */
  ended: boolean;
}

export class Scheduler {
  readonly #random: SeededRandom;
  #gates: Gate[] = [];
  #failure: unknown = null;
  steps = 0;
  /** Asked for each actor that is about to go on; false: it does not. Whoever says so has killed or suspended it. */
  mayGoOn: (actor: Actor) => boolean = () => true;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Starts an actor. An error it throws ends the whole run. */
  spawn(name: string, body: (actor: Actor) => Promise<void>): Actor {
    const actor: Actor = { name, alive: true, suspendedUntil: 0, ended: false };
    void (async () => {
      try {
        await this.gate(actor);
        await body(actor);
      } catch (error) {
        this.#failure ??= error;
      } finally {
        actor.ended = true;
      }
    })();
    return actor;
  }

  /** Waits to be chosen. */
  gate(actor: Actor): Promise<void> {
    return new Promise((open) => {
      if (actor.alive) this.#gates.push({ actor, open });
    });
  }

  kill(actor: Actor): void {
    actor.alive = false;
    this.#gates = this.#gates.filter((gate) => gate.actor !== actor);
  }

  suspend(actor: Actor, steps: number): void {
    actor.suspendedUntil = Math.max(actor.suspendedUntil, this.steps + steps);
  }

  /** Opens one gate and runs until all actors wait again. False when no actor can go on. */
  async step(): Promise<boolean> {
    this.steps++;
    let ready = this.#gates.filter((gate) => gate.actor.suspendedUntil <= this.steps);
    if (ready.length === 0) ready = this.#gates;
    if (ready.length === 0) return false;
    const gate = this.#random.pick(ready);
    if (!this.mayGoOn(gate.actor)) return true;
    this.#gates.splice(this.#gates.indexOf(gate), 1);
    gate.open();
    await settle();
    if (this.#failure !== null) throw this.#failure;
    return true;
  }
}

/** Lets all promise reactions run. A macrotask comes after every microtask, however long their chain. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
