/**
 * How fresh what is read is: for every event of a partition the time from its append, and from when it happened, until it
 * is applied.
 *
 * Each event counts once, when one of the views that are read has it for the first time. So what a rebuild applies again,
 * a view that was added, or a store that fell back, does not count; nor do records that were there before anybody applied
 * any. What was not applied during an outage does: somebody has waited for it. (One hole: where the only view of a
 * source is added to a full log, and the process ends while it fills, what is left to fill counts after the restart.)
 */
import type { Clock } from '../engine/clock.ts';
import type { EventTimes } from '../ingest/consumer-observer.ts';
import type { HistogramSeries } from '../serve/histogram.ts';
import type { Metrics } from '../serve/metrics.ts';

export class Freshness {
  readonly #clock: Clock;
  readonly #wallClock: Clock;
  readonly #source: string;
  readonly #latenessMs: number;
  readonly #metrics: Metrics;
  readonly #sinceAppend: HistogramSeries;
  readonly #sinceEvent: HistogramSeries;
  readonly #openedMs: number;
  /** Records below it have been counted, or never will be; null: it is not known yet. */
  #countedTo: number | null = null;
  /** Records appended before it, processing time, are of the first fill. */
  #fromMs = Number.NEGATIVE_INFINITY;

  constructor(args: {
    readonly source: string;
    /** From when on an event is late, ms. */
    readonly latenessMs: number;
    /** What the engine takes for now: event times are compared with it. */
    readonly clock: Clock;
    /** Processing time. */
    readonly wallClock: Clock;
    readonly metrics: Metrics;
  }) {
    const { source, latenessMs, clock, wallClock, metrics } = args;
    this.#source = source;
    this.#latenessMs = latenessMs;
    this.#clock = clock;
    this.#wallClock = wallClock;
    this.#metrics = metrics;
    this.#openedMs = wallClock.nowMs();
    this.#sinceAppend = metrics.histogram('millrace_append_to_applied_seconds', { source });
    this.#sinceEvent = metrics.histogram('millrace_event_to_applied_seconds', { source });
  }

  /** @param appliedTo the furthest position among the views that go on now; null: none of them has applied a record */
  positioned(appliedTo: number | null): void {
    if (appliedTo === null && this.#countedTo === null) this.#fromMs = this.#openedMs;
    this.#countedTo = Math.max(this.#countedTo ?? 0, appliedTo ?? 0);
  }

  /** @param nextOffset behind the last record applied */
  applied(events: readonly EventTimes[], nextOffset: number): void {
    const countedTo = this.#countedTo ?? 0;
    if (nextOffset <= countedTo) return;
    const wallMs = this.#wallClock.nowMs();
    const nowMs = this.#clock.nowMs();
    let late = 0;
    for (const { offset, appendedMs, eventTimeMs, isCopy } of events) {
      if (offset < countedTo || isCopy) continue;
      if (appendedMs > 0 && appendedMs < this.#fromMs) continue;
      // Clocks of producers, brokers and this machine differ by some ms: nothing is applied before it was appended.
      if (appendedMs > 0) this.#sinceAppend.observe(Math.max(0, wallMs - appendedMs) / 1000);
      this.#sinceEvent.observe(Math.max(0, nowMs - eventTimeMs) / 1000);
      // On a clock that follows the events the append, on the machine's, says nothing.
      const arrivedMs = appendedMs > 0 ? Math.min(appendedMs, nowMs) : nowMs;
      if (eventTimeMs < arrivedMs - this.#latenessMs) late++;
    }
    this.#metrics.count('millrace_late_events_total', { source: this.#source }, late);
    this.#countedTo = nextOffset;
  }
}
