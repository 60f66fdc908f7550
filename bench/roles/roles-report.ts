/** Figures of the roles as tables. */
import { textTable } from '../../cli/text-table.ts';
import type { Percentiles } from '../latency.ts';
import { formatRatio, formatUs, type Ratio } from '../report.ts';

export interface RolesRow {
  readonly figure: string;
  readonly perSecond: number;
  /** What `perSecond` counts. */
  readonly unit: string;
  readonly percentiles: Percentiles | null;
  /** Of the engine to this row, from the rates of each round; null in rows that are not compared with. */
  readonly ratio: Ratio | null;
  readonly target: { readonly text: string; readonly met: boolean } | null;
}

export interface HotKeyRow {
  readonly figure: string;
  /** Ingest processes. */
  readonly processes: number;
  readonly events: number;
  readonly eventsPerSecond: number;
  /** Writes of the state that won. */
  readonly writes: number;
  readonly conflicts: number;
  readonly conflictsPerEvent: number;
  /** Of all writes that were tried. */
  readonly conflictsPerWrite: number;
}

export interface PhaseReport {
  readonly rows: readonly RolesRow[];
  readonly hot: readonly HotKeyRow[];
  readonly notes: readonly string[];
  readonly facts: Readonly<Record<string, string>>;
}

export interface RolesReport extends PhaseReport {
  readonly environment: Readonly<Record<string, string | number>>;
}

export const NOT_MEASURED =
  'Not measured: a network (all servers and processes are on this machine, and share its cores with the load); ' +
  'replicas of Kafka and Redis, TLS, a Redis Cluster; data larger than memory; reads while much is written; ' +
  'rebalances, failures and catching up after them.';

export function formatRolesReport({ rows, hot, notes, facts, environment }: RolesReport): string {
  const blocks: string[] = [];
  if (rows.length > 0) {
    blocks.push(
      textTable([
        ['figure', 'per second', 'p50', 'p95', 'p99', 'max', 'millrace to it (rounds)', 'target'],
        ...rows.map(({ figure, perSecond, unit, percentiles, ratio, target }) => [
          figure,
          `${thousands(perSecond)} ${unit}`,
          ...(percentiles === null
            ? ['', '', '', '']
            : [percentiles.p50Us, percentiles.p95Us, percentiles.p99Us, percentiles.maxUs].map(formatUs)),
          ratio === null ? '' : formatRatio(ratio),
          target === null ? '' : `${target.text}: ${target.met ? 'met' : 'MISSED'}`,
        ]),
      ]),
    );
  }
  if (hot.length > 0) {
    blocks.push(
      textTable([
        ['figure', 'processes', 'events', 'per second', 'writes', 'conflicts', 'per write', 'per event'],
        ...hot.map((row) => [
          row.figure,
          String(row.processes),
          thousands(row.events),
          thousands(row.eventsPerSecond),
          thousands(row.writes),
          thousands(row.conflicts),
          row.conflictsPerWrite.toFixed(3),
          row.conflictsPerEvent.toFixed(4),
        ]),
      ]),
    );
  }
  const about = Object.entries({ ...facts, ...environment }).map(([name, value]) => [name, String(value)]);
  return [...blocks, notes.map((note) => `- ${note}`).join('\n'), textTable(about), NOT_MEASURED].join(
    '\n\n',
  );
}

const thousands = (value: number): string => Math.round(value).toLocaleString('en-US');
