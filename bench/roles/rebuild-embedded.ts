/** The same rebuilds in an embedded engine on lmdb, in this process: what the log holds is applied once more. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openEmbedded } from '../../embedded/runtime.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { PARTITIONS, type PaymentEvents, paymentView } from './payment-events.ts';
import type { Scope } from './scope.ts';

const CHUNK = 2_000;
const LOOK_EVERY_MS = 20;

export interface EmbeddedRebuild {
  readonly perSecond: number;
  /** From the first request to the last switch, s. */
  readonly wholeSeconds: number;
  /** Per event and view. */
  readonly cpuUs: number;
}

export async function rebuildEmbedded(
  args: { readonly events: number; readonly views: number; readonly source: PaymentEvents },
  scope: Scope,
): Promise<EmbeddedRebuild> {
  const { events, views, source } = args;
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  scope.defer(() => rm(dataDir, { recursive: true, force: true }));
  // Not before the command line has said what the package's name stands for.
  const { paymentService } = await import('./payment-service.ts');
  const repo = compileRepo([paymentService({ topic: 'payments', views })]);
  const engine = await openEmbedded({ repo, dataDir, partitions: PARTITIONS, processMetrics: false });
  scope.defer(() => engine.close());
  for (let from = 0; from < events; from += CHUNK) {
    const size = Math.min(CHUNK, events - from);
    const batch = Array.from({ length: size }, (_, i) => JSON.parse(source.message(from + i).value));
    const { accepted } = await engine.push.push('payments', batch, { wait: 'applied' });
    if (accepted !== size) throw new Error(`${accepted} of ${size} events were accepted`);
  }
  const urls = Array.from({ length: views }, (_, i) => `/v1/views/${paymentView(i)}/rebuild`);
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  for (const url of urls) {
    const { statusCode, body } = await engine.app.inject({ method: 'POST', url });
    if (statusCode !== 200) throw new Error(body);
  }
  for (let left = urls; left.length > 0; ) {
    await delay(LOOK_EVERY_MS);
    const states = await Promise.all(left.map(async (url) => (await engine.app.inject(url)).json().state));
    if (states.some((state) => state === 'failed' || state === 'given_up')) throw new Error('it failed');
    left = left.filter((_, i) => states[i] !== 'switched');
  }
  const wholeSeconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const records = events * views;
  return { perSecond: records / wholeSeconds, wholeSeconds, cpuUs: (user + system) / records };
}
