import { randomUUID } from 'node:crypto';

/** What callers and proxies use: UUIDs, ULIDs, hex and base64url texts. Nothing that could break a log line. */
const WELL_FORMED = /^[A-Za-z0-9._:-]{8,128}$/;

/** The id of a request in logs and in the header of its answer: the caller's `x-request-id`, where well-formed, or a new one. */
export function requestId({ headers }: { readonly headers: Readonly<Record<string, unknown>> }): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && WELL_FORMED.test(given) ? given : randomUUID();
}
