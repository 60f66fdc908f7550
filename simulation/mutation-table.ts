/**
 * `npm run mutations`: plants one mistake after the other and prints, as a table in Markdown, what was the first to notice
 * it: a seed of the simulation or, with `--real`, a test over the real stores. Ends with 1 when one was not noticed.
 */
import { integerOption, listOption, runDevCommand } from '../scripts/dev-command.ts';
import { partOf } from './disabled-parts.ts';
import { huntMutation } from './mutation-hunt.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import { PlantedCheckout } from './planted-checkout.ts';
import { SOURCE_MUTATIONS } from './source-mutations.ts';

const HELP = `npm run mutations -- [options]

Plants each mistake in turn, runs seeds of the simulation until one notices it, and prints a table in Markdown. The exit
code is 1 when one was not noticed.

  --only LIST    some of ${Object.keys(MUTATIONS).join(', ')}
  --from S       the first seed (default 1)
  --seeds N      how many are tried (default 1000)
  --real         instead, in the sources of a copy of the checkout: the tests over Redis, lmdb and Kafka must fail. Some
                 minutes; --only then takes some of
                 ${Object.keys(SOURCE_MUTATIONS).join(', ')}
  --help         this text`;

/** A row of a table; null: nobody noticed. */
type Noticed = { readonly by: string; readonly said: string } | null;

function row(cells: readonly string[]): string {
  return `| ${cells.map((text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}

/** @returns how many were noticed */
async function table(
  mutations: readonly { readonly name: string; readonly disables: string; readonly mistake: string }[],
  hunt: (name: string) => Promise<Noticed>,
): Promise<number> {
  console.log(row(['mutation', 'it disables', 'the mistake', 'noticed by', 'after', 'what it said']));
  console.log(row(Array(6).fill('---')));
  let noticed = 0;
  for (const { name, disables, mistake } of mutations) {
    if (process.stderr.isTTY) process.stderr.write(`${name} …\r`);
    const startedMs = performance.now();
    const found = await hunt(name);
    const time = `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
    if (found !== null) noticed++;
    console.log(row([`\`${name}\``, disables, mistake, found?.by ?? '**nobody**', time, found?.said ?? '']));
  }
  return noticed;
}

function inSimulation(names: readonly string[], from: number, seedsMax: number): Promise<number> {
  const mutations = (names as readonly Mutation[]).map((name) => {
    return { name, disables: partOf(name) ?? '', mistake: MUTATIONS[name] };
  });
  return table(mutations, async (name) => {
    const caught = await huntMutation({ mutation: name as Mutation, from, seedsMax });
    if (caught === null) return null;
    return { by: `seed ${caught.seed}, number ${caught.seed - from + 1}`, said: caught.failure };
  });
}

async function inSources(names: readonly string[]): Promise<number> {
  const checkout = new PlantedCheckout();
  try {
    // Tests that fail without a mistake as well would notice anything.
    const files = new Set(names.flatMap((name) => SOURCE_MUTATIONS[name]!.tests));
    for (const file of files) {
      const { failed } = await checkout.test([file]);
      if (failed !== null)
        throw new Error(`${file} fails without a mistake: ${failed.title}: ${failed.message}`);
    }
    const mutations = names.map((name) => ({ name, ...SOURCE_MUTATIONS[name]! }));
    return await table(mutations, async (name) => {
      const { failed } = await checkout.with(name, () => checkout.test(SOURCE_MUTATIONS[name]!.tests));
      return failed === null ? null : { by: failed.title, said: failed.message };
    });
  } finally {
    checkout.remove();
  }
}

await runDevCommand({
  name: 'npm run mutations',
  help: HELP,
  options: {
    only: { type: 'string' },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1000' },
    real: { type: 'boolean', default: false },
  },
  run: async (values) => {
    const names = listOption('only', values.only, Object.keys(values.real ? SOURCE_MUTATIONS : MUTATIONS));
    const from = integerOption('from', values.from, { min: 0 });
    const seedsMax = integerOption('seeds', values.seeds, { min: 1 });
    const noticed = await (values.real ? inSources(names) : inSimulation(names, from, seedsMax));
    console.log(`\n${noticed} of ${names.length} noticed.`);
    if (!values.real) {
      console.log('One again, with all that is known of it: `npm run sim -- --seed N --mutation NAME`.');
    }
    return noticed === names.length;
  },
});
