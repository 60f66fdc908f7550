/** A Protobuf schema as a serialized descriptor, which some serializers register instead of text. */
import { fromBinary, isFieldSet } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  FeatureSet_FieldPresence,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import type { ProtoEnum, ProtoField, ProtoFile, ProtoMessage } from './proto-file.ts';

/**
 * @param base64 of a `FileDescriptorProto`
 * @throws where it is none
 */
export function parseProtoDescriptor(base64: string): ProtoFile {
  const file = fromBinary(FileDescriptorProtoSchema, Buffer.from(base64, 'base64'));
  const enums: ProtoEnum[] = file.enumType.map((type) => enumOf(type, file.package));
  return { messages: file.messageType.map((type) => messageOf(type, file.package, file, enums)), enums };
}

const join = (scope: string, name: string): string => (scope === '' ? name : `${scope}.${name}`);

function enumOf(type: EnumDescriptorProto, scope: string): ProtoEnum {
  const names = new Map<number, string>();
  for (const { name, number } of type.value) {
    if (!names.has(number)) names.set(number, name);
  }
  return { fullName: join(scope, type.name), names };
}

function messageOf(
  type: DescriptorProto,
  scope: string,
  file: FileDescriptorProto,
  enums: ProtoEnum[],
): ProtoMessage {
  const fullName = join(scope, type.name);
  enums.push(...type.enumType.map((nested) => enumOf(nested, fullName)));
  const mapEntries = new Set<string>();
  const nested: ProtoMessage[] = [];
  for (const inner of type.nestedType) {
    if (inner.options?.mapEntry) mapEntries.add(join(fullName, inner.name));
    else nested.push(messageOf(inner, fullName, file, enums));
  }
  return { fullName, fields: type.field.map((field) => fieldOf(field, file, mapEntries)), nested };
}

function fieldOf(
  field: FieldDescriptorProto,
  file: FileDescriptorProto,
  mapEntries: ReadonlySet<string>,
): ProtoField {
  const repeated = field.label === FieldDescriptorProto_Label.REPEATED;
  const presence = !repeated && hasPresence(field, file);
  const typeName = field.typeName.replace(/^\./, '');
  const { name, number } = field;
  if (mapEntries.has(typeName)) return { name, number, repeated, presence, type: 'map', kind: 'map' };
  switch (field.type) {
    case FieldDescriptorProto_Type.GROUP:
      return { name, number, repeated, presence, type: 'group', kind: 'group' };
    case FieldDescriptorProto_Type.MESSAGE:
    case FieldDescriptorProto_Type.ENUM:
      return { name, number, repeated, presence, type: typeName, kind: 'named' };
    default: {
      // The names of the numbers are those of the types, in capitals.
      const type = FieldDescriptorProto_Type[field.type].toLowerCase();
      return { name, number, repeated, presence, type, kind: 'scalar' };
    }
  }
}

function hasPresence(field: FieldDescriptorProto, file: FileDescriptorProto): boolean {
  // An `optional` of proto3 is in a oneof of its own.
  if (isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex)) return true;
  if (file.syntax === 'proto3') return false;
  if (file.syntax !== 'editions') return true;
  const presence = field.options?.features?.fieldPresence || file.options?.features?.fieldPresence;
  return presence !== FeatureSet_FieldPresence.IMPLICIT;
}
