/** What can go wrong in a simulated run, by name, and how often it did. */

/** What happens once, to the actor whose turn it is or to the store, in a run that is calm otherwise. */
export const DISTURBANCES = [
  'kill',
  'suspend',
  'lose reply',
  'fall back',
  'fall back everywhere',
  'wipe',
] as const;

export interface Disturbance {
  readonly fault: (typeof DISTURBANCES)[number];
  /** The scheduler's step. */
  readonly step: number;
}

/** Kinds of faults, as they are counted. */
export const FAULTS = [
  'a shard fell back to an earlier moment',
  'all shards fell back',
  'another event with equal key and time',
  'append made again, its reply was lost',
  'compactor killed',
  'compactor suspended',
  'dead letter for a lost schema',
  'dead letter of a rebuild',
  'dead letter replayed',
  'dead letter replayed before it was mended',
  'dead letters mended',
  'replay of dead letters killed',
  'consumer killed',
  'consumer suspended, another took over',
  'dead letters failed for a while',
  'event older than every window',
  'event repeated late',
  'event repeated',
  'gap reported',
  'many events of a key within a second',
  'most replies lost for a while',
  'namespace removed',
  'offset without a record',
  'partition added',
  'partition waited for a lost schema',
  'partition waited for the registry',
  'process of the version before',
  'process with another clock',
  'reader killed',
  'reader suspended',
  'reader could not see the log for a while',
  'reader could not see the store for a while',
  'reader waited long for a state',
  'nothing was applied while a reader could not see',
  'a shard fell back while a reader read',
  'read of the log failed',
  'read of the log was short',
  'rebuild aborted',
  'rebuild became active',
  'rebuild begun',
  'rebuild continued by another',
  'rebuild refused, the log is too short',
  'rebuild stopped, the log lost what it needs',
  'rebuild worker killed',
  'rebuild worker suspended',
  'registry away for a while',
  'registry slow for a while',
  'reply lost after the write',
  'retention dropped records',
  'schema lost by the registry',
  'second owner of a partition',
  'store wiped',
  'unapplied offsets forgotten',
  'unusable record: bad magic',
  'unusable record: breaks the source',
  'unusable record: cut within its schema id',
  'unusable record: damaged behind its schema id',
  'unusable record: far in the future',
  'unusable record: schema named by a GUID',
  'unusable record: tombstone',
  'write landed later',
  'write never arrived',
] as const;

export type Fault = (typeof FAULTS)[number];

export class FaultCounts {
  readonly #times = new Map<Fault, number>();

  add(fault: Fault): void {
    this.#times.set(fault, (this.#times.get(fault) ?? 0) + 1);
  }

  times(fault: Fault): number {
    return this.#times.get(fault) ?? 0;
  }

  /** How often each fault was injected; those that were not are left out. */
  get byKind(): ReadonlyMap<Fault, number> {
    return this.#times;
  }
}
