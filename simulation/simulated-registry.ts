/** The server of the schema registry: away or slow for a while, or without a schema that it had. */
import type { RegisteredSchema, SchemaRegistry } from '../ingest/decoding/schema-registry.ts';
import { RegistryUnavailableError } from '../ingest/decoding/schema-registry.ts';
import type { Mutation } from './mutations.ts';
import type { Actor, Scheduler } from './scheduler.ts';

/** Steps that a slow answer takes. */
const SLOW_STEPS = 12;

/** JSON behind the id: decoding is the business of tests of its own, and the columns check what is in it. */
const SCHEMA: RegisteredSchema = {
  type: 'JSON',
  schema: '{"type":"object"}',
  references: [],
  readRules: [],
};

export class SimulatedRegistry {
  readonly #scheduler: Scheduler;
  readonly #mutation: Mutation | null;
  /** Schemas that it does not have, now. */
  readonly lost = new Set<number>();
  /** The scheduler's step before which nobody gets an answer. */
  awayUntil = 0;
  /** The scheduler's step before which answers take long. */
  slowUntil = 0;

  constructor(scheduler: Scheduler, mutation: Mutation | null) {
    this.#scheduler = scheduler;
    this.#mutation = mutation;
  }

  /** It is there again, with all schemas. */
  restore(): void {
    this.lost.clear();
    this.awayUntil = 0;
    this.slowUntil = 0;
  }

  /** As one process reaches it. */
  clientOf(actor: Actor): SchemaRegistry {
    const notAsked = (): never => {
      throw new Error('consumers ask for schemas by id only');
    };
    return {
      schemaById: (id) => this.#schemaById(id, actor),
      latest: notAsked,
      register: notAsked,
      isCompatible: notAsked,
      close() {},
    };
  }

  async #schemaById(id: number, actor: Actor): Promise<RegisteredSchema | null> {
    await this.#scheduler.gate(actor);
    if (this.#scheduler.steps < this.slowUntil) {
      for (let steps = 0; steps < SLOW_STEPS; steps++) await this.#scheduler.gate(actor);
    }
    if (this.#scheduler.steps < this.awayUntil) {
      if (this.#mutation === 'away_is_lost') return null;
      throw new RegistryUnavailableError('simulated');
    }
    return this.lost.has(id) ? null : SCHEMA;
  }
}
