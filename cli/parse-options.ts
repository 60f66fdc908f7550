/** Options of single commands as text → values; each refusal says what the flag takes. */
import { InvalidArgumentError } from 'commander';
import { parseTimestampMs } from '../engine/definitions/timestamp.ts';
import { DurationError, parseDurationMs } from '../engine/windows/duration.ts';

/** `k=v`, collected over repetitions; the value may be empty and may hold `=`. */
export function collectPair(text: string, earlier: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be NAME=VALUE.');
  const name = text.slice(0, at);
  if (earlier.has(name)) throw new InvalidArgumentError(`${name} is given twice.`);
  return new Map([...earlier, [name, text.slice(at + 1)]]);
}

/** A name, collected over repetitions. */
export function collectName(text: string, earlier: readonly string[]): readonly string[] {
  if (text === '') throw new InvalidArgumentError('It must be a name.');
  if (earlier.includes(text)) throw new InvalidArgumentError(`${text} is given twice.`);
  return [...earlier, text];
}

/** ISO 8601 with a zone, or milliseconds since the epoch. */
export function parseTimeMs(text: string): number {
  const timeMs = /^\d{1,15}$/.test(text) ? Number(text) : parseTimestampMs(text);
  if (timeMs === null || timeMs < 0) {
    throw new InvalidArgumentError(
      'It must be an ISO 8601 time with a zone, or milliseconds since the epoch.',
    );
  }
  return timeMs;
}

/** `max` or N times real time. */
export function parseSpeed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY;
  const speed = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (speed <= 0)
    throw new InvalidArgumentError('It must be max, or how many times as fast as real time, above 0.');
  return speed;
}

/** A whole number of [1, max]. */
export function wholeNumber(max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > max)
      throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}.`);
    return value;
  };
}

/** Events per key and day, where none are given. */
export const DEFAULT_RATES: readonly number[] = [1, 10, 100, 1_000, 10_000];

/** A number of (0, 1e9], also as 1e7, collected over repetitions. */
export function collectRate(text: string, earlier: readonly number[]): readonly number[] {
  const rate = /^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) ? Number(text) : 0;
  if (rate <= 0 || rate > 1e9)
    throw new InvalidArgumentError('It must be a number of events per key and day, above 0 and up to 1e9.');
  return [...earlier, rate];
}

const EVERY_MIN_MS = 1_000;
const EVERY_MAX_MS = 366 * 86_400_000;

/** How often something is done: a duration of [1 s, 366 d], ms. */
export function parseEveryMs(text: string): number {
  try {
    const everyMs = parseDurationMs(text);
    if (everyMs >= EVERY_MIN_MS && everyMs <= EVERY_MAX_MS) return everyMs;
  } catch (error) {
    if (!(error instanceof DurationError)) throw error;
  }
  throw new InvalidArgumentError('It must be a duration from 1s to 366d, such as 10m, 1h or 1d.');
}

const GRACE_MIN_MS = 10_000;
const GRACE_MAX_MS = 30 * 86_400_000;

/** A duration of [10 s, 30 d], ms: whoever reads takes up to a second to notice a switch. */
export function parseGraceMs(text: string): number {
  try {
    const graceMs = parseDurationMs(text);
    if (graceMs >= GRACE_MIN_MS && graceMs <= GRACE_MAX_MS) return graceMs;
  } catch (error) {
    if (!(error instanceof DurationError)) throw error;
  }
  throw new InvalidArgumentError('It must be a duration from 10s to 30d, such as 30s, 10m or 1h.');
}
