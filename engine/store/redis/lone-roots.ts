/**
 * States that, when they were last read, had none of the fields that were asked for behind the first ones. Most keys are
 * like that, as some dozens of rows fit into a root; yet a read has to name some fifty fields, as it cannot know. Who is
 * remembered here is first asked for the first fields only; where there are more by now, the state is read once more.
 */
import type { ReadRequest, ReadState, StateAddress } from '../tile-store.ts';

/** Of each of two generations; some 150 bytes for each state. */
const STATES_MAX = 32_768;

const nameOf = ({ namespace, key }: StateAddress): string => `${namespace} ${key}`;

export class LoneRoots {
  readonly #max: number;
  #recent = new Set<string>();
  /** Whoever is met here moves to the recent ones; the others are forgotten when these are full. */
  #former = new Set<string>();

  /** @param max states in each of two generations. @default 32768 */
  constructor(max = STATES_MAX) {
    this.#max = max;
  }

  /** The request, without the fields that were not there when the state was last read. */
  narrowed(request: ReadRequest): ReadRequest {
    const { address, fields, implied } = request;
    if (implied === undefined || fields.length === implied.from) return request;
    const name = nameOf(address);
    if (!this.#recent.has(name)) {
      if (!this.#former.has(name)) return request;
      this.#add(name);
    }
    return { ...request, fields: fields.slice(0, implied.from) };
  }

  /**
   * @param state as it was read for the request as it was narrowed
   * @returns as it was asked for, the fields left out as null; null where they may be there
   */
  completed(request: ReadRequest, narrowed: ReadRequest, state: ReadState): ReadState | null {
    const { address, fields, implied } = request;
    if (implied === undefined) return state;
    const isLone = implied.areAbsent(state.fields[0]!);
    if (isLone) this.#add(nameOf(address));
    else this.#forget(nameOf(address));
    if (narrowed === request) return state;
    if (!isLone) return null;
    const all = new Array<Uint8Array | null>(fields.length).fill(null);
    state.fields.forEach((value, i) => {
      all[i] = value;
    });
    return { ...state, fields: all };
  }

  #add(name: string): void {
    if (this.#recent.has(name)) return;
    if (this.#recent.size === this.#max) {
      this.#former = this.#recent;
      this.#recent = new Set();
    }
    this.#recent.add(name);
  }

  #forget(name: string): void {
    this.#recent.delete(name);
    this.#former.delete(name);
  }
}
