/** Every metric of the process, in one table. No entity keys, event ids or values as labels. */
import {
  type Aggregator,
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Registry,
} from 'prom-client';
import { Histogram, type HistogramSeries } from './histogram.ts';

/** Fine where the target lies: 10 ms at the 99th percentile. */
const LATENCY_S = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];
/** A stage is a part of that, or a call to the store that hangs. */
const STAGE_S = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1, 10,
];
/** 20 ms embedded and 100 ms over Kafka and Redis are the targets; an outage is minutes. */
const APPLIED_S = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800];
/** What happened may be told hours later. */
const EVENT_AGE_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400];
const STATE_BYTES = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];

export interface MetricEntry {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
  /** Of a histogram: upper ends of its buckets, ascending. */
  readonly buckets?: readonly number[];
}

export const METRICS = [
  {
    name: 'millrace_http_requests_total',
    type: 'counter',
    unit: 'requests',
    labels: ['route', 'method', 'status'],
    meaning: 'HTTP requests answered, but those shed unread (`millrace_requests_shed_total`).',
  },
  {
    name: 'millrace_http_request_duration_seconds',
    type: 'histogram',
    unit: 'seconds',
    labels: ['route'],
    meaning: 'Time from the request to its answer.',
    buckets: LATENCY_S,
  },
  {
    name: 'millrace_feature_request_seconds',
    type: 'histogram',
    unit: 'seconds',
    labels: ['service', 'kind', 'status'],
    meaning:
      'Time from a request for features to its answer, by HTTP status; kind: single or batch. Refusals are in it, but those shed unread.',
    buckets: LATENCY_S,
  },
  {
    name: 'millrace_feature_stage_seconds',
    type: 'histogram',
    unit: 'seconds',
    labels: ['service', 'stage'],
    meaning:
      'Of that, the stages: plan (keys and event to fields), store (the read), merge (windows), on_demand and serialise. Once for every slice of a batch, up to 64 rows; serialise once for all.',
    buckets: STAGE_S,
  },
  {
    name: 'millrace_requests_in_flight',
    type: 'gauge',
    unit: 'requests',
    labels: ['class'],
    meaning: 'Feature requests (`serving`, a batch counts more) and pushes (`ingest`) being answered.',
  },
  {
    name: 'millrace_requests_in_flight_limit',
    type: 'gauge',
    unit: 'requests',
    labels: ['class'],
    meaning:
      'How many there may be now: fewer while the event loop is late, or requests wait for one another.',
  },
  {
    name: 'millrace_requests_shed_total',
    type: 'counter',
    unit: 'requests',
    labels: ['class', 'reason'],
    meaning:
      'Requests refused unread, and batches refused for their rows: `in_flight`, `delay` (of the event loop, or as they wait for one another) or `bytes`.',
  },
  {
    name: 'millrace_connections_refused_total',
    type: 'counter',
    unit: 'connections',
    labels: [],
    meaning: 'Connections closed at once, as there were too many.',
  },
  {
    name: 'millrace_event_loop_delay_seconds',
    type: 'gauge',
    unit: 'seconds',
    labels: [],
    meaning: 'What half of the work in the last 100 ms had to wait for, by which requests are shed.',
  },
  {
    name: 'millrace_request_wait_seconds',
    type: 'gauge',
    unit: 'seconds',
    labels: [],
    meaning:
      'What feature requests had to wait for one another while the process was busy, by which they are shed too: the longest of the five means of 100 ms.',
  },
  {
    name: 'millrace_store_breaker_open',
    type: 'gauge',
    unit: '1 or 0',
    labels: ['node'],
    meaning: 'Whether a Redis node (HOST:PORT) does not answer, so that reads of it fail at once.',
  },
  {
    name: 'millrace_feature_values_total',
    type: 'counter',
    unit: 'values',
    labels: ['service', 'status'],
    meaning: 'Feature values answered, by status (C9).',
  },
  {
    name: 'millrace_feature_evaluation_errors_total',
    type: 'counter',
    unit: 'states',
    labels: ['view'],
    meaning: 'States that could not be evaluated; their features had the status `error`.',
  },
  {
    name: 'millrace_push_events_total',
    type: 'counter',
    unit: 'events',
    labels: ['source', 'outcome'],
    meaning: 'Events pushed: accepted, duplicate or rejected.',
  },
  {
    name: 'millrace_push_in_flight_bytes',
    type: 'gauge',
    unit: 'bytes',
    labels: [],
    meaning: 'Bytes of pushes being written.',
  },
  {
    name: 'millrace_consumer_lag_seconds',
    type: 'gauge',
    unit: 'seconds',
    labels: ['source', 'partition'],
    meaning:
      "For how long the view furthest behind has not been at the log's end; where the end could not be looked at for " +
      'longer than the lag bound, since when.',
  },
  {
    name: 'millrace_consumer_lag_records',
    type: 'gauge',
    unit: 'records',
    labels: ['source', 'partition'],
    meaning:
      'Records the view furthest behind has still to apply. Where the log ends before what was applied: how many are gone.',
  },
  {
    name: 'millrace_consumer_errors_total',
    type: 'counter',
    unit: 'errors',
    labels: ['source'],
    meaning: 'Failed steps of consumers; they are tried again.',
  },
  {
    name: 'millrace_partitions_assigned',
    type: 'gauge',
    unit: 'partitions',
    labels: ['source'],
    meaning: 'Partitions of the topic that this process applies.',
  },
  {
    name: 'millrace_partition_paused',
    type: 'gauge',
    unit: '1 or 0',
    labels: ['source', 'partition'],
    meaning:
      'Whether the partition waits for something that fails for now, such as the store or the registry.',
  },
  {
    name: 'millrace_schemas_missing',
    type: 'gauge',
    unit: 'schemas',
    labels: ['source', 'partition'],
    meaning: 'Schemas that records of the partition name and the registry does not have: it waits for them.',
  },
  {
    name: 'millrace_events_applied_total',
    type: 'counter',
    unit: 'events',
    labels: ['view', 'outcome'],
    meaning: 'Events per view: applied, redelivered, duplicate or too_late (older than every window).',
  },
  {
    name: 'millrace_append_to_applied_seconds',
    type: 'histogram',
    unit: 'seconds',
    labels: ['source'],
    meaning:
      'Freshness: time from the append of an event, its acknowledgement, until reads see it. Each event once, when it is applied for the first time; no rebuild and no first fill.',
    buckets: APPLIED_S,
  },
  {
    name: 'millrace_event_to_applied_seconds',
    type: 'histogram',
    unit: 'seconds',
    labels: ['source'],
    meaning: 'As before, from the event time, on the clock of the engine.',
    buckets: EVENT_AGE_S,
  },
  {
    name: 'millrace_late_events_total',
    type: 'counter',
    unit: 'events',
    labels: ['source'],
    meaning:
      'Events that were older than the `lateness` of their source when they were appended. They count like any other; each once, as before.',
  },
  {
    name: 'millrace_write_conflicts_total',
    type: 'counter',
    unit: 'writes',
    labels: ['view'],
    meaning: 'Writes of states that lost their compare-and-set and were done again.',
  },
  {
    name: 'millrace_states_coarsened_total',
    type: 'counter',
    unit: 'writes',
    labels: ['view'],
    meaning: 'Writes that coarsened the oldest of a state, as it had come to its `maxStateBytes`.',
  },
  {
    name: 'millrace_dead_letters_total',
    type: 'counter',
    unit: 'events',
    labels: ['source', 'reason'],
    meaning: 'Events written to the dead letters.',
  },
  {
    name: 'millrace_log_gap_records_total',
    type: 'counter',
    unit: 'records',
    labels: ['source'],
    meaning: 'Records that were gone from the log before they were applied. Anything but 0 is an alarm.',
  },
  {
    name: 'millrace_log_gaps_open',
    type: 'gauge',
    unit: 'gaps',
    labels: ['source', 'partition'],
    meaning:
      'Stretches of such records that some window may still ask for: its values have the status `catching_up`.',
  },
  {
    name: 'millrace_log_too_short',
    type: 'gauge',
    unit: '1 or 0',
    labels: ['source'],
    meaning:
      'Whether the log keeps, or still holds, less than windows reach back to: a store that is lost could not be filled again. Of processes that ingest.',
  },
  {
    name: 'millrace_log_truncated_records_total',
    type: 'counter',
    unit: 'records',
    labels: ['source'],
    meaning: 'Records dropped from the log by retention.',
  },
  {
    name: 'millrace_archive_rows_total',
    type: 'counter',
    unit: 'rows',
    labels: ['source'],
    meaning: 'Rows committed to the archive by this process.',
  },
  {
    name: 'millrace_archive_bytes_total',
    type: 'counter',
    unit: 'bytes',
    labels: ['source'],
    meaning: 'Bytes of the files they are in.',
  },
  {
    name: 'millrace_archive_files_total',
    type: 'counter',
    unit: 'files',
    labels: ['source'],
    meaning: 'Those files: one for each day of a commit.',
  },
  {
    name: 'millrace_archive_lag_records',
    type: 'gauge',
    unit: 'records',
    labels: ['source', 'partition'],
    meaning:
      'Offsets between what is archived and the end of the log, of partitions that this process archives.',
  },
  {
    name: 'millrace_archive_paused',
    type: 'gauge',
    unit: '1 or 0',
    labels: ['source', 'partition'],
    meaning: 'Whether the partition cannot be archived for now, as where the disk is full. Tiles go on.',
  },
  {
    name: 'millrace_archive_errors_total',
    type: 'counter',
    unit: 'errors',
    labels: ['source'],
    meaning: 'Failed steps of the archive; they are tried again.',
  },
  {
    name: 'millrace_archive_gap_records_total',
    type: 'counter',
    unit: 'records',
    labels: ['source'],
    meaning: 'Records that were gone from the log before they were archived. Anything but 0 is an alarm.',
  },
  {
    name: 'millrace_compaction_states_total',
    type: 'counter',
    unit: 'states',
    labels: ['outcome'],
    meaning:
      'States taken by compaction: compacted, ended, conflict or postponed (of a view that this process does not define).',
  },
  {
    name: 'millrace_compaction_backlog_states',
    type: 'gauge',
    unit: 'states',
    labels: [],
    meaning: 'States due for compaction.',
  },
  {
    name: 'millrace_compaction_backlog_age_seconds',
    type: 'gauge',
    unit: 'seconds',
    labels: [],
    meaning: 'For how long the state that waits longest has been due; 0: none is.',
  },
  {
    name: 'millrace_states_created_total',
    type: 'counter',
    unit: 'states',
    labels: ['view'],
    meaning: 'States made by the first event of their key.',
  },
  {
    name: 'millrace_states_ended_total',
    type: 'counter',
    unit: 'states',
    labels: ['view'],
    meaning: 'States that compaction has ended, as nothing was left in them.',
  },
  {
    name: 'millrace_state_bytes',
    type: 'histogram',
    unit: 'bytes',
    labels: ['view'],
    meaning:
      'Size of states as compaction rewrites them, tiles, rows and ids, as it counts towards `maxStateBytes`.',
    buckets: STATE_BYTES,
  },
  {
    name: 'millrace_compaction_errors_total',
    type: 'counter',
    unit: 'errors',
    labels: [],
    meaning: 'Failed steps of compaction; they are tried again.',
  },
  {
    name: 'millrace_rebuild_state',
    type: 'gauge',
    unit: '1 or 0',
    labels: ['view', 'state'],
    meaning:
      'What the last rebuild of the view in this process is: backfilling, filling, joined, switched, given_up or failed.',
  },
  {
    name: 'millrace_rebuild_applied_records',
    type: 'gauge',
    unit: 'records',
    labels: ['view'],
    meaning: 'Of the records that the log holds, those that the last rebuild of the view has applied.',
  },
  {
    name: 'millrace_rebuild_records',
    type: 'gauge',
    unit: 'records',
    labels: ['view'],
    meaning: 'Records that the log holds, as the last rebuild of the view has seen it.',
  },
  {
    name: 'millrace_decision_log_records_total',
    type: 'counter',
    unit: 'records',
    labels: ['result'],
    meaning:
      'Answers that the decision log was to have: written, or dropped as buffer_full, disk_refused or not_encodable (a defect).',
  },
  {
    name: 'millrace_decision_log_buffer_bytes',
    type: 'gauge',
    unit: 'bytes',
    labels: [],
    meaning: 'Of answers that wait to be written to the decision log, roughly.',
  },
  {
    name: 'millrace_clock_seconds',
    type: 'gauge',
    unit: 'seconds',
    labels: [],
    meaning: 'What the engine takes for now, since the epoch.',
  },
  {
    name: 'millrace_ready',
    type: 'gauge',
    unit: '1 or 0',
    labels: [],
    meaning: 'Whether /readyz answers 200.',
  },
] as const satisfies readonly MetricEntry[];

type Entry = (typeof METRICS)[number];
export type CounterName = Extract<Entry, { type: 'counter' }>['name'];
export type GaugeName = Extract<Entry, { type: 'gauge' }>['name'];
export type HistogramName = Extract<Entry, { type: 'histogram' }>['name'];
type LabelsOf<N extends Entry['name']> = Readonly<
  Record<Extract<Entry, { name: N }>['labels'][number], string | number>
>;

/** The metrics of one process, as plain data that can be sent to another. */
export type WorkerMetrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** What gauges of several workers make together; every other one is the greatest of theirs. */
const GAUGES_OF_WORKERS: Partial<Record<GaugeName, Aggregator>> = {
  millrace_push_in_flight_bytes: 'sum',
  millrace_decision_log_buffer_bytes: 'sum',
  millrace_requests_in_flight: 'sum',
  millrace_requests_in_flight_limit: 'sum',
  millrace_clock_seconds: 'min',
  millrace_ready: 'min',
};

export class Metrics {
  readonly registry = new Registry();
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #collectors: (() => void | Promise<void>)[] = [];
  #ofAllWorkers: (() => Promise<string>) | null = null;
  /** By the name of the counter. */
  readonly #tallies = new Map<string, Tally[]>();

  /** @param args.process also collect memory, CPU and event loop of the process. @default false */
  constructor(args: { readonly process?: boolean } = {}) {
    const registers = [this.registry];
    for (const entry of METRICS) {
      const { name, type, meaning, labels } = entry;
      const common = { name, help: meaning, labelNames: [...labels], registers };
      if (type === 'counter') {
        const tallies: Tally[] = [];
        this.#tallies.set(name, tallies);
        const collect = (): void => {
          for (const tally of tallies) tally.flush();
        };
        this.#counters.set(name, new Counter({ ...common, collect }));
      } else if (type === 'gauge')
        this.#gauges.set(name, new Gauge({ ...common, aggregator: GAUGES_OF_WORKERS[name] ?? 'max' }));
      else {
        const histogram = new Histogram({ ...common, bounds: entry.buckets });
        histogram.registerIn(this.registry);
        this.#histograms.set(name, histogram);
      }
    }
    if (args.process) collectDefaultMetrics({ register: this.registry });
  }

  count<N extends CounterName>(name: N, labels: LabelsOf<N>, by = 1): void {
    if (by > 0) this.#counters.get(name)!.inc(labels as Record<string, string | number>, by);
  }

  /**
   * A counter with these labels, for what happens with every request: adding to it costs an addition, where `count` looks
   * the labels up. Make it once and keep it.
   */
  tally<N extends CounterName>(name: N, labels: LabelsOf<N>): Tally {
    const tally = new Tally((by) => this.count(name, labels, by));
    this.#tallies.get(name)!.push(tally);
    return tally;
  }

  set<N extends GaugeName>(name: N, labels: LabelsOf<N>, value: number): void {
    this.#gauges.get(name)!.set(labels as Record<string, string | number>, value);
  }

  observe<N extends HistogramName>(name: N, labels: LabelsOf<N>, value: number): void {
    this.histogram(name, labels).observe(value);
  }

  /** For what is observed often: `observe` finds it by its labels each time. */
  histogram<N extends HistogramName>(name: N, labels: LabelsOf<N>): HistogramSeries {
    return this.#histograms.get(name)!.series(labels as Record<string, string | number>);
  }

  /** Runs before every `text`, to set gauges that are read rather than counted. */
  onCollect(collector: () => void | Promise<void>): void {
    this.#collectors.push(collector);
  }

  /** In the text format of Prometheus: those of this process, or of all workers where it is one of several. */
  async text(): Promise<string> {
    if (this.#ofAllWorkers !== null) return this.#ofAllWorkers();
    await this.#collect();
    return this.registry.metrics();
  }

  /** Those of this process, as `textOfWorkers` takes them. */
  async own(): Promise<WorkerMetrics> {
    await this.#collect();
    return this.registry.getMetricsAsJSON();
  }

  /** From now on `text` is what this returns. */
  answerForAllWorkers(text: () => Promise<string>): void {
    this.#ofAllWorkers = text;
  }

  async #collect(): Promise<void> {
    for (const collector of this.#collectors) await collector();
  }
}

/** The metrics of several workers as those of one process: counters and histograms are added up. */
export function textOfWorkers(metrics: readonly WorkerMetrics[]): Promise<string> {
  return AggregatorRegistry.aggregate([...metrics]).metrics();
}

/** Adds up what is counted when somebody looks at the counter. */
export class Tally {
  readonly #count: (by: number) => void;
  #sum = 0;

  constructor(count: (by: number) => void) {
    this.#count = count;
  }

  add(by = 1): void {
    this.#sum += by;
  }

  flush(): void {
    this.#count(this.#sum);
    this.#sum = 0;
  }
}
