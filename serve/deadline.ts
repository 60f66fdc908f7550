/** By when a request is answered: what its header says, or its service. */
import { DEADLINE_MAX_MS } from '../engine/definitions/feature-service.ts';
import { ApiError } from './error-catalogue.ts';

/** Whole milliseconds from when the request arrived, 1 to 60,000. */
export const DEADLINE_HEADER = 'x-deadline-ms';

/** Of the deadline so much is kept for making the answer: a tenth of it, at most 5 ms. */
const MARGIN_MS_MAX = 5;

const WHOLE_MS = /^[1-9]\d{0,4}$/;

/** @throws ApiError `invalid_header` */
export function readDeadlineMs(header: string | string[] | undefined, whenMissing: number): number {
  if (header === undefined) return whenMissing;
  const deadlineMs = typeof header === 'string' && WHOLE_MS.test(header) ? Number(header) : 0;
  if (deadlineMs < 1 || deadlineMs > DEADLINE_MAX_MS) {
    const message = `header '${DEADLINE_HEADER}' must be a whole number of milliseconds, 1 to ${DEADLINE_MAX_MS}`;
    throw new ApiError('invalid_header', message, { header: DEADLINE_HEADER });
  }
  return deadlineMs;
}

/** Until when others may be waited for, on the clock of `performance.now()`. @param elapsedMs since the request arrived */
export function waitingEndsMs(deadlineMs: number, elapsedMs: number): number {
  return performance.now() + deadlineMs - Math.min(MARGIN_MS_MAX, deadlineMs / 10) - elapsedMs;
}

/** Instead of a result that has not come in time. */
export const LATE = Symbol('late');

/**
 * What the promise settles to, or `LATE` when it has not by then; what comes of it later is dropped, a rejection too.
 *
 * @param untilMs on the clock of `performance.now()`; Infinity: however long it takes
 */
export function settledBy<T>(promise: Promise<T>, untilMs: number): Promise<T | typeof LATE> {
  if (untilMs === Number.POSITIVE_INFINITY) return promise;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      // A thread that was busy looks at its sockets first: what lies there has come in time.
      setImmediate(resolve, LATE);
    }, untilMs - performance.now());
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
