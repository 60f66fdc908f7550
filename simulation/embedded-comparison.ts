/**
 * I10: the embedded engine gives the same for the same events. When all has healed, the records of the log are put into an
 * embedded log, in the same partitions and at the same offsets; the real engine on lmdb applies and compacts them, and its
 * positions, what its states hold and all of its values are compared. There is no registry there: what had a schema id
 * in front comes without.
 *
 * Logs that retention has shortened are left out: the embedded one has no records before its first.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { openEmbedded } from '../embedded/runtime.ts';
import { openLmdbStorage } from '../embedded/storage.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { OracleEvent } from '../engine/testing/oracle.ts';
import { retentionLowMs } from '../engine/tiles/state-update.ts';
import { HEADER_BYTES } from '../ingest/decoding/wire-format.ts';
import type { AppendRecord, LogRecord } from '../ingest/log/event-log.ts';
import type { FeatureAnswer } from '../serve/feature-answer.ts';
import { FeatureReader } from '../serve/feature-reader.ts';
import { Mismatch } from './mismatch.ts';
import { type RunState, SHARDS } from './run-state.ts';
import { simulationRepo } from './simulation-repo.ts';
import { StateTruth } from './state-truth.ts';

/** A prime, so that sources with and without event ids have their turn. */
const EVERY_SEED = 11;
const SHARDS_EMBEDDED = 1;

/** @throws Mismatch */
export async function compareWithEmbedded(run: RunState): Promise<void> {
  if (!run.watched || run.calm || run.seed % EVERY_SEED !== 0 || run.truncated) return;
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-simulation-'));
  try {
    await fill(run, dataDir);
    await apply(run, dataDir);
    const storage = await openLmdbStorage({ dataDir, flush: false });
    try {
      await compare(run, storage.store);
    } finally {
      await storage.close();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function fill(run: RunState, dataDir: string): Promise<void> {
  const partitions = await run.log.partitions();
  const storage = await openLmdbStorage({ dataDir, flush: false });
  try {
    const log = await storage.log(run.log.source, partitions);
    for (let partition = 0; partition < partitions; partition++) {
      const all = { partition, fromOffset: 0, maxRecords: Infinity, maxBytes: Infinity };
      const { records } = await run.log.read(all);
      const offsets = await log.append(records.map((record) => embeddedRecord(run, record)));
      if (
        !isDeepStrictEqual(
          offsets,
          records.map(({ offset }) => offset),
        )
      )
        throw new Mismatch('the embedded log gave other offsets');
    }
  } finally {
    await storage.close();
  }
}

function embeddedRecord(run: RunState, record: LogRecord): AppendRecord {
  const { partition, offset, appendedMs, stamp, originOffset } = record;
  const value = record.value!;
  const place = { partition, offset };
  const isUsable = run.content.unusableAt(place) === undefined && !run.holes.has(`${partition}:${offset}`);
  // JSON begins with a bracket, a schema id with a 0.
  const isFramed = isUsable && value[0] === 0;
  const isCopy = originOffset !== null && run.mutation !== 'embedded_dlq_identity';
  return {
    ...{ partition, appendedMs, stamp, eventTimeMs: appendedMs },
    value: isFramed ? value.subarray(HEADER_BYTES) : value,
    ...(isCopy ? { originOffset } : {}),
  };
}

async function apply(run: RunState, dataDir: string): Promise<void> {
  const engine = await openEmbedded({
    repo: simulationRepo(run.withIds, 'present', run.mended),
    dataDir,
    flush: false,
    partitions: await run.log.partitions(),
    wallClock: run.clock,
    shape: { leafBytesMax: 90, tailRowsMax: 3, recentIdsMax: 4_096 },
    pacing: { foldAfterMs: 2_000 },
    processMetrics: false,
  });
  try {
    await engine.ready();
    while ((await engine.compact()) > 0);
  } finally {
    await engine.close();
  }
}

async function compare(run: RunState, store: TileStore): Promise<void> {
  await comparePositions(run, store);
  const { content, repo, answers } = run;
  const views = new Map([...repo.views.values()].map((view) => [view.namespace, view]));
  const truth = new StateTruth({
    // Nothing was rebuilt there.
    namespaces: {
      viewIn: (namespace) => views.get(namespace)!,
      active: async (view) => view,
      watermarkNames: (namespace) => run.namespaces.watermarkNames(namespace),
    },
    ...{ repo, store, content, shards: SHARDS_EMBEDDED, comparison: run.comparison, clock: run.clock },
    clockSkewMs: run.plan.clockSkewMs,
    seed: run.seed,
    lettered: (view, place) => run.letters.has(place, view.name),
    poisonCounts: () => run.mended,
    step: () => run.scheduler.steps,
  });
  for (const view of repo.views.values()) {
    const active = await run.namespaces.active(view);
    const lowMs = view.keepsForever ? 0 : retentionLowMs(view, run.clock.nowMs() + run.plan.clockSkewMs);
    const within = (held: ReadonlySet<OracleEvent>): Set<OracleEvent> =>
      new Set([...held].filter(({ timeMs }) => timeMs >= lowMs));
    for (const { key } of content.keysOf(view)) {
      const held = within(await run.truth.held(active, key));
      if (run.truth.isUnsure(active, key)) {
        truth.markUnsure(view, key);
        continue;
      }
      const heldEmbedded = within(await truth.held(view, key));
      if (!isDeepStrictEqual(held, heldEmbedded)) {
        throw new Mismatch(
          `view ${view.name} holds ${held.size} events of key '${key}', embedded ${heldEmbedded.size}`,
        );
      }
      answers.add('key compared with the embedded engine');
    }
  }
  await truth.checkAll('embedded');
  await compareAnswers(run, store);
}

/** Both have applied all of the log. */
async function comparePositions(run: RunState, store: TileStore): Promise<void> {
  const partitions = await run.log.partitions();
  for (const view of run.repo.views.values()) {
    const { namespace, name } = view;
    const active = (await run.namespaces.active(view)).namespace;
    for (let partition = 0; partition < partitions; partition++) {
      const mark = { source: run.log.source, partition };
      const [simulated] = await run.store.readWatermarks(0, [{ ...mark, namespace: active }]);
      const [embedded] = await store.readWatermarks(0, [{ ...mark, namespace }]);
      if ((simulated?.nextOffset ?? 0) !== (embedded?.nextOffset ?? 0))
        throw new Mismatch(`view ${name}, partition ${partition}: embedded stands at another offset`);
    }
  }
}

/** Question by question, as both serve it. */
async function compareAnswers(run: RunState, store: TileStore): Promise<void> {
  const service = run.repo.services.get('everything')!;
  const active = new Map<CompiledView, CompiledView>();
  for (const view of run.repo.views.values()) active.set(view, await run.namespaces.active(view));
  const reader = (
    of: Pick<TileStore, 'read'>,
    shards: number,
    namespaceOf: (view: CompiledView) => string,
  ): FeatureReader =>
    new FeatureReader({
      ...{ service, store: of, shards, namespaceOf },
      isCatchingUp: () => false,
      onEvaluationError: (_view, error) => {
        throw error;
      },
    });
  const readers = [
    reader(run.store, SHARDS, (view) => active.get(view)!.namespace),
    reader(store, SHARDS_EMBEDDED, ({ namespace }) => namespace),
  ] as const;
  const keysOf = (entity: string): Set<string> => {
    const views = [...run.repo.views.values()].filter((view) => view.entity.name === entity);
    return new Set(views.flatMap((view) => [...run.content.keysOf(view)].map(({ key }) => key)));
  };
  const kinds = [...keysOf('kind'), 'nothing'];
  for (const [i, card] of [...keysOf('card'), 'nobody'].entries()) {
    const keys = new Map([
      ['card', card],
      ['kind', kinds[i % kinds.length]!],
    ]);
    const question = { keys, request: {}, atMs: run.clock.nowMs(), asked: null };
    const [simulated] = await readers[0].read([question]);
    const [embedded] = await readers[1].read([question]);
    for (const { view, features } of service.views) {
      const key = keys.get(view.entity.name)!;
      if (run.truth.isUnsure(active.get(view)!, key)) continue;
      for (const { name } of features) {
        const { slot } = readers[0].output.find((at) => at.name === name)!;
        compareAnswer(view, key, name, simulated![slot]!, embedded![slot]!);
      }
    }
  }
}

/** How coarse an edge is depends on when it was compacted. */
function compareAnswer(
  view: CompiledView,
  key: string,
  name: string,
  simulated: FeatureAnswer,
  embedded: FeatureAnswer,
): void {
  if (simulated.status === 'coarse' || embedded.status === 'coarse') return;
  if (isDeepStrictEqual(simulated, embedded)) return;
  throw new Mismatch(`embedded answers otherwise: ${view.name}.${name} of key '${key}'`);
}
