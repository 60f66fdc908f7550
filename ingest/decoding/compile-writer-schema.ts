import type { StreamSource } from '../../engine/definitions/types.ts';
import { compileAvro } from './avro-writer-schema.ts';
import { compileJson } from './json-writer-schema.ts';
import { parseProtoFiles } from './protobuf-files.ts';
import { compileProtobuf } from './protobuf-writer-schema.ts';
import type { RegisteredSchema } from './schema-registry.ts';
import { UnusableSchemaError, type WriterSchema } from './writer-schema.ts';

/**
 * Compiles a registered schema for the columns of a source.
 * @throws UnusableSchemaError
 */
export async function compileWriterSchema(
  { type, schema, references, readRules }: RegisteredSchema,
  source: StreamSource,
): Promise<WriterSchema> {
  if (readRules.length > 0) {
    throw new UnusableSchemaError(
      `has rules that change values on reading (${readRules.join(', ')}), which are not supported`,
    );
  }
  switch (type) {
    case 'AVRO':
      // Loaded with the first schema that needs it.
      return compileAvro({ avro: (await import('avsc')).default, schema, references, source });
    case 'JSON':
      return compileJson({ schema, source });
    case 'PROTOBUF':
      return compileProtobuf({ ...(await parseProtoFiles(schema, references)), source });
    default:
      throw new UnusableSchemaError(`is of type ${type}; AVRO, JSON and PROTOBUF are supported`);
  }
}
