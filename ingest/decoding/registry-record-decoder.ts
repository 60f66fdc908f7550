/**
 * Records with a schema id in front, read by the schema they were written with, and plain JSON beside them.
 *
 * A registry's schemas never change, so each is fetched and compiled once. Only the answer "no such schema" may
 * become untrue: it is asked for several times, as a registry's follower can lag behind. What is then to be done is a
 * setting: the partition waits, as a registry that was restored without its newest schemas has lost them; or records are
 * dead letters, and the answer is believed for a while, so that a stream of damaged records does not ask for each.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, WallClock } from '../../engine/clock.ts';
import type { StreamSource } from '../../engine/definitions/types.ts';
import { asBuffer } from './byte-cursor.ts';
import { compileWriterSchema } from './compile-writer-schema.ts';
import { decodeJson, NO_VALUE } from './json-record.ts';
import { MissingSchemaError } from './missing-schema-error.ts';
import { type Decoded, type RecordDecoder, refused } from './record-decoder.ts';
import type { SchemaRegistry } from './schema-registry.ts';
import { GUID_MAGIC, HEADER_BYTES, MAGIC, schemaIdOf } from './wire-format.ts';
import { UnusableSchemaError, type WriterSchema } from './writer-schema.ts';

/** Waits before an unknown schema is asked for again, ms: about 2 s in all. */
const UNKNOWN_RETRY_WAITS_MS: readonly number[] = [250, 500, 1_250];
const UNKNOWN_FOR_MS = 30_000;
const SCHEMAS_MAX = 1_000;

const TOO_SHORT = refused(
  `the record begins like one with a schema id but is shorter than ${HEADER_BYTES} bytes`,
);
const HAS_GUID = refused('the record names its schema by a GUID, which is not supported: only ids are');

/** A record names a schema id, and there is no registry to ask. Retryable: with a registry it can be read. */
export class NoRegistryError extends MissingSchemaError {
  override readonly name = 'NoRegistryError';

  constructor(source: string, ids: readonly number[]) {
    super(
      `the log of source ${source} has records that begin like those with a schema id (${ids.join(', ')}): start with ` +
        '--registry URL, the schema registry that their producers use, or with --on-lost-schema continue to make them dead ' +
        'letters',
      ids,
    );
  }
}

/** A record names a schema that the registry does not have. Retryable: it may be restored, or registered again. */
export class UnknownSchemaError extends MissingSchemaError {
  override readonly name = 'UnknownSchemaError';

  constructor(source: string, ids: readonly number[]) {
    super(
      `the schema registry does not have schema ${ids.join(', ')}, which records of source ${source} name: restore it, ` +
        'or start with --on-lost-schema continue to make them dead letters',
      ids,
    );
  }
}

type Known =
  | { readonly schema: WriterSchema }
  /** Believed until `untilMs` of the clock. */
  | { readonly refusal: Decoded; readonly untilMs: number };

export interface RecordDecoderOptions {
  readonly source: StreamSource;
  /** null: none is configured. Only plain JSON can be read then. */
  readonly registry: SchemaRegistry | null;
  /**
   * Where the registry does not have the schema that a record names, or there is no registry. `stop`: preparing rejects with
   * UnknownSchemaError until it has, or with NoRegistryError; `continue`: the record is refused as `unknown_schema`. @default 'stop'
   */
  readonly onLostSchema?: 'stop' | 'continue';
  /** @default the machine's */
  readonly clock?: Clock;
  /** Waits between attempts. @default a timer */
  readonly wait?: (ms: number) => Promise<void>;
  /** Compiled schemas kept, besides those of the chunk at hand. @default 1,000 */
  readonly schemasMax?: number;
}

/**
 * The decoder of one source's records. Partitions may share it.
 *
 * @example
 * const registry = await openSchemaRegistry({ urls: ['http://localhost:8081'] });
 * const decoder = recordDecoder({ source, registry });
 * await decoder.prepare(values);
 * for (const value of values) use(decoder.decode(value));
 */
export function recordDecoder(options: RecordDecoderOptions): RecordDecoder {
  return new RegistryRecordDecoder(options);
}

class RegistryRecordDecoder implements RecordDecoder {
  readonly #source: StreamSource;
  readonly #registry: SchemaRegistry | null;
  readonly #onLostSchema: 'stop' | 'continue';
  readonly #clock: Clock;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #schemasMax: number;
  readonly #known = new Map<number, Known>();
  /** One question at a time for each id, whoever asks. */
  readonly #asking = new Map<number, Promise<void>>();

  constructor({ source, registry, onLostSchema, clock, wait, schemasMax }: RecordDecoderOptions) {
    this.#source = source;
    this.#registry = registry;
    this.#onLostSchema = onLostSchema ?? 'stop';
    this.#clock = clock ?? new WallClock();
    this.#wait = wait ?? ((ms) => delay(ms));
    this.#schemasMax = schemasMax ?? SCHEMAS_MAX;
  }

  prepare(values: Iterable<Uint8Array | null>): Promise<void> | undefined {
    const needed = this.#idsOf(values);
    const missing = [...needed].filter((id) => !this.#isKnown(id));
    if (missing.length === 0) return undefined;
    const registry = this.#registry;
    this.#forget(needed);
    if (registry === null) {
      if (this.#onLostSchema === 'stop') {
        return Promise.reject(new NoRegistryError(this.#source.name, missing));
      }
      for (const id of missing) {
        const message = `the record names schema ${id}, and no schema registry is configured`;
        this.#known.set(id, {
          refusal: refused(message, 'unknown_schema'),
          untilMs: Number.POSITIVE_INFINITY,
        });
      }
      return undefined;
    }
    return Promise.all(missing.map((id) => this.#learn(id, registry))).then(() => {
      const unknown = missing.filter((id) => !this.#known.has(id));
      if (unknown.length > 0) throw new UnknownSchemaError(this.#source.name, unknown);
    });
  }

  decodable(values: Iterable<Uint8Array | null>): number {
    let count = 0;
    for (const value of values) {
      if (namesSchema(value) && !this.#isKnown(schemaIdOf(value))) break;
      count++;
    }
    return count;
  }

  decode(value: Uint8Array | null): Decoded {
    if (value === null) return NO_VALUE;
    switch (value[0]) {
      case MAGIC: {
        if (value.length < HEADER_BYTES) return TOO_SHORT;
        const id = schemaIdOf(value);
        const known = this.#known.get(id);
        if (known === undefined) throw new Error(`schema ${id} was not prepared`);
        return 'schema' in known ? known.schema.decode(asBuffer(value), HEADER_BYTES) : known.refusal;
      }
      case GUID_MAGIC:
        return HAS_GUID;
      default:
        return decodeJson(value);
    }
  }

  #idsOf(values: Iterable<Uint8Array | null>): Set<number> {
    const ids = new Set<number>();
    let latest = -1;
    for (const value of values) {
      if (!namesSchema(value)) continue;
      const id = schemaIdOf(value);
      // Producers change schemas rarely: most records repeat the id of the one before.
      if (id !== latest) ids.add(id);
      latest = id;
    }
    return ids;
  }

  #isKnown(id: number): boolean {
    const known = this.#known.get(id);
    return known !== undefined && ('schema' in known || known.untilMs > this.#clock.nowMs());
  }

  /** Makes room: the oldest go first, those that are needed stay. */
  #forget(needed: ReadonlySet<number>): void {
    for (const id of this.#known.keys()) {
      if (this.#known.size <= this.#schemasMax) return;
      if (!needed.has(id)) this.#known.delete(id);
    }
  }

  #learn(id: number, registry: SchemaRegistry): Promise<void> {
    let asking = this.#asking.get(id);
    if (asking === undefined) {
      asking = this.#ask(id, registry).finally(() => this.#asking.delete(id));
      this.#asking.set(id, asking);
    }
    return asking;
  }

  async #ask(id: number, registry: SchemaRegistry): Promise<void> {
    let schema = await registry.schemaById(id);
    for (const waitMs of UNKNOWN_RETRY_WAITS_MS) {
      if (schema !== null) break;
      await this.#wait(waitMs);
      schema = await registry.schemaById(id);
    }
    if (schema === null) {
      if (this.#onLostSchema === 'stop') return;
      const message = `the schema registry has no schema ${id}, which the record names`;
      const refusal = refused(message, 'unknown_schema');
      this.#known.set(id, { refusal, untilMs: this.#clock.nowMs() + UNKNOWN_FOR_MS });
      return;
    }
    try {
      this.#known.set(id, { schema: await compileWriterSchema(schema, this.#source) });
    } catch (error) {
      if (!(error instanceof UnusableSchemaError)) throw error;
      const refusal = refused(`the record's schema ${id} ${error.message}`);
      this.#known.set(id, { refusal, untilMs: Number.POSITIVE_INFINITY });
    }
  }
}

const namesSchema = (value: Uint8Array | null): value is Uint8Array =>
  value !== null && value[0] === MAGIC && value.length >= HEADER_BYTES;
