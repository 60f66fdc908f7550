/** Schemas as a registry gives them, .proto text or a serialized descriptor in base64, as files. */
import { allMessages, type ProtoFile } from './proto-file.ts';
import { parseProto } from './proto-text.ts';
import { UnusableSchemaError } from './writer-schema.ts';

/** So that short names of Protobuf's own types are understood: no registry hands out their files. */
const WELL_KNOWN = [
  'Timestamp',
  'Duration',
  'Any',
  'Struct',
  'DoubleValue',
  'FloatValue',
  'Int64Value',
  'UInt64Value',
  'Int32Value',
  'UInt32Value',
  'BoolValue',
  'StringValue',
  'BytesValue',
].map((name) => `google.protobuf.${name}`);

/** Neither whitespace nor punctuation but base64's own: no .proto file, which has at least `;` or braces. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * @param references texts of the files it imports, each after those it imports itself
 * @throws UnusableSchemaError
 */
export async function parseProtoFiles(
  schema: string,
  references: Iterable<string>,
): Promise<{ file: ProtoFile; imports: ProtoFile[] }> {
  const known = new Set(WELL_KNOWN);
  const parse = async (text: string): Promise<ProtoFile> => {
    try {
      if (!BASE64.test(text.trim())) return parseProto(text, known);
      const { parseProtoDescriptor } = await import('./proto-descriptor.ts');
      return parseProtoDescriptor(text);
    } catch (error) {
      throw new UnusableSchemaError(`cannot be parsed: ${(error as Error).message}`, { cause: error });
    }
  };
  const imports: ProtoFile[] = [];
  for (const reference of references) {
    const file = await parse(reference);
    for (const { fullName } of [...allMessages(file.messages), ...file.enums]) known.add(fullName);
    imports.push(file);
  }
  return { file: await parse(schema), imports };
}
