/** The command line. `bin/millrace.js` calls `main`; every failure ends here, as a message and an exit code. */
import { Command, Option } from 'commander';
import { DEADLINE_MAX_MS } from '../engine/definitions/feature-service.ts';
import { DEFAULT_GRACE_MS } from '../roles/view-binding.ts';
import { CliError } from './cli-error.ts';
import { loadConfig } from './config.ts';
import { addDlqCommand } from './dead-letters/dlq-command.ts';
import { addGapsCommand } from './gaps/gaps-command.ts';
import { addLoadCommand } from './load/load-command.ts';
import { addBackfillCommand } from './offline/backfill-command.ts';
import { addSkewCommand } from './offline/skew-command.ts';
import { addTrainingSetCommand } from './offline/training-set-command.ts';
import { packageVersion } from './package-root.ts';
import {
  collectName,
  collectPair,
  collectRate,
  DEFAULT_RATES,
  parseGraceMs,
  parseSpeed,
  parseTimeMs,
  wholeNumber,
} from './parse-options.ts';
import { addSchemasCommand } from './schemas-command.ts';
import { CONFIG_FILE_ENV, type Command as CommandName, type Config, SETTINGS } from './settings.ts';

type Flags = Readonly<Record<string, string | boolean | undefined>>;

/** What many commands have, in their help below the options of their own. */
const SETTINGS_HEADING = 'Settings (also as variables, env, or as keys of the --config file):';

/** Adds the flags of the command's settings. Values are checked by `loadConfig`, all at once. */
function withSettings(command: Command, name: CommandName): Command {
  const add = (option: Option): Command => command.addOption(option.helpGroup(SETTINGS_HEADING));
  add(new Option('--config <file>', `JSON file with settings (env: ${CONFIG_FILE_ENV})`));
  for (const setting of SETTINGS) {
    if (!setting.commands.includes(name)) continue;
    const notes = `(default: ${setting.defaultText.replaceAll('`', '')}, env: ${setting.env})`;
    // Commander turns --data-dir into dataDir: the key.
    add(new Option(setting.flag, `${setting.description.replaceAll('`', '')} ${notes}`));
    if (setting.negatable) add(new Option(setting.flag.replace('--', '--no-'), `switch that off`));
  }
  return command;
}

/** Flags of settings only; a command's own options are not configuration. */
function configOf(options: Record<string, unknown>): Config {
  const flags: Record<string, string | boolean | undefined> = {};
  for (const key of ['config', ...SETTINGS.map((setting) => setting.key)]) {
    flags[key] = options[key] as Flags[string];
  }
  return loadConfig({ flags, env: process.env, cwd: process.cwd() });
}

/** Given any number of times. */
const pairs = (flag: string, description: string): Option =>
  new Option(flag, description).argParser(collectPair).default(new Map(), 'none');

export function buildProgram(): Command {
  const program = new Command('millrace')
    .description('A real-time feature engine: events in, exact sliding-window features out.')
    .version(packageVersion(), '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .configureHelp({
      groupItems(_, visible, headingOf) {
        const groups = new Map<string, typeof visible>();
        for (const item of visible) {
          const heading = headingOf(item);
          groups.set(heading, [...(groups.get(heading) ?? []), item]);
        }
        const settings = groups.get(SETTINGS_HEADING);
        if (settings !== undefined && groups.delete(SETTINGS_HEADING)) groups.set(SETTINGS_HEADING, settings);
        return groups;
      },
    })
    .showHelpAfterError('(--help shows what there is)');

  withSettings(program.command('up'), 'up')
    .description(
      'run everything in one process: HTTP, ingest, compaction; with an embedded log and store, or over Kafka and Redis',
    )
    .action(async (options) => {
      const config = configOf(options);
      const { up } = await import('./up.ts');
      process.exitCode = await up(config);
    });

  const roles = {
    ingest: 'apply the topics to the store: a member of the consumer group of each source',
    serve: 'serve features and take pushed events over HTTP',
    compact: 'fold, coarsen and expire what is in the store',
  } as const;
  for (const [role, description] of Object.entries(roles) as [keyof typeof roles, string][]) {
    withSettings(program.command(role), role)
      .description(`${description}; any number of processes (needs --kafka and --redis)`)
      .action(async (options) => {
        const config = configOf(options);
        const { runRoles } = await import('./run-roles.ts');
        process.exitCode = await runRoles(config, [role]);
      });
  }

  withSettings(program.command('rebuild'), 'rebuild')
    .description(
      "make a view's state anew from the log, beside the one that is served until then; again: go on with it. Over --kafka and --redis in this process, else in the engine at --url",
    )
    .requiredOption('--view <name>', 'the view')
    .option('--abort', 'give up the rebuild that is under way', false)
    .option('--accept-gap', 'rebuild although the log has lost events that the view can reach', false)
    .addOption(
      new Option(
        '--grace <duration>',
        'how long the former state is kept up to date after the switch, over Kafka and Redis',
      )
        .argParser(parseGraceMs)
        .default(DEFAULT_GRACE_MS, '10m'),
    )
    .action(async (options) => {
      const config = configOf(options);
      const { rebuild } = await import('./rebuild.ts');
      process.exitCode = await rebuild(config, {
        view: options.view,
        abort: options.abort,
        acceptGap: options.acceptGap,
        graceMs: options.grace,
      });
    });

  withSettings(program.command('replay').argument('<file>', 'CSV or NDJSON, also gzip'), 'replay')
    .description('push the events of a file to a running server')
    .requiredOption('--source <name>', 'the source the events belong to')
    .addOption(
      new Option('--format <format>', 'of the file; by default as its name says').choices(['csv', 'ndjson']),
    )
    .addOption(
      new Option('--speed <speed>', 'max, or how many times as fast as real time by event time')
        .argParser(parseSpeed)
        .default(Number.POSITIVE_INFINITY, 'max'),
    )
    .option('--batch <n>', 'events per request', wholeNumber(10_000), 500)
    .option('--in-flight <n>', 'requests at a time; 1 keeps the order of the file', wholeNumber(64), 4)
    .option('--event-time-from <time>', 'leave out events before this event time', parseTimeMs)
    .option('--event-time-to <time>', 'leave out events at or after this event time', parseTimeMs)
    .option('--allow-rejected', 'exit with 0 even if rows were rejected', false)
    .action(async (file: string, options) => {
      const config = configOf(options);
      const { replay } = await import('./replay/replay.ts');
      process.exitCode = await replay(config, {
        file,
        source: options.source,
        ...(options.format === undefined ? {} : { format: options.format }),
        speed: options.speed,
        batch: options.batch,
        inFlight: options.inFlight,
        eventTimeFromMs: options.eventTimeFrom ?? Number.NEGATIVE_INFINITY,
        eventTimeToMs: options.eventTimeTo ?? Number.POSITIVE_INFINITY,
        allowRejected: options.allowRejected,
      });
    });

  withSettings(program.command('get').argument('<service>', 'name of a feature service'), 'get')
    .description('read the features of a service from a running server')
    .addOption(pairs('--entity <name=key>', 'key of an entity; once for each'))
    .addOption(pairs('--request <name=value>', 'request data; once for each'))
    .option('--at <time>', 'as-of time, ISO 8601 or ms; now by default', parseTimeMs)
    .addOption(
      new Option('--feature <name>', 'one of those wanted, once for each; all by default')
        .argParser(collectName)
        .default([], 'all'),
    )
    .addOption(
      new Option('--mode <mode>', 'all features by the deadline, or those that can be had by then')
        .choices(['strict', 'partial'])
        .default('strict'),
    )
    .option(
      '--deadline-ms <n>',
      'time for the answer, 1 to 60000; what the service says by default',
      wholeNumber(DEADLINE_MAX_MS),
    )
    .option('--json', 'print the reply as it is', false)
    .action(async (service: string, options) => {
      const config = configOf(options);
      const { get } = await import('./get.ts');
      await get(config, {
        service,
        entities: options.entity,
        request: options.request,
        atMs: options.at ?? null,
        features: options.feature,
        mode: options.mode,
        deadlineMs: options.deadlineMs ?? null,
        json: options.json,
      });
    });

  withSettings(program.command('validate'), 'validate')
    .description('check a feature repo and print what it defines, and what its state will take')
    .addOption(
      new Option('--rate <n>', 'events per key and day that state sizes are estimated for; once for each')
        .argParser(collectRate)
        .default([], DEFAULT_RATES.join(', ')),
    )
    .action(async (options) => {
      const config = configOf(options);
      const { validate } = await import('./validate.ts');
      await validate(config, options.rate.length === 0 ? DEFAULT_RATES : options.rate);
    });

  addLoadCommand(program, (command) => withSettings(command, 'load'), configOf);
  addDlqCommand(program, (command) => withSettings(command, 'dlq'), configOf);
  addGapsCommand(program, (command) => withSettings(command, 'gaps'), configOf);
  addSchemasCommand(program, (command) => withSettings(command, 'schemas'), configOf);
  addBackfillCommand(program, (command) => withSettings(command, 'backfill'), configOf);
  addTrainingSetCommand(program, (command) => withSettings(command, 'training-set'), configOf);
  addSkewCommand(program, (command) => withSettings(command, 'skew'), configOf);
  return program;
}

/** What was left behind, such as a connection to a server that does not answer, does not keep the process. */
const LINGER_MS = 250;

/** Runs the command line; never rejects. Soon afterwards the process ends. */
export async function main(argv: readonly string[]): Promise<void> {
  // `millrace … | head` closes our output: nothing to report.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    await buildProgram().parseAsync(argv);
  } catch (error) {
    if (error instanceof CliError) {
      process.stderr.write(`millrace: ${error.message}\n`);
      process.exitCode = error.exitCode;
    } else {
      process.stderr.write(`millrace: unexpected failure\n${(error as Error)?.stack ?? String(error)}\n`);
      process.exitCode = 70;
    }
  }
  setTimeout(() => process.exit(), LINGER_MS).unref();
}
