/** Figures of the aggregations as tables. */
import { textTable } from '../../cli/text-table.ts';
import { formatUs, type Ratio } from '../report.ts';
import type { ByHandRow } from './by-hand.ts';
import { VARIANT_TEXT, VARIANTS, WINDOWS } from './card-events.ts';
import type { DenseRow } from './dense-key.ts';
import type { MemoryRow } from './memory-per-event.ts';
import { BLOCK_ROWS, type OperationCost, TILE_EVENTS, TILES } from './operation-cost.ts';
import type { ScalingRow } from './scaling.ts';
import { READ_BYTES_MAX } from './scaling-plot.ts';

export interface AggregationsReport {
  readonly scaling: readonly ScalingRow[];
  readonly byHand: readonly ByHandRow[];
  readonly memory: readonly MemoryRow[];
  readonly operations: readonly OperationCost[];
  readonly dense: readonly DenseRow[];
  readonly notes: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export const NOT_MEASURED =
  'Not measured: a network (Redis is on this machine, and shares its cores with the client); many reads in flight, ' +
  'which wait for each other; HTTP, and JSON of the answer; reads while much is written; a busy Redis or one with ' +
  'replicas; decoding of events and the log; bursts (events come evenly, late ones not at all); text ids, which ' +
  'make a member of the sorted set longer and a row of ours not; memory that Redis has given up to fragmentation, ' +
  'and its append-only file; operations compiled for one kind of state only (all run in one process).';

/** A read's p99 may grow by so much from the smaller to the greater number of events. */
const GROWTH = { from: 1_000, to: 1_000_000, max: 2 };

export function formatAggregationsReport(report: AggregationsReport): string {
  const { scaling, byHand, memory, operations, dense, notes, environment } = report;
  const blocks: string[] = [
    textTable([
      ['windows', WINDOWS.join(' ')],
      ...VARIANTS.map((variant) => [variant, VARIANT_TEXT[variant]]),
    ]),
  ];
  if (scaling.length > 0) blocks.push(scalingTable(scaling), growth(scaling));
  if (byHand.length > 0) blocks.push(byHandTable(byHand));
  if (memory.length > 0) blocks.push(memoryTable(memory), partsTable(memory));
  if (operations.length > 0) blocks.push(operationsTable(operations));
  if (dense.length > 0) blocks.push(denseTable(dense));
  if (notes.length > 0) blocks.push(notes.map((note) => `- ${note}`).join('\n'));
  blocks.push(`checksum  ${checksumOf(report)}`, textTable(Object.entries(environment)), NOT_MEASURED);
  return blocks.join('\n\n');
}

/** Of answers, not of times: the same for the same seed and sizes. */
export function checksumOf({ scaling, byHand, memory, operations, dense }: AggregationsReport): string {
  let sum = 0;
  for (const { checksum } of byHand) sum += checksum;
  for (const { checksum } of scaling) sum += checksum;
  for (const { checksum } of operations) sum += checksum;
  // Not of what Redis takes beyond the payload: a sorted set draws lots for its levels.
  for (const { events, keys, hashBytes, parts } of memory) sum += events * keys * (hashBytes - parts.redis!);
  for (const { events, stateBytesPerEvent } of dense) sum += events * stateBytesPerEvent;
  return sum.toPrecision(12);
}

function scalingTable(rows: readonly ScalingRow[]): string {
  return textTable([
    [
      'read',
      'days',
      'store',
      'events',
      'p50',
      'p99',
      'CPU',
      'bytes',
      'most',
      'rows',
      'tiles',
      'asked',
      'present',
      'calls',
    ],
    ...rows.map((row) => [
      row.variant,
      String(row.days),
      row.store,
      thousands(row.events),
      formatUs(row.p50Us),
      formatUs(row.p99Us),
      formatUs(row.cpuUs),
      thousands(row.bytes),
      `${thousands(row.bytesMax)}${row.bytesMax > READ_BYTES_MAX ? ' > 32 kB' : ''}`,
      thousands(row.rowBytes),
      thousands(row.tileBytes),
      row.asked.toFixed(0),
      row.present.toFixed(1),
      String(row.calls),
    ]),
  ]);
}

function growth(rows: readonly ScalingRow[]): string {
  const lines = rows.flatMap((large) => {
    if (large.events !== GROWTH.to) return [];
    const { variant, days, store } = large;
    const small = rows.find(
      (row) =>
        row.variant === variant && row.days === days && row.store === store && row.events === GROWTH.from,
    );
    if (small === undefined) return [];
    const p99 = large.p99Us / small.p99Us;
    return [
      [
        `${variant}, ${days} days, ${store}`,
        `p99 × ${p99.toFixed(2)}`,
        `p50 × ${(large.p50Us / small.p50Us).toFixed(2)}`,
        `CPU × ${(large.cpuUs / small.cpuUs).toFixed(2)}`,
        `bytes × ${(large.bytesMax / small.bytesMax).toFixed(2)}`,
        `target ≤ ${GROWTH.max}: ${p99 <= GROWTH.max ? 'met' : 'MISSED'}; ≤ 32 kB: ${large.bytesMax <= READ_BYTES_MAX ? 'met' : 'MISSED'}`,
      ],
    ];
  });
  return lines.length === 0
    ? 'growth: not measured at both ends'
    : textTable([[`from ${thousands(GROWTH.from)} to ${thousands(GROWTH.to)} events`], ...lines]);
}

/** How many times as fast as a sum in the client a read must be, by events in the window. */
const FASTER = { anywhere: 1, atEvents: 1_000_000, there: 50 };

/** @param events in the window */
export function byHandTarget(events: number, { median }: Ratio): string {
  const target = events >= FASTER.atEvents ? FASTER.there : FASTER.anywhere;
  return `≥ ${target}: ${median >= target ? 'met' : 'MISSED'}`;
}

function byHandTable(rows: readonly ByHandRow[]): string {
  return textTable([
    ['read by hand', 'events', 'engine p50', 'p99', 'by hand p50', 'p99', 'times as fast', 'target'],
    ...rows.map(({ features, events, engine, byHand, ratio }) => [
      features,
      thousands(events),
      formatUs(engine.p50Us),
      formatUs(engine.p99Us),
      formatUs(byHand.p50Us),
      formatUs(byHand.p99Us),
      `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})`,
      byHandTarget(events, ratio),
    ]),
  ]);
}

function memoryTable(rows: readonly MemoryRow[]): string {
  return textTable([
    [
      'memory',
      'events',
      'keys',
      'hash B/event',
      'sorted set B/event',
      'ratio',
      'target',
      'fields',
      'due index B/key',
    ],
    ...rows.map(({ variant, events, keys, hashBytes, zsetBytes, ratio, target, fields, dueBytesPerKey }) => [
      variant,
      thousands(events),
      String(keys),
      hashBytes.toFixed(1),
      zsetBytes.toFixed(1),
      ratio.toFixed(3),
      target === null ? '' : `≤ ${target.toFixed(2)}: ${ratio <= target ? 'met' : 'MISSED'}`,
      fields.toFixed(1),
      dueBytesPerKey.toFixed(0),
    ]),
  ]);
}

function partsTable(rows: readonly MemoryRow[]): string {
  const names = [...new Set(rows.flatMap(({ parts }) => Object.keys(parts)))];
  return textTable([
    ['hash B/event', 'events', ...names],
    ...rows.map(({ variant, events, parts }) => [
      variant,
      thousands(events),
      ...names.map((name) => (parts[name] === undefined ? '' : parts[name].toFixed(2))),
    ]),
  ]);
}

function operationsTable(rows: readonly OperationCost[]): string {
  return textTable([
    [
      'operation',
      `ns/event (blocks of ${BLOCK_ROWS})`,
      `µs/merge (tile of ${thousands(TILE_EVENTS)})`,
      'tile B',
      `${TILES} merged B`,
      'finalize µs',
    ],
    ...rows.map((row) => [
      row.operation,
      row.addNs.toFixed(1),
      row.mergeUs.toFixed(2),
      thousands(row.tileBytes),
      thousands(row.mergedBytes),
      row.finalizeUs.toFixed(2),
    ]),
  ]);
}

function denseTable(rows: readonly DenseRow[]): string {
  return textTable([
    [
      'dense key',
      'store',
      'events',
      'in',
      'events/s',
      'compaction',
      'written B/event',
      'B/chunk',
      'most',
      'largest field ever',
      'ids B',
      'fields',
      'state B/event',
    ],
    ...rows.map((row) => [
      row.variant,
      row.store,
      thousands(row.events),
      row.days === 0 ? '1 ms' : `${row.days} days`,
      thousands(row.eventsPerSecond),
      `${(100 * row.compactionShare).toFixed(0)} %`,
      thousands(row.bytesWrittenPerEvent),
      thousands(row.chunkBytes),
      thousands(row.chunkBytesMax),
      `${row.largestField.name} ${thousands(row.largestField.bytes)}`,
      thousands(row.idsBytes),
      thousands(row.fields),
      row.stateBytesPerEvent.toFixed(1),
    ]),
  ]);
}

const thousands = (value: number): string => Math.round(value).toLocaleString('en-US');
