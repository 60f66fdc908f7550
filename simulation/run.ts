/**
 * Runs the simulator from the command line: `npm run sim -- --seeds 10000 [--from N] [--mutation NAME]`, or one
 * seed with `--seed N` to replay a failure.
 */
import { parseArgs } from 'node:util';
import { MUTATIONS, type Mutation } from './faulty-store.ts';
import { simulate } from './world.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mutation: { type: 'string' },
    help: { type: 'boolean' },
  },
});

if (values.help) {
  console.log('npm run sim -- [--seeds N] [--from N] [--seed N] [--mutation NAME]\n\nMutations:');
  for (const [name, meaning] of Object.entries(MUTATIONS)) console.log(`  ${name.padEnd(22)}${meaning}`);
  process.exit(0);
}
const { mutation } = values;
if (mutation !== undefined && !Object.hasOwn(MUTATIONS, mutation)) {
  console.error(`unknown mutation; one of ${Object.keys(MUTATIONS).join(', ')}`);
  process.exit(2);
}
const first = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const faults = new Map<string, number>();
let comparisons = 0;
let events = 0;
let failures = 0;
for (let seed = first; seed < first + count; seed++) {
  const options = mutation === undefined ? { seed } : { seed, mutation: mutation as Mutation };
  const result = await simulate(options);
  const again = await simulate(options);
  comparisons += result.comparisons;
  events += result.events;
  for (const [fault, times] of result.faults) faults.set(fault, (faults.get(fault) ?? 0) + times);
  if (result.failure !== null) {
    failures++;
    if (failures <= 5)
      console.log(`seed ${seed}: ${result.failure}\n  replay: npm run sim -- --seed ${seed}`);
  }
  if (result.stateHash !== again.stateHash || result.failure !== again.failure) {
    failures++;
    console.log(`seed ${seed}: not deterministic`);
  }
}
console.log(`${count} seeds, ${events} events, ${comparisons} comparisons, ${failures} failures`);
for (const [fault, times] of [...faults].sort()) console.log(`  ${String(times).padStart(8)}  ${fault}`);
process.exitCode = failures === 0 ? 0 : 1;
