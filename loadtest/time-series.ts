/**
 * What k6 measured second by second, out of the record that its web dashboard writes: a line for each event, of which
 * `metric` names metrics and `snapshot` has the aggregates of the last second, of all metrics named so far in
 * alphabetical order.
 */

export interface Second {
  /** Since the load began, s. */
  readonly atS: number;
  /** Per second. */
  readonly answers: number;
  readonly bareAnswers: number;
  readonly shed: number;
  readonly failed: number;
  readonly dropped: number;
  /** Null where nothing was answered. */
  readonly latency: Latency | null;
  readonly bareLatency: Latency | null;
}

export interface Latency {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export type TimeSeries = readonly Second[];

interface Param {
  readonly aggregates: Readonly<Record<string, readonly string[]>>;
}

/** @throws where the record is of another shape than the one of the k6 that is built here */
export function decodeSeries(record: string): TimeSeries {
  let aggregates: Param['aggregates'] = {};
  const types = new Map<string, string>();
  let startedMs = 0;
  let beforeMs = 0;
  const seconds: Second[] = [];
  for (const line of record.split('\n')) {
    if (line === '') continue;
    const { event, data } = JSON.parse(line) as { event: string; data: unknown };
    if (event === 'param') ({ aggregates } = data as Param);
    if (event === 'metric') {
      for (const [name, { type }] of Object.entries(data as Record<string, { type: string }>))
        types.set(name, type);
    }
    if (event === 'start') startedMs = beforeMs = (data as number[][])[0]![0]!;
    if (event !== 'snapshot') continue;
    const values = data as readonly (readonly number[])[];
    const names = [...types.keys()].sort();
    if (names.length !== values.length) {
      throw new Error(`k6 recorded ${values.length} metrics where it had named ${names.length}`);
    }
    const aggregateOf = (name: string, aggregate: string): number => {
      const index = aggregates[types.get(name) ?? '']?.indexOf(aggregate) ?? -1;
      return index < 0 ? 0 : (values[names.indexOf(name)]?.[index] ?? 0);
    };
    const atMs = aggregateOf('time', 'value');
    const spanS = Math.max(0.001, (atMs - beforeMs) / 1000);
    beforeMs = atMs;
    const rate = (name: string): number => aggregateOf(name, 'count') / spanS;
    const latency = (name: string, counter: string): Latency | null =>
      aggregateOf(counter, 'count') === 0
        ? null
        : {
            p50Ms: aggregateOf(name, 'med'),
            p95Ms: aggregateOf(name, 'p(95)'),
            p99Ms: aggregateOf(name, 'p(99)'),
            maxMs: aggregateOf(name, 'max'),
          };
    seconds.push({
      atS: (atMs - startedMs) / 1000,
      answers: rate('answers'),
      bareAnswers: rate('bare_answers'),
      shed: rate('shed'),
      failed: rate('failed'),
      dropped: rate('dropped_iterations'),
      latency: latency('admitted', 'answers'),
      bareLatency: latency('bare', 'bare_answers'),
    });
  }
  return seconds;
}
