/**
 * The bytes of records: events as JSON, or behind the id of the schema they were written with; and records that nobody
 * can use, whatever is mended.
 */
import type { DeadLetterReason } from '../ingest/dead-letter.ts';
import { GUID_MAGIC, HEADER_BYTES, MAGIC } from '../ingest/decoding/wire-format.ts';
import type { Fault } from './faults.ts';
import type { SimulatedEvent } from './simulated-event.ts';

/** The registry has it at all times. */
export const STEADY_SCHEMA = 1;
/** The registry may lose them. */
export const LOSABLE_SCHEMAS = [2, 3] as const;

/** @param schemaId null: no schema id in front */
export function eventBytes({ id, timeMs, key, amount, kind }: SimulatedEvent, schemaId: number | null) {
  const json = Buffer.from(JSON.stringify({ id, at: timeMs, card: key, amount, kind }));
  return schemaId === null ? json : behind(MAGIC, schemaId, json);
}

function behind(magic: number, schemaId: number, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  bytes[0] = magic;
  bytes.writeUInt32BE(schemaId, 1);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export interface UnusableRecord {
  readonly fault: Fault;
  /** Why no view can use it. */
  readonly reason: DeadLetterReason;
  /** Empty: a tombstone. */
  readonly bytes: (nowMs: number) => Uint8Array;
}

const FAR_MS = 3_600_000;
const event = (fields: object): Buffer =>
  Buffer.from(JSON.stringify({ id: 1, card: 'a', amount: 1, kind: 'x', ...fields }));

export const UNUSABLE_RECORDS: readonly UnusableRecord[] = [
  { fault: 'unusable record: tombstone', reason: 'undecodable', bytes: () => new Uint8Array() },
  {
    fault: 'unusable record: damaged behind its schema id',
    reason: 'undecodable',
    bytes: (nowMs) => behind(MAGIC, STEADY_SCHEMA, event({ at: nowMs }).subarray(0, -3)),
  },
  {
    fault: 'unusable record: cut within its schema id',
    reason: 'undecodable',
    bytes: () => new Uint8Array([MAGIC, 0, 0]),
  },
  {
    fault: 'unusable record: bad magic',
    reason: 'undecodable',
    bytes: (nowMs) => behind(7, STEADY_SCHEMA, event({ at: nowMs })),
  },
  {
    fault: 'unusable record: schema named by a GUID',
    reason: 'undecodable',
    bytes: (nowMs) => behind(GUID_MAGIC, STEADY_SCHEMA, event({ at: nowMs })),
  },
  {
    fault: 'unusable record: breaks the source',
    reason: 'breaks_schema',
    bytes: (nowMs) => behind(MAGIC, STEADY_SCHEMA, event({ at: nowMs, kind: 5 })),
  },
  {
    fault: 'unusable record: far in the future',
    reason: 'too_far_in_future',
    bytes: (nowMs) => event({ at: nowMs + FAR_MS }),
  },
];
