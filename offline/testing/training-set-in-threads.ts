/** A training set that begins once all threads are there: a small one would be done before. */
import type * as Arrow from 'apache-arrow';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { arrowTable } from '../arrow-output.ts';
import { evaluationPool } from '../evaluation-pool.ts';
import type { EvaluationThreadModule } from '../evaluation-thread.ts';
import { openDb } from '../make-training-set.ts';
import { tableFiles } from '../table-files.ts';
import { prepareTrainingSet, type TrainingSummary } from '../training-set.ts';
import { temporaryWork } from '../work-directory.ts';

export async function trainingSetInThreads(options: {
  readonly repo: CompiledRepo;
  readonly service: string;
  readonly spine: string;
  /** Of the only source. */
  readonly history: string;
  readonly threads: number;
  readonly threadModule: EvaluationThreadModule;
}): Promise<{ readonly table: Arrow.Table; readonly summary: TrainingSummary }> {
  const { repo, threads, threadModule } = options;
  const service = repo.services.get(options.service)!;
  const source = service.views[0]!.view.source.name;
  const work = await temporaryWork();
  try {
    const db = await openDb(work, 2 ** 29, threads);
    const pool = evaluationPool(repo, threads, threadModule);
    try {
      await pool.ready;
      const { table, summary } = await prepareTrainingSet({
        ...{ db, service, pool, workDir: work.dir, prefix: '', spineOptions: {} },
        spine: await tableFiles(options.spine),
        history: new Map([[source, await tableFiles(options.history)]]),
        logged: new Map(),
        onProgress: () => {},
      });
      return { table: await arrowTable(db, table), summary };
    } finally {
      await pool.close();
      db.close();
    }
  } finally {
    await work.remove();
  }
}
