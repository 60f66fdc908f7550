/**
 * The process that loses its power: pushes purchases and visits from several writers, compacts all the time, and says on
 * standard output what was acknowledged: a line `acknowledged SOURCE NUMBER…` each. Ends when killed.
 *
 * Arguments: data directory, number of the first event, seed, `flush` or `no-flush`.
 */
import { writeSync } from 'node:fs';
import { setImmediate as immediate } from 'node:timers/promises';
import { openEmbedded } from '../../embedded/runtime.ts';
import { ManualClock } from '../../engine/clock.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { eventOf, NOW_MS, repo, SOURCES } from './purchases.ts';

const WRITERS = 4;
/** Pushes that a writer sends again now and then, as a client does that got no answer. */
const REPEATS = 0.05;

const [dataDir, firstNumber, seed, flush] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));
let nextNumber = Number(firstNumber);

writeSync(1, 'opening\n');
const engine = await openEmbedded({
  repo,
  dataDir: dataDir!,
  flush: flush === 'flush',
  wallClock: new ManualClock(NOW_MS),
  processMetrics: false,
  // Small: trees grow deep and states are folded all the time.
  shape: { leafBytesMax: 256, tailRowsMax: 8 },
  pacing: { foldAfterMs: 20 },
  // Chunks as small as a slow consumer's, so that watermarks move often.
  consumer: { chunkRecords: 50 },
});
writeSync(1, 'open\n');

async function write(): Promise<never> {
  for (;;) {
    const source = random.pick(SOURCES);
    const size = random.chance(0.05) ? random.between(50, 150) : random.between(1, 12);
    const numbers = Array.from({ length: size }, () => nextNumber++);
    const push = async (): Promise<void> => {
      const events = numbers.map((number) => eventOf(source, number));
      await engine.push.push(source, events, { wait: random.chance(0.6) ? 'applied' : 'durable' });
    };
    await push();
    // One synchronous write: whoever reads it, or finds it in the recording, was answered.
    writeSync(1, `acknowledged ${source} ${numbers.join(' ')}\n`);
    if (source === 'purchases' && random.chance(REPEATS)) await push();
  }
}

async function compact(): Promise<never> {
  for (;;) {
    await engine.compact();
    await immediate();
  }
}

await Promise.all([compact(), ...Array.from({ length: WRITERS }, write)]);
