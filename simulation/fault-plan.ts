/**
 * Which faults a run meets, and how often: by seed. Not every run meets every fault, as one that wipes the store
 * every moment never gets to see what comes of a long life.
 */
import { SeededRandom } from '../engine/testing/random.ts';

export interface FaultPlan {
  // Probabilities per step of the scheduler:
  readonly killed: number;
  readonly suspended: number;
  readonly secondOwner: number;
  /** The store falls back to an earlier moment, in one shard or in all. */
  readonly fellBack: number;
  readonly wiped: number;
  /** The same, when somebody is suspended: a probability of that. */
  readonly fellBackUnderZombie: number;
  readonly lettersFail: number;
  /** For a while most replies are lost. */
  readonly lossBurst: number;
  /** Retention drops records, applied or not. */
  readonly truncated: number;
  /** What is wrong with dead letters is mended: every process is started again. */
  readonly mended: number;
  /** Somebody begins to replay dead letters, once that is mended. */
  readonly replayed: number;
  readonly replayKilled: number;
  /** Somebody begins to replay dead letters before that is mended: what cannot be used is a letter again. */
  readonly replayedEarly: number;
  /** Somebody rebuilds a view, or goes on with it. */
  readonly rebuilt: number;
  /** Somebody ends a rebuild that is under way. */
  readonly rebuildAborted: number;
  /** How long what was read before a switch is kept applied, ms. */
  readonly graceMs: number;
  /** So near the log's end consumers apply what is being filled as well. */
  readonly joinWithinRecords: number;
  readonly registryAway: number;
  readonly registrySlow: number;
  readonly schemaLost: number;
  /** A schema that was lost is there again. */
  readonly schemaFound: number;
  readonly readerKilled: number;
  readonly readerSuspended: number;
  /** A reader gets no answer of the log, or of the store, for a while. */
  readonly readerBlind: number;
  /** A shard falls back, at a step at which a question is being answered. */
  readonly fellBackWhileRead: number;
  // Probabilities per operation:
  readonly replyLost: number;
  readonly readFailed: number;
  readonly readShort: number;
  /** The log or the store does not answer a reader. */
  readonly readerUnanswered: number;
  /** A state that a reader asks for takes long to come. */
  readonly readerSlow: number;
  /** Turns of the producer per event: how much time the others have to apply it while there are faults. */
  readonly turnsPerEvent: number;
  // Per event:
  /** A filter throws on it, until it is mended. */
  readonly poison: number;
  /** It has a schema id in front. */
  readonly framed: number;
  /** There is a record before it that nobody can use. */
  readonly unusable: number;
  /** There are so many of these before it that watermarks forget which of the oldest records were not applied. */
  readonly unusableBurst: number;
  readonly partitionAdded: number;
  readonly repeated: number;
  /** A repeat when the dedupe horizon has passed. */
  readonly repeatedLate: number;
  /** The append is acknowledged, its reply is lost, and it is made again. */
  readonly appendedTwice: number;
  /** An offset without a record, as transactions leave behind. */
  readonly hole: number;
  /** Another event with key and time of one before. */
  readonly sameMoment: number;
  /** Many events of one key within a second, so that a view with a resolution merges them. */
  readonly flurry: number;
  /** Much older than every window. */
  readonly lateBeyond: number;
  /** The clock of a process is up to this much ahead of the others or behind, ms. */
  readonly clockSkewMs: number;
  /** Probability that a process that starts is of the version before, which knows only some of the views. */
  readonly formerVersion: number;
  /** What consumers do where the registry does not have a schema. */
  readonly onLostSchema: 'stop' | 'continue';
}

/** Nothing but what the events themselves do. */
export const CALM: FaultPlan = {
  killed: 0,
  suspended: 0,
  secondOwner: 0,
  fellBack: 0,
  wiped: 0,
  fellBackUnderZombie: 0,
  lettersFail: 0,
  lossBurst: 0,
  truncated: 0,
  mended: 0,
  replayed: 0,
  replayKilled: 0,
  replayedEarly: 0,
  rebuilt: 0,
  rebuildAborted: 0,
  graceMs: 3_000,
  joinWithinRecords: 2,
  registryAway: 0,
  registrySlow: 0,
  schemaLost: 0,
  schemaFound: 0,
  readerKilled: 0,
  readerSuspended: 0,
  readerBlind: 0,
  fellBackWhileRead: 0,
  replyLost: 0,
  readFailed: 0,
  readShort: 0,
  readerUnanswered: 0,
  readerSlow: 0,
  turnsPerEvent: 12,
  framed: 0.5,
  unusable: 0.05,
  unusableBurst: 0,
  partitionAdded: 0,
  poison: 0.05,
  repeated: 0.2,
  repeatedLate: 0,
  appendedTwice: 0,
  hole: 0,
  sameMoment: 0.05,
  flurry: 0,
  lateBeyond: 0.03,
  clockSkewMs: 0,
  formerVersion: 0,
  onLostSchema: 'stop',
};

export function planFaults(seed: number): FaultPlan {
  // Not the run's randomness: a fault more or less here would make every run another one.
  const random = new SeededRandom(Math.imul(seed, 0x85ebca6b) ^ 0x27d4eb2f);
  const mostly = (rate: number): number => (random.chance(0.85) ? rate : 0);
  const sometimes = (share: number, rate: number): number => (random.chance(share) ? rate : 0);
  const rebuilt = sometimes(0.5, 0.003);
  // A store that falls back every moment loses the record of a rebuild long before it is done.
  const lossesOf = rebuilt > 0 && random.chance(0.7) ? 0.1 : 1;
  const fellBack = mostly(0.006) * lossesOf;
  return {
    killed: mostly(0.01),
    suspended: mostly(0.01),
    secondOwner: mostly(0.004),
    fellBack,
    fellBackUnderZombie: fellBack === 0 ? 0 : 0.5 * lossesOf,
    wiped: mostly(0.0008) * lossesOf,
    lettersFail: mostly(0.005),
    lossBurst: sometimes(0.3, 0.002),
    truncated: sometimes(0.2, 0.004),
    mended: sometimes(0.7, 0.002),
    replayed: mostly(0.05),
    replayKilled: mostly(0.01),
    replyLost: mostly(0.01),
    readFailed: sometimes(0.5, 0.02),
    readShort: sometimes(0.5, 0.2),
    turnsPerEvent: random.pick([1, 4, 12]),
    partitionAdded: mostly(0.02),
    poison: mostly(0.2),
    repeated: mostly(0.2),
    repeatedLate: sometimes(0.3, 0.05),
    appendedTwice: sometimes(0.3, 0.05),
    hole: sometimes(0.3, 0.1),
    sameMoment: mostly(0.08),
    lateBeyond: mostly(0.03),
    clockSkewMs: sometimes(0.4, 1_000),
    formerVersion: sometimes(0.25, 0.4),
    replayedEarly: sometimes(0.3, 0.003),
    rebuilt,
    rebuildAborted: sometimes(0.3, 0.001),
    graceMs: random.pick([0, 3_000, 10_000]),
    joinWithinRecords: random.pick([0, 2, 8]),
    registryAway: mostly(0.003),
    registrySlow: mostly(0.003),
    schemaLost: sometimes(0.5, 0.003),
    schemaFound: 0.005,
    framed: mostly(0.5),
    unusable: mostly(0.05),
    unusableBurst: sometimes(0.04, 0.03),
    onLostSchema: random.pick(['stop', 'continue']),
    flurry: mostly(0.03),
    readerKilled: mostly(0.002),
    readerSuspended: mostly(0.003),
    readerBlind: mostly(0.003),
    fellBackWhileRead: mostly(0.01),
    readerSlow: mostly(0.03),
    readerUnanswered: sometimes(0.5, 0.01),
  };
}
