/**
 * A histogram for the paths that are counted in microseconds: a series is found by its labels once, and observing a value
 * is then an addition to an array. prom-client's own looks its series up at every observation, by a text made of the
 * labels, and takes some 0.5 µs for it; several of them are observed for every request, and two for every event.
 */
import type { Registry } from 'prom-client';

/** One series: the values of one set of labels. */
export class HistogramSeries {
  readonly labels: Readonly<Record<string, string | number>>;
  /** Values by bucket, not cumulated; the last is beyond every bound. */
  readonly counts: Float64Array;
  readonly #bounds: readonly number[];
  sum = 0;
  count = 0;

  constructor(labels: Readonly<Record<string, string | number>>, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.sum += value;
    this.count++;
  }
}

export class Histogram {
  readonly name: string;
  readonly help: string;
  readonly #labelNames: readonly string[];
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, HistogramSeries>();

  /** @param bounds upper ends of the buckets, inclusive, ascending */
  constructor(args: {
    readonly name: string;
    readonly help: string;
    readonly labelNames: readonly string[];
    readonly bounds: readonly number[];
  }) {
    this.name = args.name;
    this.help = args.help;
    this.#labelNames = args.labelNames;
    this.#bounds = args.bounds;
  }

  /** The series of these labels; the same one for the same labels, so keep it where it is observed often. */
  series(labels: Readonly<Record<string, string | number>>): HistogramSeries {
    const id = this.#labelNames.map((name) => labels[name]).join('\u0000');
    let series = this.#series.get(id);
    if (series === undefined) {
      series = new HistogramSeries({ ...labels }, this.#bounds);
      this.#series.set(id, series);
    }
    return series;
  }

  /** Shown with the registry's other metrics. */
  registerIn(registry: Registry): void {
    const collected = { name: this.name, get: async () => this.#collect() };
    // What a registry asks of a metric, by its code: the type names its own classes only.
    registry.registerMetric(collected as unknown as Parameters<Registry['registerMetric']>[0]);
  }

  #collect(): object {
    const values = [...this.#series.values()].flatMap(({ labels, counts, sum, count }) => {
      let below = 0;
      const buckets = [...this.#bounds, '+Inf'].map((le, i) => {
        below += counts[i]!;
        return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: below };
      });
      return [
        ...buckets,
        { metricName: `${this.name}_sum`, labels, value: sum },
        { metricName: `${this.name}_count`, labels, value: count },
      ];
    });
    return { name: this.name, help: this.help, type: 'histogram', values, aggregator: 'sum' };
  }
}
