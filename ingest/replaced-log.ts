/**
 * What shows that a partition's log is not the one a watermark was written for. There is no going on with it: floors in the
 * states count offsets of the old log, and would swallow records of the new one.
 */
import type { Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import { LogReplacedError } from './partition-stopped.ts';

type Place = Pick<WatermarkName, 'source' | 'partition'>;

function replaced({ source, partition }: Place, what: string): LogReplacedError {
  return new LogReplacedError(
    `the log of source ${source}, partition ${partition}, ${what}. Restore it; or start afresh with another store (the ` +
      'data directory, or --redis-prefix): a rebuild cannot go on with it either',
  );
}

/** @throws {LogReplacedError} where it was written for a log with another identity */
export function checkIdentity(place: Place, { logIdentity }: Watermark, identity: string): void {
  if (logIdentity !== identity) throw replaced(place, 'is not the one this store was filled from');
}

/** Where a log ends, and up to where more than that was applied of it. */
export interface LogShortfall {
  readonly endOffset: number;
  readonly nextOffset: number;
}

export function endsShort(place: Place, { endOffset, nextOffset }: LogShortfall): LogReplacedError {
  const what = `ends at ${endOffset} but was applied up to ${nextOffset}: it lost records or is another log`;
  return replaced(place, what);
}

/** @param endOffset read after the watermark. @throws {LogReplacedError} where more was applied than there is */
export function checkEnd(place: Place, nextOffset: number, endOffset: number): void {
  if (nextOffset > endOffset) throw endsShort(place, { endOffset, nextOffset });
}

/** The record applied last is another one now: the topic was deleted and made again, and has grown past it. */
export function madeAgain(place: Place, offset: number): LogReplacedError {
  const what = `holds another record at offset ${offset} than the one applied: it was deleted and made again`;
  return replaced(place, what);
}
