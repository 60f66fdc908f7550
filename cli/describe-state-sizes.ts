/** What the state of one key of a view is expected to take, as text, and what to do where that is past its bound. */
import { STATE_BYTES_MAX } from '../engine/definitions/check-view.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import {
  DAY_MS,
  type EstimatedView,
  hasAscendingIds,
  stateEstimator,
  TEXT_CHARS,
  TEXT_VALUES,
} from '../engine/tiles/state-estimate.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { formatDuration } from '../engine/windows/duration.ts';
import { formatByteSize } from './byte-size.ts';
import { textTable } from './text-table.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Resolutions that are proposed, the finest first. */
const RESOLUTIONS_MS = [
  1_000,
  MINUTE_MS,
  5 * MINUTE_MS,
  20 * MINUTE_MS,
  HOUR_MS,
  6 * HOUR_MS,
  DAY_MS,
  7 * DAY_MS,
];

/** Bytes of a state whose view were otherwise. */
type BytesIf = (changed: Partial<Pick<EstimatedView, 'longestWindowMs' | 'resolutionMs'>>) => number;

/** Lines of a view's description. @param rates events per key and day */
export function describeStateSizes(view: CompiledView, rates: readonly number[]): string[] {
  const sizes = rates.map((rate) => {
    const estimate = stateEstimator(view, DEFAULT_TILE_SHAPE, rate);
    const bytesIf: BytesIf = (changed) => estimate(changed).bytes;
    return { rate, size: estimate(), bytesIf };
  });
  const past = sizes.filter(({ size }) => size.bytes > view.maxStateBytes);
  const hasBlocks = view.wide.length > 0;
  return [
    `  state per key, estimated for ${assumptionsOf(view).join(', ')}:`,
    textTable(
      [
        [
          'events a day',
          'rows kept',
          'bytes a row',
          'tiles',
          'bytes a tile',
          ...(hasBlocks ? ['blocks', 'bytes a block'] : []),
          'state',
        ],
        ...sizes.map(({ rate, size }) => [
          shortNumber(rate),
          shortNumber(size.rows),
          String(Math.round(size.rowBytes)),
          shortNumber(size.tiles),
          shortNumber(size.tileBytes),
          ...(hasBlocks ? [shortNumber(size.blocks), shortNumber(size.blockBytes)] : []),
          shortBytes(size.bytes) + (size.bytes > view.maxStateBytes ? ' !' : ''),
        ]),
      ],
      '    ',
    ),
    ...past.flatMap(({ rate, size, bytesIf }) => warningOf(view, rate, size.bytes, bytesIf)),
  ];
}

function assumptionsOf(view: CompiledView): string[] {
  const assumptions = ['events that come evenly'];
  if (hasAscendingIds(view.source)) assumptions.push('ids that ascend with gaps');
  if (view.columns.some(({ type }) => type === 'string'))
    assumptions.push(`texts taken as ${TEXT_CHARS} characters and ${TEXT_VALUES} different ones`);
  return assumptions;
}

function warningOf(view: CompiledView, rate: number, bytes: number, bytesIf: BytesIf): string[] {
  const ways = [resolutionFor(view, bytesIf), boundFor(bytes), windowFor(view, bytesIf)].filter(
    (way) => way !== null,
  );
  return [
    `  ! with ${shortNumber(rate)} events a day a key takes ${shortBytes(bytes)}, past its maxStateBytes of ` +
      `${formatByteSize(view.maxStateBytes)}: its oldest rows will be merged, and values over them be coarse`,
    ...(ways.length === 0 ? [] : [`    instead: ${ways.join('; or ')}`]),
  ];
}

/** The finest resolution that fits, where the view may have one. */
function resolutionFor(view: CompiledView, bytesIf: BytesIf): string | null {
  if (view.features.some(({ operation }) => operation.sequence === true)) return null;
  const shortestMs = Math.min(
    ...view.features.map(({ window }) => ('sizeMs' in window ? window.sizeMs : Number.POSITIVE_INFINITY)),
  );
  for (const resolutionMs of RESOLUTIONS_MS) {
    if (resolutionMs <= (view.resolutionMs ?? 0)) continue;
    if (resolutionMs > shortestMs) break;
    const bytes = bytesIf({ resolutionMs });
    if (bytes <= view.maxStateBytes) {
      return `resolution '${formatDuration(resolutionMs)}' gives ${shortBytes(bytes)}`;
    }
  }
  return null;
}

function boundFor(bytes: number): string | null {
  const mebibytes = Math.ceil((bytes * 1.25) / 2 ** 20);
  if (mebibytes * 2 ** 20 > STATE_BYTES_MAX) return null;
  return `maxStateBytes ${mebibytes} * 2 ** 20 keeps all of it`;
}

/** The longest window that fits, in whole hours or, from two days on, days. */
function windowFor(view: CompiledView, bytesIf: BytesIf): string | null {
  let low = 0;
  let high = Math.floor(view.longestWindowMs / HOUR_MS);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (bytesIf({ longestWindowMs: middle * HOUR_MS }) <= view.maxStateBytes) low = middle;
    else high = middle;
  }
  if (low === 0) {
    return view.asOfRetentionMs === 0
      ? null
      : `an asOfRetention of less than ${formatDuration(view.asOfRetentionMs)}`;
  }
  const hours = low >= 48 ? low - (low % 24) : low;
  const bytes = bytesIf({ longestWindowMs: hours * HOUR_MS });
  return `windows that reach back ${formatDuration(hours * HOUR_MS)} at most take ${shortBytes(bytes)}`;
}

function shortNumber(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 1e4) return `${Math.round(value / 1e3)}k`;
  if (value >= 10 || Number.isInteger(value)) return String(Math.round(value));
  return value.toPrecision(2);
}

function shortBytes(bytes: number): string {
  if (bytes >= 2 ** 20) return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  if (bytes >= 2 ** 10) return `${(bytes / 2 ** 10).toFixed(1)} KiB`;
  return `${Math.round(bytes)} B`;
}
