import type { LogRecord } from '../log/event-log.ts';
import { HEADER_BYTES, MAGIC, schemaIdOf } from './wire-format.ts';

/** Records name schemas that cannot be had now. Retryable: with the schemas they can be read. */
export class MissingSchemaError extends Error {
  /** @param ids of the schemas, not empty */
  constructor(
    message: string,
    readonly ids: readonly number[],
  ) {
    super(message);
  }

  /** The same, and where the first record is that names one of them. */
  locatedIn(records: readonly LogRecord[]): this {
    const first = records.find(
      ({ value }) =>
        value !== null &&
        value[0] === MAGIC &&
        value.length >= HEADER_BYTES &&
        this.ids.includes(schemaIdOf(value)),
    );
    if (first !== undefined) this.message += `. The first is at offset ${first.offset}`;
    return this;
  }
}
