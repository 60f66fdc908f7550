/** `npm run bench -- [--seconds N] [--events N] [--seed N] [--out FILE]`; see README.md. */
import { writeFile } from 'node:fs/promises';
import { register } from 'node:module';
import { parseArgs } from 'node:util';
import { compileRepo } from '../engine/definitions/compile.ts';
import { formatReport } from './report.ts';
import { runBench } from './run-bench.ts';

const HELP = `npm run bench -- [options]

Reads and writes of the service card_fraud per second, and their latencies, as ratios to bare fastify and bare
lmdb in the same run.

  --seconds N  measuring time of each side of each figure (default 5)
  --events N   events of the history that is loaded before (default 200000)
  --seed N     seed of the events (default 1)
  --out FILE   also write the report as JSON
  --help       this text`;

function fail(message: string): never {
  console.error(`${message}\n\n${HELP}`);
  process.exit(2);
}

function parse(): { seconds: number; events: number; seed: number; out: string | undefined } {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: 'string', default: '5' },
        events: { type: 'string', default: '200000' },
        seed: { type: 'string', default: '1' },
        out: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    const [seconds, events, seed] = [Number(values.seconds), Number(values.events), Number(values.seed)];
    if (!(seconds > 0 && seconds <= 3600)) fail('--seconds must be a number above 0, at most 3600');
    if (!(Number.isInteger(events) && events >= 1)) fail('--events must be an integer of at least 1');
    if (!Number.isInteger(seed)) fail('--seed must be an integer');
    return { seconds, events, seed, out: values.out };
  } catch (error) {
    return fail((error as Error).message);
  }
}

const { seconds, events, seed, out } = parse();
// The features import the package by its name: that is to be these very modules, built or not.
const ownIndex = JSON.stringify(new URL('../index.ts', import.meta.url).href);
const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier === 'millrace' ? ${ownIndex} : specifier, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
const repo = compileRepo(Object.values(await import('../examples/card-fraud/features.ts')));
const report = await runBench({ repo, seconds, events, seed, onProgress: (text) => console.error(text) });
console.log(formatReport(report));
if (out !== undefined) await writeFile(out, `${JSON.stringify(report, null, 2)}\n`);
