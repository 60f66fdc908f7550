/**
 * How many requests of each class may be in flight, by how long the event loop keeps work waiting, and requests one another.
 *
 * A queue that drains is none: only a delay that half of an interval's work had to wait for counts, as in CoDel. With each
 * interval that has one the limit of pushes is halved; from the second in a row on, feature requests are cut to the share of
 * what was in flight that would make the delay the target. Without one their limit rises, by a fifth where the event loop had no
 * time to spare and to its double where it had half of it or nobody came up to the limit, and that of pushes is doubled when it has
 * come to its top. Between half the target and the target what is come up to stays as it is, so that it does not swing.
 *
 * What requests wait for one another (`queue-wait.ts`) is looked at five times as often, as the queue of a process that is sent too
 * much grows from one moment to the next: from the second time in a row on that it is above its target, pushes are halved if there
 * are any, else feature requests are cut to the share that would make it the target.
 *
 * No clock and no timers: `event-loop-delay.ts` and `queue-wait.ts` say when an interval is over.
 */

import type { Wait } from './queue-wait.ts';

/** `serving`: feature requests. `ingest`: pushes. */
export type RequestClass = 'serving' | 'ingest';

export interface LoadLimitOptions {
  /** Feature requests in flight at most, from 1. */
  readonly inFlight: number;
  /** Delay of the event loop beyond which requests are shed, ms. ∞: never by delay, nor by what they wait for one another. */
  readonly targetDelayMs: number;
}

/** Pushes may take this share of what feature requests may. */
const INGEST_SHARE = 0.5;
/** So few in flight make no queue: the delay has other causes. */
const SERVING_MIN = 32;
/** Where they are known to wait: some of them are at work while others wait for the store. */
const QUEUED_MIN = 2;
const INGEST_MIN = 1;
/** Of the target: what the mean request may wait for others, as the slowest of a hundred waits some three times as long. */
const WAIT_SHARE = 0.6;
/** Where more keep coming than are let in: those that are let in are not to come close to the target again and again. */
const FULL_WAIT_SHARE = 0.3;
/** In which the limit was lowered and some came up to it, less those in which none did, from which on they keep coming. */
const FULL_INTERVALS = 5;
const FULL_INTERVALS_MAX = 2 * FULL_INTERVALS;
/** In one interval. */
const DECREASE_MIN = 0.1;
/** By delay, which has other causes as well. */
const DECREASE_MAX = 0.7;
/** In one interval: by the time that the event loop has to spare, within these. */
const INCREASE_MIN = 0.2;
const INCREASE_MAX = 1;
/** Waits in a row above the target after which requests are cut where many are in flight, and those twice above it where few are. */
const LONG_WAITS = 2;
const VERY_LONG_WAITS = 3;
/** Pushes are cut by delay only while somebody has asked for features within so many intervals. */
const SERVING_INTERVALS = 10;

export class LoadLimit {
  readonly #top: Readonly<Record<RequestClass, number>>;
  readonly #targetDelayMs: number;
  readonly #limit: Record<RequestClass, number>;
  #servedAgo = Number.POSITIVE_INFINITY;
  #delayMs = 0;
  #lateIntervals = 0;
  #fullIntervals = 0;
  #longWaits = 0;
  #veryLongWaits = 0;
  /** The longest since the last look at the delay, and that of the look before, ms. */
  #waitMs = 0;
  #lastWaitMs = 0;
  /** The largest share since then. */
  #busy = 0;

  constructor({ inFlight, targetDelayMs }: LoadLimitOptions) {
    this.#top = { serving: inFlight, ingest: Math.max(INGEST_MIN, Math.floor(inFlight * INGEST_SHARE)) };
    this.#targetDelayMs = targetDelayMs;
    this.#limit = { ...this.#top };
  }

  /** Slots that a class may take now. */
  of(requestClass: RequestClass): number {
    return this.#limit[requestClass];
  }

  /** Slots that it may take where the event loop is not late. */
  topOf(requestClass: RequestClass): number {
    return this.#top[requestClass];
  }

  /** Whether delay or waits hold the limit of the class down. */
  isLowered(requestClass: RequestClass): boolean {
    return this.#limit[requestClass] < this.#top[requestClass];
  }

  /** Of the last interval, ms. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /**
   * At the end of an interval.
   * @param delayMs what half of the work in it had to wait for, at least
   * @param served the most slots that feature requests took in it, or asked for where there were not as many
   */
  observe(delayMs: number, served: number): void {
    this.#delayMs = delayMs;
    this.#servedAgo = served > 0 ? 0 : this.#servedAgo + 1;
    this.#lateIntervals = delayMs > this.#targetDelayMs ? this.#lateIntervals + 1 : 0;
    // Nobody was refused for it.
    const isUnused = this.isLowered('serving') && served < this.#limit.serving;
    const isFull = this.isLowered('serving') && !isUnused;
    this.#fullIntervals = isFull
      ? Math.min(this.#fullIntervals + 1, FULL_INTERVALS_MAX)
      : Math.max(0, this.#fullIntervals - 1);
    const waitLittle = this.#waitMs <= this.#waitTargetMs / 2;
    if (this.#lateIntervals > 0) this.#lower(served);
    else if (delayMs <= this.#targetDelayMs / 2 && (isUnused || waitLittle)) this.#raise(isUnused);
    this.#lastWaitMs = this.#waitMs;
    this.#waitMs = 0;
    this.#busy = 0;
  }

  /**
   * At the end of one of the shorter intervals.
   * @param wait of feature requests
   * @param busy share of it that the event loop had something to do
   * @param served the most slots that each class took in it
   */
  observeWait(
    { inFlightMs, queuedMs }: Wait,
    busy: number,
    served: Readonly<Record<RequestClass, number>>,
  ): void {
    this.#waitMs = Math.max(this.#waitMs, queuedMs);
    this.#busy = Math.max(this.#busy, busy);
    const targetMs = this.#waitTargetMs;
    this.#longWaits = queuedMs > targetMs ? this.#longWaits + 1 : 0;
    this.#veryLongWaits = queuedMs > 2 * targetMs ? this.#veryLongWaits + 1 : 0;
    // What was let in before the last cut has to be answered first.
    if (served.serving > this.#limit.serving || served.ingest > this.#limit.ingest) return;
    const many = served.serving > SERVING_MIN || this.isLowered('serving');
    if (!(many && this.#longWaits >= LONG_WAITS) && this.#veryLongWaits < VERY_LONG_WAITS) return;
    if (served.ingest > INGEST_MIN) {
      this.#limit.ingest = Math.max(INGEST_MIN, Math.floor(Math.min(this.#limit.ingest, served.ingest) / 2));
      this.#longWaits = 0;
      this.#veryLongWaits = 0;
      return;
    }
    // By Little's law again: at the same rate as many fewer are in flight for as much less time.
    const share = (inFlightMs - queuedMs + targetMs) / inFlightMs;
    this.#lowerServing(share, served.serving, QUEUED_MIN);
  }

  /** The longest wait of feature requests for one another in the last interval, ms. */
  get waitMs(): number {
    return this.#lastWaitMs;
  }

  /** Of the mean request. */
  get #waitTargetMs(): number {
    return this.#targetDelayMs * (this.#fullIntervals < FULL_INTERVALS ? WAIT_SHARE : FULL_WAIT_SHARE);
  }

  #lower(served: number): void {
    // Without readers nobody is kept from anything, and what is pushed has to be done anyway.
    if (this.#servedAgo > SERVING_INTERVALS) return;
    this.#limit.ingest = Math.max(INGEST_MIN, Math.floor(this.#limit.ingest / 2));
    // Others on the machine may have taken an interval away; the next one tells.
    if (this.#lateIntervals < 2 || served <= SERVING_MIN) return;
    const share = Math.max(this.#targetDelayMs / this.#delayMs, 1 - DECREASE_MAX);
    this.#lowerServing(share, served, SERVING_MIN);
  }

  /** @param share of what was served that would do */
  #lowerServing(share: number, served: number, min: number): void {
    const { serving } = this.#limit;
    const lowered = Math.floor(Math.min(serving, served) * Math.min(share, 1 - DECREASE_MIN));
    this.#limit.serving = Math.min(serving, Math.max(lowered, min));
  }

  #raise(isUnused: boolean): void {
    const { serving, ingest } = this.#limit;
    if (serving < this.#top.serving) {
      const spare = isUnused
        ? INCREASE_MAX
        : Math.min(INCREASE_MAX, Math.max(INCREASE_MIN, 1 / this.#busy - 1));
      this.#limit.serving = Math.min(this.#top.serving, serving + Math.ceil(serving * spare));
    } else if (ingest < this.#top.ingest) {
      this.#limit.ingest = Math.min(this.#top.ingest, 2 * ingest);
    }
  }
}
