/** Payments as Avro, under schemas that a registry knows by id: what the foreign producer writes, and how it is read. */
import avro from 'avsc';
import { eventAvroSchema } from '../../ingest/decoding/subject-schemas.ts';
import { exactLong } from '../../ingest/decoding/testing/serialized-events.ts';
import type { Payment } from '../cluster/events.ts';
import { parseJson } from '../cluster/truth.ts';
import { payments } from '../fixtures/roles/features.ts';

const MAGIC = 0;
const HEADER_BYTES = 5;

export class AvroPayments {
  readonly #types = new Map<number, avro.Type>();
  #id = -1;

  /** Registers one more version of the schema, with a field of its own; payments are written by it from now on. */
  async register(registryUrl: string): Promise<void> {
    const { fields, ...record } = eventAvroSchema(payments) as { fields: readonly object[] };
    const added = { name: `added_${this.#types.size}`, type: ['null', 'string'], default: null };
    const schema = { ...record, fields: [...fields, added] };
    const response = await fetch(`${registryUrl}/subjects/payments-${this.#types.size}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schemaType: 'AVRO', schema: JSON.stringify(schema) }),
    });
    if (!response.ok) throw new Error(`the registry answered ${response.status}: ${await response.text()}`);
    this.#id = ((await response.json()) as { id: number }).id;
    this.#types.set(
      this.#id,
      avro.Type.forSchema(schema as avro.Schema, {
        typeHook: (part) =>
          part === 'long' || (part as { type?: unknown }).type === 'long' ? exactLong : undefined,
      }),
    );
  }

  encode(payment: Payment): Buffer {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(MAGIC, 0);
    header.writeInt32BE(this.#id, 1);
    const { points, at } = payment;
    const row = { ...payment, at: Date.parse(at), points: points === null ? null : BigInt(points) };
    return Buffer.concat([header, this.#types.get(this.#id)!.toBuffer(row)]);
  }

  /** The event as JSON; undefined: there is none. */
  parse(value: Buffer): unknown {
    if (value[0] !== MAGIC) return parseJson(value);
    const type = this.#types.get(value.readInt32BE(1));
    if (type === undefined) return undefined;
    const { points, ...row } = type.fromBuffer(value.subarray(HEADER_BYTES));
    const { id, at, card, shop, amount } = row;
    return { id, at, card, shop, amount, points: points === null ? null : String(points) };
  }
}
