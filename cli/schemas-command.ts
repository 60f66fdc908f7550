/** `millrace schemas`: its actions and options. `schemas.ts` does the work. */
import { type Command, Option } from 'commander';
import { SUBJECT_FORMATS } from '../ingest/decoding/subject-schemas.ts';
import { CliError } from './cli-error.ts';
import type { Config } from './settings.ts';

const ACTIONS = {
  print: 'print the schema of each source',
  register: 'register the schema of each source under its subject, unless it is registered already',
  check: 'compare each source with what producers have registered: exit code 1 where records cannot be read',
} as const;

export type SchemasAction = keyof typeof ACTIONS;

/** Adds `schemas` and its actions. `configOf` turns the options of settings into a configuration. */
export function addSchemasCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  const schemas = program
    .command('schemas')
    .description("the sources' schemas as Avro, JSON Schema or Protobuf, and the schema registry");
  for (const [action, description] of Object.entries(ACTIONS) as [keyof typeof ACTIONS, string][]) {
    const command = schemas
      .command(action)
      .argument('[features]', 'the feature repo, in place of --features');
    if (action === 'check') {
      command.option('--require-registered', 'exit code 1 also where a subject is not registered', false);
    }
    withSettings(command)
      .description(description)
      .addOption(
        new Option(
          '--format <format>',
          'of the schemas (default: avro; check: that of the registered one)',
        ).choices(SUBJECT_FORMATS),
      )
      .option('--source <name>', 'this source only')
      .option('--subject-suffix <text>', 'subjects are named by the topic and this', '-value')
      .action(async (features: string | undefined, options) => {
        if (features !== undefined && options.features !== undefined) {
          throw new CliError('the feature repo is given twice: as an argument and by --features');
        }
        const config = configOf(features === undefined ? options : { ...options, features });
        const { schemasAction } = await import('./schemas.ts');
        process.exitCode = await schemasAction(action, config, {
          format: options.format ?? null,
          source: options.source ?? null,
          subjectSuffix: options.subjectSuffix,
          requireRegistered: options.requireRegistered ?? false,
        });
      });
  }
}
