/** Seeds shared by processes, as a run is nothing but computing: each asks for the next when it is done with its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SeedJob, SeedReport } from './check-seed.ts';

export interface SeedPoolOptions {
  readonly workers: number;
  /** null: there is no more to be done. */
  readonly next: () => SeedJob | null;
  readonly report: (report: SeedReport) => void;
}

/** Resolves when all that `next` gave was reported. */
export async function checkSeeds({ workers, next, report }: SeedPoolOptions): Promise<void> {
  const program = fileURLToPath(new URL('./seed-worker.ts', import.meta.url));
  const feed = (child: ChildProcess): Promise<void> =>
    new Promise((resolve, reject) => {
      let job: SeedJob | null = null;
      const give = (): void => {
        job = next();
        if (job === null) child.disconnect();
        else child.send(job);
      };
      child.on('message', (answer: SeedReport) => {
        report(answer);
        give();
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (code === 0 && job === null) resolve();
        else reject(new Error(`a worker ended with ${signal ?? `code ${code}`} at seed ${job?.seed}`));
      });
      give();
    });
  const children = Array.from({ length: workers }, () => fork(program));
  try {
    await Promise.all(children.map(feed));
  } finally {
    for (const child of children) if (child.connected) child.disconnect();
  }
}
