// The process that is killed: appends events and archives them, both without a pause. Arguments: log directory, archive
// directory. It prints `loaded`, waits for a line, prints `opened` and works until it is killed; what fails it prints. The
// line is `OPERATION NUMBER`: it kills itself before the file operation that is so many of its kind. Or it is empty.
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Archive } from '../../dist/archive/archive.js';
import { ARCHIVE_FILES } from '../../dist/archive/archive-files.js';
import { PartitionArchiver } from '../../dist/archive/partition-archiver.js';
import { WallClock } from '../../dist/engine/clock.js';
import { jsonRecordDecoder } from '../../dist/ingest/decoding/json-record.js';
import { LmdbLogs } from '../../dist/ingest/log/lmdb-logs.js';
import { eventOf, PARTITIONS, tapsSource } from './archived-source.mjs';

const [logDirectory, directory] = process.argv.slice(2);
const say = (line) => writeSync(1, `${line}\n`);

async function appendForEver(log, partition) {
  for (let n = 0; ; n++) {
    const events = Array.from({ length: 1 + (n % 7) }, (_, i) => eventOf(7 * n + i));
    await log.append(
      events.map((event) => ({
        partition,
        appendedMs: Date.now(),
        stamp: null,
        // Some that cannot be used.
        value: Buffer.from(n % 11 === 0 ? 'no JSON' : JSON.stringify(event)),
        eventTimeMs: event.at,
      })),
    );
  }
}

function killedBefore(operation, number) {
  let left = number;
  const of =
    (name, run) =>
    async (...args) => {
      // The signal comes before anything else is done.
      if (name === operation && --left === 0) process.kill(process.pid, 'SIGKILL');
      return run(...args);
    };
  return Object.fromEntries(Object.entries(ARCHIVE_FILES).map(([name, run]) => [name, of(name, run)]));
}

async function work(operation, number) {
  const logs = await LmdbLogs.open(logDirectory);
  const log = await logs.log('taps', PARTITIONS);
  const archive = new Archive(
    { directory, everyMs: 20 },
    { files: killedBefore(operation, Number(number)), limits: { rows: 200, commits: 5 } },
  );
  say('opened');
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const archiver = new PartitionArchiver({
      archive,
      source: tapsSource,
      partition,
      log,
      decoder: jsonRecordDecoder(),
      wallClock: new WallClock(),
      pauseMs: 1,
      observer: {
        positioned: () => {},
        committed: () => say('committed'),
        gap: () => say('error: a gap'),
        failed: (error) => say(`error: ${error.stack}`),
        recovered: () => {},
      },
    });
    void archiver.run(new AbortController().signal);
    void appendForEver(log, partition);
  }
}

createInterface({ input: process.stdin }).once('line', (line) => void work(...line.split(' ')));
say('loaded');
