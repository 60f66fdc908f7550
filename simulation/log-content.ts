/**
 * What the log was given, kept apart from the log: the oracle's side of a run. The log may drop records, and
 * consumers may misread it; this list does neither.
 */
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import { integerEventId, positionEventId } from '../engine/event-id.ts';
import type { OracleEvent } from '../engine/testing/oracle.ts';
import type { DeadLetterReason } from '../ingest/dead-letter.ts';
import type { SimulatedEvent } from './simulated-event.ts';

export interface Place {
  readonly partition: number;
  readonly offset: number;
}

/** A record that no view can ever use. */
export interface Unusable extends Place {
  readonly reason: DeadLetterReason;
  readonly value: Uint8Array;
  readonly timeMs: number;
}

/** One record of an event. An event that was repeated has several. */
export interface Occurrence extends Place {
  /** The same object for every occurrence of an event. */
  readonly event: OracleEvent;
  /** The filter of a view throws on it, until that is mended. */
  readonly poison: boolean;
  /** The registry may not have its schema, and consumers then go on with a dead letter. */
  readonly schemaLosable: boolean;
  /** Of the record that it is a copy of, a dead letter that was replayed; null: it is none. */
  readonly originOffset: number | null;
  readonly value: Uint8Array;
  /** Processing time, ms. */
  readonly appendedMs: number;
}

/** The occurrences that a view counts for one entity key, or will when what is wrong with it is mended. */
export interface KeyOccurrences {
  readonly view: CompiledView;
  readonly key: string;
  readonly occurrences: Occurrence[];
}

/** Whether it is the one view that cannot use poison. */
export const isCareful = (view: CompiledView): boolean => view.definition.filter !== null;

export class LogContent {
  readonly #repo: CompiledRepo;
  readonly #withIds: boolean;
  readonly #isPoison: (event: SimulatedEvent) => boolean;
  readonly #events = new Map<SimulatedEvent, OracleEvent>();
  /** By name of the view: the same in each of its namespaces. */
  readonly #byKey = new Map<string, Map<string, KeyOccurrences>>();
  readonly #byPlace = new Map<string, Occurrence>();
  readonly #placeOf = new WeakMap<Uint8Array, string>();
  readonly #decoded = new Set<string>();
  readonly #unusable = new Map<string, Unusable>();
  /** Events that some view may not be able to use, for a time at least: without copies. */
  readonly letterable: Occurrence[] = [];
  /** Whether there were so many dead letters that watermarks may have forgotten some. */
  hadBurst = false;

  constructor(args: {
    repo: CompiledRepo;
    withIds: boolean;
    /** Whether a filter throws on the event, so that its view cannot use it. */
    isPoison: (event: SimulatedEvent) => boolean;
  }) {
    this.#repo = args.repo;
    this.#withIds = args.withIds;
    this.#isPoison = args.isPoison;
    for (const view of args.repo.views.values()) this.#byKey.set(view.name, new Map());
  }

  /** Every event, once, as the oracle takes it. */
  events(): readonly OracleEvent[] {
    return [...this.#events.values()];
  }

  keysOf(view: CompiledView): Iterable<KeyOccurrences> {
    return this.#byKey.get(view.name)!.values();
  }

  ofKey(view: CompiledView, key: string): readonly Occurrence[] {
    return this.#byKey.get(view.name)!.get(key)?.occurrences ?? [];
  }

  /** The record there. */
  at({ partition, offset }: Place): Occurrence {
    return this.#byPlace.get(`${partition}:${offset}`)!;
  }

  /** A process has got the record from the log. */
  read({ partition, offset, value }: Place & { readonly value: Uint8Array | null }): void {
    if (value !== null) this.#placeOf.set(value, `${partition}:${offset}`);
  }

  /** A process had the schema of a record that it got. */
  decoded(value: Uint8Array): void {
    this.#decoded.add(this.#placeOf.get(value)!);
  }

  /** Whether some process had its schema, and may have applied it. */
  isDecoded({ partition, offset }: Place): boolean {
    return this.#decoded.has(`${partition}:${offset}`);
  }

  /** How many records of the event there are that are no copies of another. */
  records(event: OracleEvent): number {
    return [...this.#byPlace.values()].filter((at) => at.event === event && at.originOffset === null).length;
  }

  /** The record there that no view can use. */
  unusableAt({ partition, offset }: Place): Unusable | undefined {
    return this.#unusable.get(`${partition}:${offset}`);
  }

  unusable(): Iterable<Unusable> {
    return this.#unusable.values();
  }

  appendedUnusable(record: Unusable): void {
    this.#unusable.set(`${record.partition}:${record.offset}`, record);
  }

  /** The log put a record of the event there. */
  appended(
    simulated: SimulatedEvent,
    place: Pick<Occurrence, 'partition' | 'offset' | 'value' | 'appendedMs' | 'schemaLosable'>,
  ): void {
    const { partition, offset } = place;
    const event = this.#events.get(simulated) ?? this.#oracleEvent(simulated, partition, offset);
    this.#events.set(simulated, event);
    const occurrence = { ...place, event, poison: this.#isPoison(simulated), originOffset: null };
    if (occurrence.poison || occurrence.schemaLosable) this.letterable.push(occurrence);
    this.#add(occurrence);
  }

  /** A copy of the record was put behind it in its partition. */
  copied(original: Occurrence, { offset, appendedMs }: Pick<Occurrence, 'offset' | 'appendedMs'>): void {
    this.#add({ ...original, offset, appendedMs, originOffset: original.offset });
  }

  #add(occurrence: Occurrence): void {
    const { partition, offset, event } = occurrence;
    this.#byPlace.set(`${partition}:${offset}`, occurrence);
    for (const view of this.#repo.views.values()) {
      const key = view.keyOf(event.row);
      if (key === null || view.project(event.row) === null) continue;
      const keys = this.#byKey.get(view.name)!;
      const known = keys.get(key);
      if (known === undefined) keys.set(key, { view, key, occurrences: [occurrence] });
      else known.occurrences.push(occurrence);
    }
  }

  #oracleEvent(event: SimulatedEvent, partition: number, offset: number): OracleEvent {
    const { id, timeMs, key, amount, kind } = event;
    return {
      timeMs,
      id: this.#withIds ? integerEventId(id) : positionEventId(partition, offset),
      row: { id, at: timeMs, card: key, amount, kind },
    };
  }
}
