/** Latencies in whole nanoseconds, three significant digits. */
import { build, type Histogram } from 'hdr-histogram-js';

export interface Percentiles {
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

export const latencyHistogram = (): Histogram => build({ numberOfSignificantValueDigits: 3 });

/** Adds a latency. */
export function recordMs(histogram: Histogram, ms: number): void {
  histogram.recordValue(Math.max(1, Math.round(ms * 1e6)));
}

export function percentilesOf(histogram: Histogram): Percentiles {
  const us = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return { p50Us: us(50), p95Us: us(95), p99Us: us(99), p999Us: us(99.9), maxUs: us(100) };
}

/** One side of a comparison, measured in rounds. */
export class Side {
  readonly histogram = latencyHistogram();
  /** Operations per second of each round. */
  readonly rates: number[] = [];
  #operations = 0;
  #seconds = 0;

  /** An operation of the present round. */
  record(ms: number): void {
    recordMs(this.histogram, ms);
  }

  endRound(operations: number, seconds: number): void {
    this.rates.push(operations / seconds);
    this.#operations += operations;
    this.#seconds += seconds;
  }

  get perSecond(): number {
    return this.#operations / this.#seconds;
  }
}
