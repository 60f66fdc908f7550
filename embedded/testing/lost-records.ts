/** Records that an embedded log loses before they are applied. */
import type { ManualClock } from '../../engine/clock.ts';
import type { MemoryEventLog } from '../../ingest/log/memory-event-log.ts';
import type { Storage } from '../storage.ts';
import { payment } from './test-repo.ts';

/**
 * To a log of payments with two records, three are appended, at the clock's time and while no engine runs; the first two of
 * them are gone.
 */
export async function losePayments(storage: Storage, clock: ManualClock): Promise<void> {
  const log = (await storage.log('payments', 1)) as MemoryEventLog;
  const value = () => Buffer.from(JSON.stringify(payment({ at: clock.nowMs() })));
  for (let i = 0; i < 3; i++) {
    await log.append([
      { partition: 0, appendedMs: clock.nowMs(), stamp: null, value: value(), eventTimeMs: 0 },
    ]);
  }
  // It is only the log's own segments that cannot be cut: one holds them all.
  const ends = log.ends.bind(log);
  const readFrom = log.read.bind(log);
  log.ends = async (partition) => ({ ...(await ends(partition)), startOffset: 4 });
  log.read = async (args) => readFrom({ ...args, fromOffset: Math.max(4, args.fromOffset) });
}
