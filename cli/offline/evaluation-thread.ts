/** The module of a thread that evaluates rows of a training set: see offline/evaluation-thread.ts. */
import { evaluateInThread } from '../../offline/evaluation-thread.ts';
import { loadFeatureRepo } from '../load-features.ts';

await evaluateInThread((features) => loadFeatureRepo(features as string));
