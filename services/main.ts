/** The command behind `npm run services` and `npm run services:stop`. */
import { isAbsolute, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { installPackages } from './commands/install-packages.ts';
import { prepareK6 } from './commands/prepare-k6.ts';
import { startServices } from './commands/start-services.ts';
import { stopServices } from './commands/stop-services.ts';
import { ensureInstalled } from './libraries/install.ts';
import { DEFAULT_SERVICES_DIR } from './libraries/library.ts';
import { ensurePromtool } from './prometheus/promtool.ts';
import { SERVICE_NAMES, type ServiceName } from './testing/have-services.ts';

const HELP = `Kafka, Redis and a schema registry on free ports of this machine, without Docker.

  npm run services -- [options]        start what does not run yet, print addresses and flags
  npm run services:stop -- [options]   end what was started, and nothing else
  node services/run.mjs prepare        only fetch what is missing; without --only also k6, which Go builds in some minutes

Options
  --only <list>   some of redis,kafka,registry, separated by commas (default: all)
  --dir <path>    data, logs and services.json (default: .services in the checkout)
  --fresh         start: wipe the data first; servers that run are ended for that
  --install       start, prepare: install missing Debian packages with apt-get, as root or through sudo
  --help          print this
`;

/** A message for the user instead of a stack. */
class UsageError extends Error {}

interface Arguments {
  readonly command: 'start' | 'stop' | 'prepare';
  readonly only: readonly ServiceName[];
  /** Nothing was chosen: also what load tests need. */
  readonly k6: boolean;
  /** Absolute. */
  readonly dir: string;
  readonly fresh: boolean;
  readonly install: boolean;
}

/** Returns the exit code: 0, 1 where something failed, 2 where the arguments make no sense. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const args = parse(argv);
    if (args === null) {
      process.stdout.write(HELP);
      return 0;
    }
    const report = (line: string): void => void process.stdout.write(`${line}\n`);
    if (args.command === 'stop') {
      await stopServices({ ...args, report });
      return 0;
    }
    await installPackages({ ...args, report });
    if (args.command === 'start') {
      await startServices({ ...args, report });
    } else {
      for (const name of args.only) if (name !== 'redis') await ensureInstalled(name, report);
      if (args.k6) await prepareK6({ ...args, report });
      if (args.only.length === SERVICE_NAMES.length) await preparePromtool(report);
    }
    return 0;
  } catch (error) {
    process.stderr.write(`services: ${(error as Error).message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** For the test of the alert rules, which is skipped where it cannot be had. */
async function preparePromtool(report: (line: string) => void): Promise<void> {
  const found = await ensurePromtool();
  if ('problem' in found) report(`promtool: the test of the alert rules will be skipped: ${found.problem}`);
}

/** Null: help is asked for. */
function parse(argv: readonly string[]): Arguments | null {
  const { values, positionals } = parsed(argv);
  if (values.help) return null;
  const [command = 'start', ...rest] = positionals;
  if ((command !== 'start' && command !== 'stop' && command !== 'prepare') || rest.length > 0) {
    throw new UsageError(`unknown command ${positionals.join(' ')} (--help shows what there is)`);
  }
  const names = values.only?.split(',').map((name) => name.trim());
  const unknown = names?.find((name) => !SERVICE_NAMES.includes(name as ServiceName));
  if (unknown !== undefined) {
    throw new UsageError(`--only takes ${SERVICE_NAMES.join(', ')}; it is "${unknown}"`);
  }
  // npm runs scripts in the checkout; a relative path is meant from where npm was called.
  const base = process.env.INIT_CWD ?? process.cwd();
  const { dir = DEFAULT_SERVICES_DIR } = values;
  return {
    command,
    only: SERVICE_NAMES.filter((name) => names?.includes(name) ?? true),
    k6: names === undefined,
    dir: isAbsolute(dir) ? dir : resolve(base, dir),
    fresh: values.fresh ?? false,
    install: values.install ?? false,
  };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        only: { type: 'string' },
        dir: { type: 'string' },
        fresh: { type: 'boolean' },
        install: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
