/**
 * The read plans of a service: of all its features, and of those that requests narrow it to (`features`). A narrowed plan
 * reads and computes only what its features need. It is compiled once and kept; of each service the 64 used last are.
 */

import { narrowService } from '../engine/definitions/compile-service.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { ApiError, quoteName } from './error-catalogue.ts';

/** Narrowed plans kept of each service. */
export const NARROWED_PLANS_MAX = 64;

export class ServicePlans<Plan> {
  /** Of all features. */
  readonly whole: Plan;
  readonly #service: CompiledService;
  readonly #make: (service: CompiledService, name: string) => Plan;
  /** Place of each feature in the answer, by name. */
  readonly #places: ReadonlyMap<string, number>;
  /** Narrowed ones by their places; the one not used for longest first. */
  readonly #narrowed = new Map<string, Plan>();

  /** @param make compiles a plan; its name is another one for every other set of features */
  constructor(service: CompiledService, make: (service: CompiledService, name: string) => Plan) {
    this.#service = service;
    this.#make = make;
    this.#places = new Map(service.output.map(({ name }, place) => [name, place]));
    this.whole = make(service, '');
  }

  /** Narrowed plans that are kept. */
  get narrowed(): number {
    return this.#narrowed.size;
  }

  /**
   * The plan of the features that a request names, in whatever order; left out or null: of all.
   * @throws ApiError `invalid_body`, `unknown_feature`
   */
  of(features: unknown): Plan {
    if (features === undefined || features === null) return this.whole;
    const name = this.#placesOf(features).join(',');
    const known = this.#narrowed.get(name);
    if (known !== undefined) {
      this.#narrowed.delete(name);
      this.#narrowed.set(name, known);
      return known;
    }
    const places = new Set(name.split(',').map(Number));
    if (places.size === this.#places.size) return this.whole;
    const names = new Set(
      [...this.#places].filter(([, place]) => places.has(place)).map(([feature]) => feature),
    );
    const plan = this.#make(narrowService(this.#service, names), name);
    this.#narrowed.set(name, plan);
    if (this.#narrowed.size > NARROWED_PLANS_MAX) {
      const [oldest] = this.#narrowed.keys();
      this.#narrowed.delete(oldest!);
    }
    return plan;
  }

  /** Ascending. */
  #placesOf(features: unknown): number[] {
    if (!Array.isArray(features)) throw this.#invalid("'features' must be a JSON array of names of features");
    if (features.length === 0) throw this.#invalid("'features' is empty: leave it out to read all of them");
    const places = new Set<number>();
    for (const feature of features as readonly unknown[]) {
      if (typeof feature !== 'string') throw this.#invalid("'features' must hold names of features, as text");
      const place = this.#places.get(feature);
      if (place === undefined) {
        const message = `service '${this.#service.name}' has no feature ${quoteName(feature)}`;
        throw new ApiError('unknown_feature', message, { expected: [...this.#places.keys()] });
      }
      if (places.has(place)) throw this.#invalid(`'features' names '${feature}' more than once`);
      places.add(place);
    }
    return [...places].sort((a, b) => a - b);
  }

  #invalid(message: string): ApiError {
    return new ApiError('invalid_body', message, { field: 'features', expected: [...this.#places.keys()] });
  }
}
