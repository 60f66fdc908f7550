/** The module of a thread that evaluates, for tests: the definitions come from a module of TypeScript, its data. */
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { evaluateInThread } = await import('../evaluation-thread.ts');
const { repo } = await import(workerData);
await evaluateInThread(async () => repo);
