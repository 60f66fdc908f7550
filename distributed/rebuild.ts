/**
 * A rebuild over Kafka and Redis, in a process of its own: it reads the topic in a group of its own, so that those who
 * ingest are not disturbed, and several such processes share the partitions.
 */
import { type Clock, WallClock } from '../engine/clock.ts';
import {
  type CompiledRepo,
  type CompiledSource,
  type CompiledView,
  sourcesOf,
} from '../engine/definitions/compiled.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { DEFAULT_REDIS_PREFIX } from '../engine/store/redis/redis-keys.ts';
import { StoreUnusedError } from '../engine/store/store-errors.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { type CompactionPacing, DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from '../engine/tiles/tile-shape.ts';
import { EventClock } from '../ingest/event-clock.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import type { LogInfo } from '../ingest/log/event-log.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { type ConsumerOptions, DEFAULT_CONSUMER_OPTIONS } from '../ingest/partition-consumer.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { driveRebuild } from '../roles/drive-rebuild.ts';
import { appendReachMs, checkReach } from '../roles/log-reach.ts';
import { RebuildDeadLetters } from '../roles/rebuild-dead-letters.ts';
import { DEFAULT_GRACE_MS } from '../roles/view-binding.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import {
  abortRebuild,
  type RebuildLook,
  ViewRebuild,
  type ViewRebuildOptions,
} from '../roles/view-rebuild.ts';
import { Metrics } from '../serve/metrics.ts';
import { type Backend, type BackendSettings, openBackend } from './backend.ts';
import { LogPositions } from './log-positions.ts';
import { LostPositions } from './lost-positions.ts';
import { SourceIngest } from './source-ingest.ts';

export interface RebuildOptions extends BackendSettings {
  /** From `compileRepo`. */
  readonly repo: CompiledRepo;
  /** One of the repo's. */
  readonly view: CompiledView;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
  /** How long the former state is kept up to date after the switch, ms. @default 10 min */
  readonly graceMs?: number;
  /** As in `ViewRebuildOptions`. */
  readonly joinWithinRecords?: number;
  /** Rebuild although the topic has lost records that the view can reach, before it began or since. @default false */
  readonly acceptGap?: boolean;
  /** Pause between looks at the watermarks, ms. @default 500 */
  readonly lookEveryMs?: number;
  readonly shape?: TileShape;
  readonly pacing?: CompactionPacing;
  readonly consumer?: Partial<ConsumerOptions>;
  /** @param resumed it was under way already */
  readonly onBegun?: (resumed: boolean) => void;
  readonly onLook?: (look: RebuildLook) => void;
  /** @param records that got dead letters: the active namespace counts them, or nobody knows of them; each is told once */
  readonly onDeadLetters?: (records: number) => void;
  /** Something failed that is tried again. */
  readonly onTrouble?: (error: unknown) => void;
}

/** Larger than those of ingest: nobody waits for a single event, and the rows of a key in one chunk are one write. */
const CONSUMER: ConsumerOptions = { ...DEFAULT_CONSUMER_OPTIONS, chunkRecords: 8_000 };
/** A worker that was killed keeps its partitions for so long, and nobody but the next worker waits for them. */
const GROUP_TIMINGS = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 1_000 } as const;
/** Redis flushes what it has written once a second; under load a flush may take another one. */
export const CONFIRM_AFTER_MS = 2_500;
const QUEUED_BYTES = { partition: 8 * 1024 * 1024, total: 64 * 1024 * 1024 };

/**
 * Rebuilds a view, or goes on with the rebuild that is under way. Resolves with how it ended: `switched`; `given_up`
 * where it was aborted or the store lost it; else the signal was aborted, and another call goes on from there.
 * @throws errors that say which server cannot be used; StoreFormatError where those who ingest have another clock;
 * StoreUnusedError where nobody applies the view; LogTooShortError; whatever stops a consumer for good
 */
export async function rebuildView(
  options: RebuildOptions,
  signal: AbortSignal,
): Promise<RebuildLook['state']> {
  return withBackend(options, async (parts) => {
    const { onBegun, acceptGap = false } = options;
    const begin = await rebuildOptions(options, parts);
    const rebuild = await ViewRebuild.begin({
      ...begin,
      acceptGap,
      check: () => checkTopic(parts.backend, parts, begin.writing.clock),
    });
    onBegun?.(rebuild.resumed);
    return driveOverKafka(options, parts, { rebuild, writing: begin.writing }, signal);
  });
}

/** What a rebuild begins with. @throws StoreUnusedError, StoreFormatError */
export async function rebuildOptions(
  options: RebuildOptions,
  parts: RebuildParts,
): Promise<Omit<ViewRebuildOptions, 'check' | 'writing' | 'acceptGap'> & { readonly writing: StateWriting }> {
  const { view, graceMs = DEFAULT_GRACE_MS, joinWithinRecords } = options;
  const { source, backend, store, bindings, wallClock } = parts;
  const log = backend.logInfo(source);
  const clock = options.clock === 'event' ? await eventClockOf(parts, log) : wallClock;
  await checkApplied(parts, log, options.redis.prefix);
  const writing = {
    store,
    clock,
    shards: backend.shards,
    shape: options.shape ?? DEFAULT_TILE_SHAPE,
    pacing: options.pacing ?? DEFAULT_PACING,
    rules: PROTOCOL,
    newToken: randomTokens(),
  };
  return {
    ...{ source, view, bindings, writing, log, graceMs },
    nowMs: () => wallClock.nowMs(),
    ...(joinWithinRecords === undefined ? {} : { joinWithinRecords }),
  };
}

/** Applies the topic, in a group of its own, until the rebuild is over. */
export function driveOverKafka(
  options: RebuildOptions,
  { source, view, backend, store, bindings, wallClock }: RebuildParts,
  { rebuild, writing }: { readonly rebuild: ViewRebuild; readonly writing: StateWriting },
  signal: AbortSignal,
): Promise<RebuildLook['state']> {
  const { lookEveryMs = 500 } = options;
  const { onLook = () => {}, onTrouble = () => {}, onDeadLetters = () => {} } = options;
  const deadLetters = new RebuildDeadLetters({
    ...{ view, bindings, store, shards: backend.shards },
    letters: backend.deadLetters(source),
    onUnusable: onDeadLetters,
  });
  const lost = new LostPositions();
  let filling: SourceIngest | null = null;
  return driveRebuild(
    {
      rebuild,
      lookEveryMs,
      confirmAfterMs: CONFIRM_AFTER_MS,
      onLook: (look) => {
        for (const partition of lost.look(look.nextOffsets)) filling?.fellBack(partition);
        lost.applied(filling?.applied() ?? []);
        onLook(look);
      },
      onTrouble,
      fill: async (failed) => {
        const ingest = new SourceIngest({
          source,
          backend,
          writing,
          bindings,
          metrics: new Metrics(),
          wallClock,
          onStalled: failed,
          onStopped: failed,
          consumer: { ...CONSUMER, ...options.consumer },
          apart: {
            groupSuffix: `rebuild-${rebuild.building.namespace}`,
            maxQueuedBytes: QUEUED_BYTES,
            views: [rebuild.building],
            deadLetters,
          },
        });
        await ingest.start();
        filling = ingest;
        return {
          failing: () => ingest.troubles,
          stop: async () => {
            filling = null;
            await ingest.finish();
            await ingest.leave();
          },
        };
      },
    },
    signal,
  );
}

/** Ends the rebuild of a view that is under way, in whatever process. @returns whether there was one */
export async function abortViewRebuild(options: RebuildOptions): Promise<boolean> {
  return withBackend(options, ({ bindings, wallClock }) =>
    abortRebuild({ view: options.view, bindings, nowMs: () => wallClock.nowMs() }),
  );
}

/** What a rebuild works with. */
export interface RebuildParts {
  readonly repo: CompiledRepo;
  readonly source: CompiledSource;
  readonly view: CompiledView;
  readonly backend: Backend;
  readonly store: TileStore;
  readonly bindings: ViewBindings;
  readonly wallClock: Clock;
}

export async function withBackend<T>(
  options: RebuildOptions,
  work: (parts: RebuildParts) => Promise<T>,
): Promise<T> {
  const { repo, view } = options;
  const wallClock = options.wallClock ?? new WallClock();
  const source = repo.sources.get(view.source.name)!;
  const own = { ...repo, sources: new Map([[source.name, source]]) };
  const groupTimings = { ...GROUP_TIMINGS, ...options.groupTimings };
  // Whoever ingests has written it down: a store that nobody uses would be filled for nobody.
  const redis = { ...options.redis, mustExist: true };
  const backend = await openBackend({ ...options, redis, groupTimings }, own, new Set(['ingest']));
  try {
    const store = backend.writingStore!;
    const bindings = new ViewBindings({
      views: source.views,
      store,
      clock: wallClock,
      newToken: randomTokens(),
    });
    return await work({ repo, source, view, backend, store, bindings, wallClock });
  } finally {
    await backend.close();
  }
}

/** Now, as those who ingest have it: rows are dropped as too old by it. */
async function eventClockOf(
  { repo, source, backend, store, bindings, wallClock }: RebuildParts,
  log: LogInfo,
): Promise<Clock> {
  const eventClock = new EventClock(sourcesOf(repo));
  const positions = new LogPositions({
    sources: [{ source, log, ingest: () => null }],
    store,
    shards: backend.shards,
    bindings,
    progress: new IngestProgress({ clock: wallClock, lagBoundMs: Number.POSITIVE_INFINITY }),
    gaps: new OpenGaps(),
    eventClock,
    clock: wallClock,
    idleMs: 0,
    awaitedMs: 0,
    beforeLook: async () => {},
    onError: () => {},
  });
  await positions.look();
  return eventClock;
}

async function checkTopic(backend: Backend, { source, view }: RebuildParts, clock: Clock): Promise<void> {
  const log = backend.logInfo(source);
  const ends = await log.allEnds();
  const fromMs = Math.max(0, clock.nowMs() - appendReachMs(view));
  checkReach(view, ends, await log.offsetsAt(fromMs));
}

/**
 * Whoever ingests a view has watermarks of it before it applies anything.
 * @throws StoreUnusedError where there are none: the state would be made for nobody
 */
async function checkApplied(
  { source, view, backend, store, bindings }: RebuildParts,
  log: LogInfo,
  prefix = DEFAULT_REDIS_PREFIX,
): Promise<void> {
  const [binding] = await bindings.read([view]);
  const { active, building } = binding!;
  if (building !== null) return;
  const names = Array.from({ length: await log.partitions() }, (_, partition) => {
    return { namespace: active, source: source.name, partition };
  });
  for (let shard = 0; shard < backend.shards; shard++) {
    const marks = await store.readWatermarks(shard, names);
    if (marks.some((mark) => mark !== null)) return;
  }
  throw new StoreUnusedError(
    `nobody has applied view ${view.name}, as it is defined here, under the Redis keys ${prefix}:…: give the --features and ` +
      '--redis-prefix that `ingest` was started with, or start `ingest` with these, which fills the view from the log ' +
      'by itself',
  );
}
