/** The fields of one state as they were read, by name. */
import type { FieldName, ReadRequest, ReadState } from './tile-store.ts';

type Asked = Pick<ReadRequest, 'fields' | 'tiers'>;

/** The names of all fields that are asked for, in the order of the answer. */
export function fieldsOf({ fields, tiers = [] }: Asked): FieldName[] {
  return [...fields, ...tiers.flatMap((tier) => tier.fields)];
}

/** Of a hundred fields a few are looked up, mostly of the first tiers: searching is cheaper than a map of all. */
export class ReadFields {
  readonly #asked: Asked;
  readonly #values: ReadState['fields'];

  /** @param values of the fields that were asked for */
  constructor(asked: Asked, values: ReadState['fields']) {
    this.#asked = asked;
    this.#values = values;
  }

  /** null: absent; undefined: it was not asked for */
  get(name: FieldName): Uint8Array | null | undefined {
    const { fields, tiers = [] } = this.#asked;
    let at = fields.indexOf(name);
    if (at >= 0) return this.#values[at];
    let first = fields.length;
    for (const tier of tiers) {
      at = tier.fields.indexOf(name);
      if (at >= 0) return this.#values[first + at];
      first += tier.fields.length;
    }
    return undefined;
  }

  /** Every field that is there. */
  forEachPresent(visit: (bytes: Uint8Array, name: FieldName) => void): void {
    const { fields, tiers = [] } = this.#asked;
    let first = 0;
    for (let t = -1; t < tiers.length; t++) {
      const names = t < 0 ? fields : tiers[t]!.fields;
      for (let i = 0; i < names.length; i++) {
        const bytes = this.#values[first + i]!;
        if (bytes !== null) visit(bytes, names[i]!);
      }
      first += names.length;
    }
  }
}
