import type { EvaluationThreadModule } from '../../offline/evaluation-thread.ts';

/** How threads that evaluate are started, from sources and from what is built. @param features directory of the repo */
export function evaluationThreadModule(features: string): EvaluationThreadModule {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  return { url: new URL(`./evaluation-thread${extension}`, import.meta.url), data: features };
}
