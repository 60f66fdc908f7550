/** `npm run loadtest -- SCENARIO [options]`; see README.md. */
import { register } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildCheckout } from '../bench/roles/build.ts';
import { runInScope } from '../bench/roles/scope.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { runDevCommand, UsageError } from '../scripts/dev-command.ts';
import { haveServices } from '../services/index.ts';
import { ensureK6, type K6 } from '../services/k6/k6.ts';
import { argumentsOf, HELP, OPTIONS, scenarioFirst } from './arguments.ts';
import { formatLoadReport, isMet } from './load-report.ts';
import { runLoadTest } from './run-loadtest.ts';
import { type ScenarioName, scenarioOf } from './scenarios.ts';
import { WORKLOADS } from './workload.ts';

async function repoOf(name: ScenarioName): Promise<CompiledRepo> {
  // The features import the package by its name: that is to be these very modules, built or not.
  const ownIndex = JSON.stringify(new URL('../index.ts', import.meta.url).href);
  const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier === 'millrace' ? ${ownIndex} : specifier, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
  const { features } = WORKLOADS[scenarioOf(name).workload];
  return compileRepo(Object.values(await import(pathToFileURL(join(features, 'features.ts')).href)));
}

const onProgress = (text: string): void => console.error(text);

async function k6For(directory: string): Promise<K6> {
  try {
    return await ensureK6({ report: onProgress, mounted: directory });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

const { name, rest } = scenarioFirst(process.argv.slice(2));

await runDevCommand(
  {
    name: 'npm run loadtest',
    help: HELP,
    options: OPTIONS,
    run: async (values) => {
      const args = argumentsOf(name, values);
      if (args.mode === 'roles') {
        const { kafka, redis } = haveServices();
        const missing = Object.entries({ kafka, redis }).filter(([, found]) => found !== true);
        if (missing.length > 0) {
          const why = missing.map(([service, problem]) => `${service}: ${problem}`).join('; ');
          throw new UsageError(`${why}; or --engine embedded`);
        }
      }
      const k6 = await k6For(args.directory);
      onProgress(`k6: ${k6.origin}`);
      buildCheckout({ always: false });
      const repo = args.bare ? await repoOf(args.name) : null;
      const report = await runInScope((scope) => runLoadTest({ ...args, k6, repo, onProgress }, scope));
      console.log(formatLoadReport(report));
      console.log(`\n${join(args.directory, 'report.html')}`);
      return isMet(report);
    },
  },
  rest,
);
