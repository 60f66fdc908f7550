/**
 * The child of the crash test: appends as fast as it can, from several callers, and prints each offset only after
 * its append has resolved. Arguments: directory. Ends when killed.
 */
import { writeSync } from 'node:fs';
import { LmdbLogs } from '../lmdb-logs.ts';

const CALLERS = 8;

const logs = await LmdbLogs.open(process.argv[2]!, { segmentRecords: 50 });
const log = await logs.log('events', 2);

async function append(caller: number): Promise<never> {
  for (let i = 0; ; i++) {
    const partition = i % 2;
    const value = `${caller}:${i}`;
    const records = [0, 1, 2].map((part) => ({
      partition,
      appendedMs: 1000 + i,
      stamp: null,
      value: Buffer.from(`${value}:${part}`),
      eventTimeMs: i,
    }));
    const offsets = await log.append(records);
    // One synchronous write per line: what the parent reads was acknowledged before the kill.
    writeSync(1, `${offsets.map((offset, part) => `${partition} ${offset} ${value}:${part}`).join('\n')}\n`);
  }
}

await Promise.all(Array.from({ length: CALLERS }, (_, caller) => append(caller)));
