/**
 * How many requests of each class may be in flight, by how long the event loop keeps work waiting.
 *
 * A queue that drains is none: only a delay that half of an interval's work had to wait for counts, as in CoDel. With each
 * interval that has one the limit of pushes is halved; from the second in a row on, feature requests are cut to the share of
 * what was in flight that would make the delay the target. Without one their limit rises by a fifth, and that of pushes is
 * doubled when it has come to its top. Between half the target and the target everything stays as it is, so that it does not
 * swing.
 *
 * No clock and no timers: `event-loop-delay.ts` says when an interval is over.
 */

/** `serving`: feature requests. `ingest`: pushes. */
export type RequestClass = 'serving' | 'ingest';

export interface LoadLimitOptions {
  /** Feature requests in flight at most, from 1. */
  readonly inFlight: number;
  /** Delay of the event loop beyond which requests are shed, ms. ∞: never by delay. */
  readonly targetDelayMs: number;
}

/** Pushes may take this share of what feature requests may. */
const INGEST_SHARE = 0.5;
/** So few in flight make no queue: the delay has other causes. */
const SERVING_MIN = 32;
const INGEST_MIN = 1;
/** In one interval; delays have other causes as well. */
const DECREASE_MIN = 0.1;
const DECREASE_MAX = 0.7;
const INCREASE = 0.2;
/** Pushes are cut by delay only while somebody has asked for features within so many intervals. */
const SERVING_INTERVALS = 10;

export class LoadLimit {
  readonly #top: Readonly<Record<RequestClass, number>>;
  readonly #targetDelayMs: number;
  readonly #limit: Record<RequestClass, number>;
  #servedAgo = Number.POSITIVE_INFINITY;
  #delayMs = 0;
  #lateIntervals = 0;

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

  /** Whether the delay holds the limit of the class down. */
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
   * @param served the most slots that feature requests took in it
   */
  observe(delayMs: number, served: number): void {
    this.#delayMs = delayMs;
    this.#servedAgo = served > 0 ? 0 : this.#servedAgo + 1;
    this.#lateIntervals = delayMs > this.#targetDelayMs ? this.#lateIntervals + 1 : 0;
    if (this.#lateIntervals > 0) this.#lower(served);
    else if (delayMs <= this.#targetDelayMs / 2) this.#raise();
  }

  #lower(served: number): void {
    // Without readers nobody is kept from anything, and what is pushed has to be done anyway.
    if (this.#servedAgo > SERVING_INTERVALS) return;
    this.#limit.ingest = Math.max(INGEST_MIN, Math.floor(this.#limit.ingest / 2));
    // Others on the machine may have taken an interval away; the next one tells.
    if (this.#lateIntervals < 2 || served <= SERVING_MIN) return;
    const { serving } = this.#limit;
    const decrease = Math.max(this.#targetDelayMs / this.#delayMs, 1 - DECREASE_MAX);
    const lowered = Math.floor(Math.min(serving, served) * Math.min(decrease, 1 - DECREASE_MIN));
    this.#limit.serving = Math.min(serving, Math.max(lowered, SERVING_MIN));
  }

  #raise(): void {
    const { serving, ingest } = this.#limit;
    if (serving < this.#top.serving) {
      this.#limit.serving = Math.min(this.#top.serving, serving + Math.ceil(serving * INCREASE));
    } else if (ingest < this.#top.ingest) {
      this.#limit.ingest = Math.min(this.#top.ingest, 2 * ingest);
    }
  }
}
