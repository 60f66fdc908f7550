// The process that is killed. It loads, waits for a line with what to do, opens the engine, pushes from several callers
// and compacts beside, until it is killed or told to close. Every line it prints is one synchronous write: what the
// parent reads had happened before the kill.
//
//     loaded · opening · refused MESSAGE · opened NANOSECONDS · ready LAG · s ROUND NUMBER (about to push)
//     a ROUND NUMBER (acknowledged) · c (compacting) · d (done) · closing · closed · error STACK
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openEmbedded } from '../../dist/embedded/runtime.js';
import { DirectoryLockedError } from '../../dist/engine/store/directory-lock.js';
import { killRepo, PACING, pushOf, SHAPE } from './kill-repo.mjs';

const CALLERS = 4;
const WRITE_THREAD = new URL('./write-thread.mjs', import.meta.url);

const say = (line) => writeSync(1, `${line}\n`);

let engine = null;
let closing = false;

async function push(name) {
  const { source, events } = pushOf(name);
  say(`s ${name.round} ${name.number}`);
  const { rejected } = await engine.push.push(source, events);
  if (rejected.length > 0) throw new Error(`rejected: ${JSON.stringify(rejected)}`);
  say(`a ${name.round} ${name.number}`);
}

async function work({ dataDir, round, startMs, again }) {
  say('opening');
  try {
    engine = await openEmbedded({
      repo: killRepo,
      dataDir,
      shape: SHAPE,
      pacing: PACING,
      consumer: { chunkRecords: 50 },
      // Every other one writes its tiles in a thread of its own.
      ...(round % 2 === 0 ? { writeThread: { url: WRITE_THREAD, data: null } } : {}),
    });
  } catch (error) {
    if (!(error instanceof DirectoryLockedError)) throw error;
    say(`refused ${error.message}`);
    return;
  }
  say(`opened ${process.hrtime.bigint()}`);
  await engine.ready();
  say(`ready ${Math.max(...engine.readiness().lag.map(({ records }) => records))}`);
  let next = 0;
  const caller = async () => {
    while (!closing) {
      const repeated = again.shift();
      await push(repeated ?? { round, number: next++, startMs });
    }
  };
  const compaction = async () => {
    while (!closing) {
      say('c');
      await engine.compact();
      say('d');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await Promise.all([...Array.from({ length: CALLERS }, caller), compaction()]);
}

async function close() {
  closing = true;
  say('closing');
  await engine.close();
  say('closed');
  process.exit(0);
}

process.on('unhandledRejection', (error) => {
  // What was on its way when closing began is refused, and was not acknowledged.
  if (closing && error?.code === 'shutting_down') return;
  say(`error ${JSON.stringify(error?.stack ?? String(error))}`);
  process.exit(1);
});

createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'close') void close();
  else void work(JSON.parse(line));
});
say('loaded');
