/** What of a Protobuf schema matters to a reader: messages, their fields, enums; by full name, without a leading dot. */

export const PROTO_SCALARS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const;

export type ProtoScalar = (typeof PROTO_SCALARS)[number];

export interface ProtoField {
  /** As declared, in snake_case by custom. */
  readonly name: string;
  readonly number: number;
  /** A scalar, or the full name of a message or enum. */
  readonly type: string;
  readonly kind: 'scalar' | 'named' | 'map' | 'group';
  readonly repeated: boolean;
  /** Whether "not there" and "at its default" are two things: `optional`, in a oneof, or of a message type. */
  readonly presence: boolean;
}

export interface ProtoMessage {
  readonly fullName: string;
  readonly fields: readonly ProtoField[];
  /** In order of declaration, without those made for maps. */
  readonly nested: readonly ProtoMessage[];
}

export interface ProtoEnum {
  readonly fullName: string;
  /** Of several names for a number the first. */
  readonly names: ReadonlyMap<number, string>;
}

export interface ProtoFile {
  /** The outermost messages in order of declaration. */
  readonly messages: readonly ProtoMessage[];
  readonly enums: readonly ProtoEnum[];
}

/** Every message below a file's outermost ones, themselves included. */
export function* allMessages(messages: readonly ProtoMessage[]): Generator<ProtoMessage> {
  for (const message of messages) {
    yield message;
    yield* allMessages(message.nested);
  }
}
