/** Where the time of a service's requests goes: a histogram of each stage, and a span of it where somebody traces. */
import type { HistogramSeries } from './histogram.ts';
import type { Metrics } from './metrics.ts';
import { isTraced, tracedBetween } from './tracing.ts';

/** In the order in which a request passes them. */
export const STAGES = ['plan', 'store', 'merge', 'on_demand', 'serialise'] as const;
export type Stage = (typeof STAGES)[number];

/** Told of each stage that is over; times as `performance.now()`. */
export interface StageListener {
  done(stage: Stage, fromMs: number, toMs: number): void;
}

export const NOT_TIMED: StageListener = { done() {} };

export class StageTimings implements StageListener {
  readonly #service: string;
  readonly #metrics: Metrics;
  readonly #stages: Readonly<Record<Stage, HistogramSeries>>;
  readonly #requests = new Map<string, HistogramSeries>();

  constructor(service: string, metrics: Metrics) {
    this.#service = service;
    this.#metrics = metrics;
    const series = (stage: Stage): HistogramSeries =>
      metrics.histogram('millrace_feature_stage_seconds', { service, stage });
    this.#stages = {
      plan: series('plan'),
      store: series('store'),
      merge: series('merge'),
      on_demand: series('on_demand'),
      serialise: series('serialise'),
    };
  }

  done(stage: Stage, fromMs: number, toMs: number): void {
    this.#stages[stage].observe((toMs - fromMs) / 1000);
    if (isTraced()) tracedBetween(`millrace.${stage}`, fromMs, toMs, { 'millrace.service': this.#service });
  }

  /** A request has been answered. */
  answered(kind: 'single' | 'batch', status: number, tookMs: number): void {
    const id = `${kind} ${status}`;
    let series = this.#requests.get(id);
    if (series === undefined) {
      const labels = { service: this.#service, kind, status };
      series = this.#metrics.histogram('millrace_feature_request_seconds', labels);
      this.#requests.set(id, series);
    }
    series.observe(tookMs / 1000);
  }
}
