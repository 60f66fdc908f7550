/**
 * The decoder of one process: the real one, over the registry's server as it is.
 * Some of the `MUTATIONS` are planted here.
 */
import type { StreamSource } from '../engine/definitions/types.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { recordDecoder, UnknownSchemaError } from '../ingest/decoding/registry-record-decoder.ts';
import { RegistryUnavailableError } from '../ingest/decoding/schema-registry.ts';
import type { RunState } from './run-state.ts';
import type { Actor } from './scheduler.ts';

export function simulatedDecoder(run: RunState, source: StreamSource, actor: Actor): RecordDecoder {
  const { scheduler, registry, faults, clock, content } = run;
  const decoder = recordDecoder({
    source,
    registry: registry.clientOf(actor),
    onLostSchema: run.mutation === 'lost_schema_passed' ? 'continue' : run.plan.onLostSchema,
    clock,
    wait: () => scheduler.gate(actor),
  });
  return {
    prepare: (values) =>
      decoder.prepare(values)?.catch((error: unknown) => {
        if (error instanceof UnknownSchemaError) faults.add('partition waited for a lost schema');
        if (error instanceof RegistryUnavailableError) faults.add('partition waited for the registry');
        throw error;
      }),
    decodable: (values) => decoder.decodable(values),
    decode: (value) => {
      const decoded = decoder.decode(value);
      if (decoded.ok && value !== null) content.decoded(value);
      const isPassed = run.mutation === 'lost_schema_passed' && !decoded.ok;
      return isPassed && decoded.reason === 'unknown_schema' ? NOBODYS_EVENT : decoded;
    },
  };
}

/** No view counts it. */
const NOBODYS_EVENT = { ok: true, data: { id: 0, at: 1, card: null, amount: -1, kind: 'x' } } as const;
