/** Figures as a table. */
import { textTable } from '../cli/text-table.ts';
import type { Percentiles } from './latency.ts';

export interface Row extends Percentiles {
  readonly figure: string;
  /** What `perSecond` counts. */
  readonly unit: 'reads' | 'events';
  /** What the percentiles are of. */
  readonly operation: string;
  readonly perSecond: number;
  /** Of the engine to the row below it, from the rates of each round; null in the rows compared with. */
  readonly ratio: Ratio | null;
}

export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface BenchReport {
  readonly checksum: string;
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
  readonly environment: Readonly<Record<string, string | number>>;
}

export const NOT_MEASURED =
  'Not measured: a network (client and server talk over loopback); other load and other processes on the cores ' +
  'that client, server and lmdb share; a cold page cache or data larger than memory; clients that do not wait ' +
  'for answers (the loop is closed, so latencies over HTTP are mostly the queue of the requests in flight, and ' +
  'a pause delays requests instead of failing them); reads and writes at the same time; parsing of pushes over ' +
  'HTTP; several partitions, shards or machines; very dense keys; the first seconds after a start.';

/** Ratios round by round: what disturbs one round disturbs both of its sides. */
export function ratioOf(engine: readonly number[], bare: readonly number[]): Ratio {
  const ratios = engine.map((rate, i) => rate / bare[i]!).sort((a, b) => a - b);
  const middle = ratios.length >>> 1;
  const median = ratios.length % 2 === 1 ? ratios[middle]! : (ratios[middle - 1]! + ratios[middle]!) / 2;
  return { median, min: ratios[0]!, max: ratios.at(-1)! };
}

export function formatReport({ rows, checksum, notes, environment }: BenchReport): string {
  const table = textTable([
    ['figure', 'per second', 'p50', 'p99', 'p99.9', 'of one', 'ratio (rounds)'],
    ...rows.map((row) => [
      row.figure,
      `${Math.round(row.perSecond).toLocaleString('en-US')} ${row.unit}`,
      formatUs(row.p50Us),
      formatUs(row.p99Us),
      formatUs(row.p999Us),
      row.operation,
      row.ratio === null ? '' : formatRatio(row.ratio),
    ]),
  ]);
  const facts = Object.entries(environment).map(([name, value]) => [name, String(value)]);
  return [
    table,
    '',
    ...notes.map((note) => `- ${note}`),
    '',
    `checksum  ${checksum}`,
    '',
    textTable(facts),
    '',
    NOT_MEASURED,
  ].join('\n');
}

export const formatRatio = ({ median, min, max }: Ratio): string =>
  `${median.toFixed(3)} (${min.toFixed(3)} – ${max.toFixed(3)})`;

export function formatUs(us: number): string {
  if (us >= 100_000) return `${Math.round(us / 1000)} ms`;
  return us >= 999.5 ? `${(us / 1000).toFixed(2)} ms` : `${us.toPrecision(3)} µs`;
}
