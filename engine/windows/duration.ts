/** Durations as people write them: `'30s'`, `'5m'`, `'7d'`; a number is milliseconds. */

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

export type DurationUnit = keyof typeof UNIT_MS;

/** A whole number and a unit (`ms s m h d w`), or a number of milliseconds. A day is 86 400 s. */
export type Duration = number | `${number}${DurationUnit}`;

/** Not a duration. */
export class DurationError extends Error {
  override readonly name = 'DurationError';
}

const PATTERN = /^(0|[1-9][0-9]{0,15})(ms|s|m|h|d|w)$/;

/**
 * The milliseconds of a duration. A number is returned as it is: whether it is whole, positive or too long is
 * for whoever asks for the duration to say.
 *
 * @example parseDurationMs('7d') === 604_800_000
 * @throws DurationError for text that is not a whole number followed by a unit, or is above 2⁵³ − 1 ms
 */
export function parseDurationMs(duration: Duration | string): number {
  if (typeof duration === 'number') return duration;
  const match = typeof duration === 'string' ? PATTERN.exec(duration) : null;
  if (match === null) {
    throw new DurationError(
      `${typeof duration === 'string' ? `'${duration.slice(0, 40)}'` : `a value of type ${typeof duration}`} is not a duration: write a whole number and a unit (ms, s, m, h, d, w), e.g. '5m', or a number of milliseconds`,
    );
  }
  const durationMs = Number(match[1]) * UNIT_MS[match[2] as DurationUnit];
  if (!Number.isSafeInteger(durationMs)) throw new DurationError(`'${duration}' is too long a duration`);
  return durationMs;
}

/**
 * As `parseDurationMs`, but what is no duration is handed through as it is, so that a definition can be made and
 * `compileRepo` can report it with its place, together with everything else that is wrong.
 */
export function durationMsOrAsIs(duration: Duration | string): number {
  try {
    return parseDurationMs(duration);
  } catch {
    return duration as number;
  }
}

const UNITS_DESCENDING: readonly DurationUnit[] = ['d', 'h', 'm', 's'];

/** The shortest exact form with one unit (weeks are written as days): 604 800 000 → `'7d'`, 90 000 → `'90s'`. */
export function formatDuration(durationMs: number): string {
  for (const unit of UNITS_DESCENDING) {
    if (durationMs !== 0 && durationMs % UNIT_MS[unit] === 0) return `${durationMs / UNIT_MS[unit]}${unit}`;
  }
  return `${durationMs}ms`;
}

/** For people, in as many units as it takes: 691 800 000 → `'8d 10m'`. */
export function spellDuration(durationMs: number): string {
  const parts: string[] = [];
  let leftMs = durationMs;
  for (const unit of [...UNITS_DESCENDING, 'ms'] as const) {
    const count = Math.floor(leftMs / UNIT_MS[unit]);
    leftMs -= count * UNIT_MS[unit];
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.join(' ') || '0ms';
}
