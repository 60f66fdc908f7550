/** `millrace schemas`: the schemas of a feature repo's sources, and the registry that producers use. */
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { keyColumnsOf } from '../engine/definitions/decode-event.ts';
import { compileWriterSchema } from '../ingest/decoding/compile-writer-schema.ts';
import {
  openSchemaRegistry,
  RegistryRefusalError,
  RegistryUnavailableError,
  type SchemaRegistry,
  type SubjectVersion,
} from '../ingest/decoding/schema-registry.ts';
import { type SubjectFormat, subjectSchema } from '../ingest/decoding/subject-schemas.ts';
import { misfitMessage, UnusableSchemaError } from '../ingest/decoding/writer-schema.ts';
import { CliError } from './cli-error.ts';
import { loadFeatureRepo } from './load-features.ts';
import { registryOptions } from './registry-options.ts';
import type { SchemasAction } from './schemas-command.ts';
import type { Config } from './settings.ts';

export interface SchemasOptions {
  /** null: Avro; `check` takes that of the registered schema. */
  readonly format: SubjectFormat | null;
  /** null: every source. */
  readonly source: string | null;
  /** Subjects are named by the topic and this. */
  readonly subjectSuffix: string;
  /** For `check`: whether a subject that is not there is a failure. */
  readonly requireRegistered: boolean;
}

/** Resolves with the exit code. */
export async function schemasAction(
  action: SchemasAction,
  config: Config,
  options: SchemasOptions,
): Promise<number> {
  const sources = await sourcesOf(config, options.source);
  if (action === 'print') {
    for (const source of sources) {
      process.stdout.write(schemaOf(source, options.format ?? 'avro').schema);
    }
    return 0;
  }
  const registry = registryOptions(config);
  if (registry === null) throw new CliError('the schema registry is missing: --registry URL');
  const opened = await openSchemaRegistry(registry);
  try {
    return await EACH[action](opened, sources, options);
  } catch (error) {
    if (error instanceof RegistryUnavailableError) throw new CliError(error.message, { cause: error });
    throw error;
  } finally {
    opened.close();
  }
}

async function sourcesOf(config: Config, name: string | null): Promise<CompiledSource[]> {
  const { sources } = await loadFeatureRepo(config.features);
  if (name === null) return [...sources.values()];
  const source = sources.get(name);
  if (source === undefined) {
    throw new CliError(`there is no source ${name}; sources are ${[...sources.keys()].join(', ') || 'none'}`);
  }
  return [source];
}

const schemaOf = (source: CompiledSource, format: SubjectFormat) =>
  subjectSchema(source.definition, format, keyColumnsOf(source));

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

type Each = (
  registry: SchemaRegistry,
  sources: readonly CompiledSource[],
  options: SchemasOptions,
) => Promise<number>;

const register: Each = async (registry, sources, { format, subjectSuffix }) => {
  let exitCode = 0;
  for (const source of sources) {
    const subject = `${source.definition.topic}${subjectSuffix}`;
    const schema = schemaOf(source, format ?? 'avro');
    try {
      // Not every registry compares types: some keep the text as one of the type that was there, which nobody can read.
      const latest = await registry.latest(subject);
      if (latest !== null && latest.type !== schema.type) {
        throw new RegistryRefusalError(
          `it holds ${latest.type} schemas, not ${schema.type}: give another subject with --subject-suffix, or the ` +
            'format with --format',
        );
      }
      const { id, version } = await registry.register(subject, schema);
      say(`${subject}: id ${id}, version ${version}`);
    } catch (error) {
      // The others can still be registered.
      if (!(error instanceof RegistryRefusalError)) throw error;
      say(`${subject}: refused: ${error.message}`);
      exitCode = 1;
    }
  }
  return exitCode;
};

const check: Each = async (registry, sources, options) => {
  let exitCode = 0;
  for (const source of sources) {
    const subject = `${source.definition.topic}${options.subjectSuffix}`;
    const latest = await registry.latest(subject);
    if (latest === null) {
      say(`${subject}: not found, so nothing was compared`);
      if (options.requireRegistered) exitCode = 1;
      continue;
    }
    say(`${subject}: ${latest.type}, id ${latest.id}, version ${latest.version}`);
    const readable = await sayReadable(source, latest);
    const compatible = await sayCompatible(registry, source, { subject, latest, format: options.format });
    if (!readable || !compatible) exitCode = 1;
  }
  return exitCode;
};

const EACH = { register, check } as const;

/** Whether the source can read what is written by the schema. */
async function sayReadable(source: CompiledSource, latest: SubjectVersion): Promise<boolean> {
  try {
    const { misfits } = await compileWriterSchema(latest, source.definition);
    const refused = misfits.filter(({ always }) => always);
    if (misfits.length === 0) say('  readable: every column');
    for (const misfit of refused) say(`  not readable: ${misfitMessage(misfit)}`);
    for (const misfit of misfits) {
      if (!misfit.always) say(`  readable in part: ${misfitMessage(misfit)}`);
    }
    return refused.length === 0;
  } catch (error) {
    if (!(error instanceof UnusableSchemaError)) throw error;
    say(`  not readable: the schema ${error.message}`);
    return false;
  }
}

const FORMAT_OF_TYPE: ReadonlyMap<string, SubjectFormat> = new Map([
  ['AVRO', 'avro'],
  ['JSON', 'json'],
  ['PROTOBUF', 'protobuf'],
]);

/** Whether the source's own schema could be registered. */
async function sayCompatible(
  registry: SchemaRegistry,
  source: CompiledSource,
  { subject, latest, format }: { subject: string; latest: SubjectVersion; format: SubjectFormat | null },
): Promise<boolean> {
  const asked = format ?? FORMAT_OF_TYPE.get(latest.type);
  // A type we do not know was said to be unreadable.
  if (asked === undefined) return false;
  try {
    const compatible = await registry.isCompatible(subject, schemaOf(source, asked));
    say(
      compatible
        ? "  compatible: the source's schema can be registered"
        : `  not compatible: the registry would refuse the source's ${asked} schema`,
    );
    return compatible;
  } catch (error) {
    if (!(error instanceof RegistryRefusalError)) throw error;
    say(`  not compatible: ${error.message}`);
    return false;
  }
}
