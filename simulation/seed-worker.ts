/** A process that checks the seeds it is sent, one at a time, until its parent hangs up. */
import { checkSeed, type SeedJob } from './check-seed.ts';

// Ctrl-C is for the parent: it lets the seeds under way finish.
process.on('SIGINT', () => {});
process.on('message', async (job: SeedJob) => {
  process.send!(await checkSeed(job));
});
