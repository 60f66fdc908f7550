/**
 * All roles in one process: push → log → consumers → tile store → features over HTTP, with compaction and log
 * retention beside them.
 *
 * `openEmbedded` keeps everything in a directory on lmdb, `openInMemory` keeps nothing; both are `compose` over
 * another storage. Nothing here listens: call `app.listen`, or `app.inject` in tests.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { Archive, type ArchiveSettings } from '../archive/archive.ts';
import { logCompleteness } from '../compaction/completeness.ts';
import { type Clock, type ClockKind, WallClock } from '../engine/clock.ts';
import {
  type CompiledRepo,
  type CompiledSource,
  type CompiledView,
  sourcesOf,
} from '../engine/definitions/compiled.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { type CompactionPacing, DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from '../engine/tiles/tile-shape.ts';
import { acknowledgeGaps } from '../ingest/acknowledge-gaps.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import { DeadLetterBox } from '../ingest/dead-letter-box.ts';
import { jsonRecordDecoder } from '../ingest/decoding/json-record.ts';
import { EventClock } from '../ingest/event-clock.ts';
import { EventPush } from '../ingest/event-push.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import type { EventLog } from '../ingest/log/event-log.ts';
import { deadLetterLogName, LogDeadLetters } from '../ingest/log-dead-letters.ts';
import { LogLetterShelf } from '../ingest/log-letter-shelf.ts';
import {
  DEFAULT_LOG_RETENTION,
  type LogRetention,
  truncateDeadLetters,
  truncateLog,
} from '../ingest/log-retention.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import type { ConsumerOptions } from '../ingest/partition-consumer.ts';
import { storedPositions } from '../ingest/partition-lanes.ts';
import { LogGapError } from '../ingest/partition-stopped.ts';
import { PushBudget } from '../ingest/push-budget.ts';
import { PushGateway } from '../ingest/push-gateway.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { ArchivePartition } from '../roles/archive-partition.ts';
import { countArchiveLag } from '../roles/archive-reports.ts';
import { CloseDeadline } from '../roles/close-deadline.ts';
import { CompactionRole } from '../roles/compaction-role.ts';
import { aborted, type Deferred, deferred } from '../roles/deferred.ts';
import { countGaps, gapWarnings } from '../roles/gap-reports.ts';
import { IngestPartition } from '../roles/ingest-partition.ts';
import { LogReachWatch } from '../roles/log-reach-watch.ts';
import { logStart } from '../roles/log-start.ts';
import { LoggedDeadLetters } from '../roles/logged-dead-letters.ts';
import { NamespaceRetirement } from '../roles/namespace-retirement.ts';
import { reasonOf } from '../roles/reason-of.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { type AppLimits, buildApp, type Readiness } from '../serve/app.ts';
import { DecisionLog, type DecisionLogSettings } from '../serve/decision-log/decision-log.ts';
import { Metrics } from '../serve/metrics.ts';
import { countRebuild } from '../serve/rebuild-status.ts';
import { openLmdbStorage, openMemoryStorage, type Storage } from './storage.ts';
import { ViewBackfills } from './view-backfills.ts';
import { ViewRebuilds } from './view-rebuilds.ts';
import { WriteThread, type WriteThreadModule } from './write-thread.ts';

export interface RuntimeOptions {
  /** From `compileRepo`. */
  readonly repo: CompiledRepo;
  /**
   * What `now` is. `event`: the least of the partitions' highest event times, for replays; 0 until the first event
   * is applied. A data directory belongs to one of them for good. @default 'wall'
   */
  readonly clock?: ClockKind;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
  /** Log partitions per source; may be raised later, never lowered. @default 1 */
  readonly partitions?: number;
  /** @default none */
  readonly logger?: FastifyBaseLogger;
  /** Value bytes kept per log partition; the oldest applied records go first. @default 2 GiB */
  readonly maxLogBytes?: number;
  /** How long records are kept at least, ms, unless the log is too large. @default 1 day */
  readonly minLogAgeMs?: number;
  /** Bytes of pushes being written at once; beyond it they are refused. @default 64 MiB */
  readonly maxInFlightBytes?: number;
  /** Ids remembered per source to tell duplicates early. @default 100,000 */
  readonly recentIds?: number;
  /** How long `wait=applied` waits, ms. @default 10 s */
  readonly appliedTimeoutMs?: number;
  /** Lag beyond which features have the status `catching_up`, ms. @default 10 s */
  readonly lagBoundMs?: number;
  /** How long `close` waits for the log to be applied, and what waits for the archive to be written, ms. @default 5 s */
  readonly drainTimeoutMs?: number;
  /** Where accepted events are archived, see archive/README.md. @default nowhere */
  readonly archive?: ArchiveSettings;
  readonly shape?: TileShape;
  readonly pacing?: CompactionPacing;
  readonly consumer?: Partial<ConsumerOptions>;
  readonly limits?: Partial<AppLimits>;
  /** Logs what is answered. @default nothing is logged */
  readonly decisionLog?: DecisionLogSettings;
  /** Whether /metrics shows memory, CPU and event loop of the process. @default true for `openEmbedded` */
  readonly processMetrics?: boolean;
}

export interface EmbeddedOptions extends RuntimeOptions {
  /** Created if missing; belongs to one process at a time. */
  readonly dataDir: string;
  /** false: a power failure may lose data; for tests. @default true */
  readonly flush?: boolean;
  /** A thread of its own for the writing of tiles, see write-thread.ts. @default none: this thread writes them */
  readonly writeThread?: WriteThreadModule;
}

export interface Embedded {
  /** The HTTP app; listens nowhere until told to. */
  readonly app: FastifyInstance;
  readonly push: EventPush;
  /** What the engine takes for now. */
  readonly clock: Clock;
  readonly metrics: Metrics;
  /**
   * Resolves when the consumers work and every view has applied what the log holds now. A partition that stopped as its log
   * has a gap (`onGap: 'stop'`) keeps nobody from asking: readiness and the status of values tell.
   * @throws LogReplacedError and whatever else stops a consumer for good; what `failed` rejects with
   */
  ready(): Promise<void>;
  /** What /readyz answers. */
  readiness(): Readiness;
  /** Compacts what is due now; returns the number of states looked at. It also runs by itself. */
  compact(): Promise<number>;
  /** Rejects where it cannot go on, and should be closed and opened again; `readiness` says so, too. */
  readonly failed: Promise<never>;
  /** Stops taking requests, finishes what is in flight, applies the log within the time allowed, closes. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the engine on a data directory.
 *
 * @example
 * const engine = await openEmbedded({ repo, dataDir: './data' });
 * await engine.app.listen({ port: 7171 });
 * @throws DirectoryLockedError where another process has the directory open; StoreFormatError where another version or
 *   another clock has filled it; DecisionLogError where its directory cannot be used
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { dataDir, flush = true, clock = 'wall', writeThread } = options;
  const storage = await openLmdbStorage({ dataDir, flush, clock });
  let thread: WriteThread | null = null;
  try {
    if (writeThread !== undefined)
      thread = await WriteThread.start(writeThread, storage.store, options.repo.views.values());
  } catch (error) {
    await storage.close().catch(() => {});
    throw error;
  }
  return compose({ processMetrics: true, ...options }, storage, thread);
}

/** The same engine without a disk: everything is gone when it is closed. */
export async function openInMemory(options: RuntimeOptions): Promise<Embedded> {
  return compose(options, openMemoryStorage());
}

const DEFAULTS = {
  maxInFlightBytes: 64 * 1024 * 1024,
  recentIds: 100_000,
  appliedTimeoutMs: 10_000,
  lagBoundMs: 10_000,
  drainTimeoutMs: 5_000,
} as const;

/** Each chunk is read, written and committed apart: at 1,000 events/s one for every five of them. */
const LINGER_MS = 5;
const SHARDS = 1;
const RETENTION_EVERY_MS = 60_000;
/** States per compaction step: some 2 ms. */
const COMPACTION_BATCH = 8;
const DEAD_LETTER_MAX_BYTES = 64 * 1024 * 1024;

interface SourceRuntime {
  readonly source: CompiledSource;
  readonly log: EventLog;
  readonly deadLetters: EventLog;
  readonly partitions: number;
  readonly letters: DeadLetters;
  readonly box: DeadLetterBox;
  /** By partition: what each view had applied when the engine opened, without what the log had lost by then. */
  readonly stored: readonly ReadonlyMap<CompiledView, number>[];
  /** Resolves when one of its partitions has stopped at a gap of the log. */
  readonly atGap: Deferred<void>;
}

/** Builds the runtime over a storage and the thread that writes to it, which it closes. */
export async function compose(
  options: RuntimeOptions,
  storage: Storage,
  writeThread: WriteThread | null = null,
): Promise<Embedded> {
  const runtime = new Runtime(options, storage, writeThread);
  try {
    return await runtime.open();
  } catch (error) {
    await runtime.close().catch(() => {});
    throw error;
  }
}

class Runtime implements Embedded {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly failed: Promise<never>;
  /** What `failed` was rejected for. */
  #failure: string | null = null;
  app!: FastifyInstance;
  push!: EventPush;
  readonly #options: RuntimeOptions & typeof DEFAULTS;
  readonly #storage: Storage;
  readonly #writeThread: WriteThread | null;
  readonly #wallClock: Clock;
  readonly #eventClock: EventClock | null;
  readonly #progress: IngestProgress;
  /** By view as bound: what one that is being built lacks counts from the moment it is read. */
  readonly #gaps = new OpenGaps((bound) => this.#bindings.isActive(bound));
  readonly #writing: StateWriting;
  readonly #bindings: ViewBindings;
  readonly #stopping = new AbortController();
  readonly #stoppingSoon = aborted(this.#stopping.signal);
  readonly #loops: Promise<void>[] = [];
  readonly #stopped = deferred<never>();
  readonly #partitions: IngestPartition[] = [];
  readonly #archive: Archive | null;
  readonly #archived: ArchivePartition[] = [];
  readonly #archiving = new AbortController();
  readonly #archiveLoops: Promise<void>[] = [];
  #sources: SourceRuntime[] = [];
  #compaction!: CompactionRole;
  #reach!: LogReachWatch;
  #rebuilds: ViewRebuilds | null = null;
  #decisions: DecisionLog | null = null;
  #lastReadMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  constructor(options: RuntimeOptions, storage: Storage, writeThread: WriteThread | null) {
    this.#options = { ...DEFAULTS, ...options } as RuntimeOptions & typeof DEFAULTS;
    this.#storage = storage;
    this.#writeThread = writeThread;
    this.failed = writeThread?.failed ?? new Promise(() => {});
    this.failed.catch((error: unknown) => {
      this.#failure = `the process has to be started again: ${reasonOf(error)}`;
      options.logger?.error({ reason: reasonOf(error) }, 'the thread that writes tiles has failed');
    });
    // Every partition listens: as many as there are, and not a leak.
    setMaxListeners(0, this.#stopping.signal);
    setMaxListeners(0, this.#archiving.signal);
    this.#archive = options.archive === undefined ? null : new Archive(options.archive);
    this.#wallClock = options.wallClock ?? new WallClock();
    this.#eventClock = options.clock === 'event' ? new EventClock(sourcesOf(options.repo)) : null;
    this.clock = this.#eventClock ?? this.#wallClock;
    this.metrics = new Metrics({ process: options.processMetrics ?? false });
    this.#progress = new IngestProgress({ clock: this.#wallClock, lagBoundMs: this.#options.lagBoundMs });
    this.#writing = {
      store: storage.store,
      clock: this.clock,
      shards: SHARDS,
      shape: options.shape ?? DEFAULT_TILE_SHAPE,
      pacing: options.pacing ?? DEFAULT_PACING,
      rules: PROTOCOL,
      newToken: randomTokens(),
      ...(writeThread === null
        ? {}
        : { writerOf: (view: CompiledView) => writeThread.writerOf(view, this.#writing) }),
    };
    this.#bindings = new ViewBindings({
      views: options.repo.views.values(),
      store: storage.store,
      clock: this.#wallClock,
      newToken: this.#writing.newToken,
    });
  }

  async open(): Promise<this> {
    const { repo, logger, limits, decisionLog } = this.#options;
    if (decisionLog !== undefined) {
      const wallClock = this.#wallClock;
      this.#decisions = await DecisionLog.open(decisionLog, { metrics: this.metrics, wallClock, logger });
    }
    this.#archive?.check(repo.sources.values());
    for (const source of repo.sources.values()) this.#sources.push(await this.#openSource(source));
    this.#eventClock?.advance();

    const budget = new PushBudget(this.#options.maxInFlightBytes);
    const gateways = this.#sources.map((runtime) => this.#gateway(runtime, budget));
    this.push = new EventPush(gateways, budget);
    for (const { source, log } of this.#sources) await this.push.gateway(source.name)!.refill(log);

    const logs = new Map(this.#sources.map(({ source, log }) => [source.name, log]));
    const completeness = logCompleteness(this.#storage.store, (source) => logs.get(source)!, this.#wallClock);
    this.#compaction = new CompactionRole({
      viewIn: (namespace) => this.#bindings.inNamespace(namespace),
      writing: this.#writing,
      completeness,
      metrics: this.metrics,
      batchSize: COMPACTION_BATCH,
      quietMs: () => performance.now() - this.#lastReadMs,
      ...(logger === undefined ? {} : { logger }),
    });
    const rebuilds = new ViewRebuilds({
      sources: this.#sources,
      bindings: this.#bindings,
      writing: this.#writing,
      wallClock: this.#wallClock,
      missing: (bound, partition, gaps) => this.#gaps.set(bound, partition, gaps),
      metrics: this.metrics,
      signal: this.#stopping.signal,
      ...(logger === undefined ? {} : { logger }),
    });
    this.#rebuilds = rebuilds;
    const backfills = new ViewBackfills({
      ...{ sources: this.#sources, bindings: this.#bindings, writing: this.#writing, rebuilds },
      nowMs: () => this.#wallClock.nowMs(),
    });
    this.#reach = new LogReachWatch({
      logs: this.#sources.map(({ source, log, partitions }) => {
        // What takes records too early, their size, tells nothing beforehand.
        const start = (fromMs: number) => logStart(log, partitions, fromMs);
        return { source, retentionProblems: async () => [], start };
      }),
      clock: this.#eventClock === null ? this.clock : null,
      ...(logger === undefined ? {} : { logger }),
    });
    await this.#reach.look();
    this.metrics.onCollect(() => this.#collect());
    this.app = await buildApp({
      repo,
      store: this.#storage.store,
      shards: SHARDS,
      push: this.push,
      clock: this.clock,
      wallClock: this.#wallClock,
      isCatchingUp: (view) => this.#progress.isCatchingUp(view),
      gaps: {
        of: (view) => this.#gaps.of(this.#bindings.active(view)),
        list: () => this.#gaps.list(this.clock.nowMs()),
        acknowledge: (source) => this.#acknowledgeGaps(source),
      },
      namespaceOf: (view) => this.#bindings.active(view).namespace,
      deadLetters: (name) => this.#sources.find(({ source }) => source.name === name)?.box,
      readiness: () => this.readiness(),
      rebuilds,
      backfills,
      metrics: this.metrics,
      onRead: () => {
        this.#lastReadMs = performance.now();
      },
      ...(logger === undefined ? {} : { logger }),
      ...(limits === undefined ? {} : { limits }),
      ...(this.#decisions === null ? {} : { decisions: this.#decisions }),
    });
    this.#start();
    await rebuilds.resume();
    return this;
  }

  async ready(): Promise<void> {
    const { signal } = this.#stopping;
    const working = this.#sources.map(({ source, atGap }) => {
      const applied = this.#progress.waitUntilApplied(source.name, this.#progress.ends(source.name), signal);
      const opened = this.#partitions.flatMap((ingest) => (ingest.source === source ? [ingest.opened] : []));
      return Promise.race([Promise.all([...opened, applied]), atGap.promise]);
    });
    await Promise.race([Promise.all(working), this.#stoppingSoon, this.#stopped.promise, this.failed]);
  }

  readiness(): Readiness {
    const reasons = this.#partitions.flatMap(({ failing }) => failing ?? []);
    if (this.#failure !== null) reasons.push(this.#failure);
    if (this.#closing !== undefined) reasons.push('the process is stopping');
    const gaps = gapWarnings(this.#gaps.list(this.clock.nowMs()));
    const archive = this.#archived.flatMap(({ failing }) => failing ?? []);
    const decisions = this.#decisions?.warnings ?? [];
    const filling = this.#rebuilds?.warnings ?? [];
    const warnings = [
      ...[...gaps, ...this.#reach.warnings, ...this.push.warnings],
      ...[...decisions, ...archive, ...filling],
    ];
    return { ready: reasons.length === 0, reasons, warnings, lag: this.#progress.lags() };
  }

  compact(): Promise<number> {
    return this.#compaction.compact();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { drainTimeoutMs, logger } = this.#options;
    const pushes = this.push?.close();
    // Requests in flight may wait for their events to be applied: consumers go on until they are answered.
    await this.app?.close();
    await this.#decisions?.close();
    await pushes;
    const timeout = AbortSignal.timeout(drainTimeoutMs);
    const archived = this.#closeArchive(new CloseDeadline(drainTimeoutMs));
    if (this.#loops.length > 0) {
      for (const { source, atGap } of this.#sources) {
        const applied = this.#progress.waitUntilApplied(
          source.name,
          this.#progress.ends(source.name),
          timeout,
        );
        // Where the thread that writes has failed, nothing more is applied.
        await Promise.race([applied, atGap.promise, this.failed.catch(() => {})]);
      }
    }
    this.#stopping.abort();
    await Promise.all([...this.#loops, this.#rebuilds?.settled(), archived]);
    if (timeout.aborted)
      logger?.warn('stopped before the log was applied; the rest follows at the next start');
    await this.#writeThread?.close();
    await this.#storage.close();
  }

  /** What cannot be written in time is read again at the next start. */
  async #closeArchive(deadline: CloseDeadline): Promise<void> {
    this.#archiving.abort();
    const closed = Promise.all(this.#archiveLoops).then(() => this.#archive?.close());
    if (await deadline.settled(1, closed)) return;
    this.#options.logger?.warn(
      'stopped before all that was read was archived; the rest follows at the next start',
    );
  }

  async #acknowledgeGaps(source: string): Promise<void> {
    const runtime = this.#sources.find((at) => at.source.name === source)!;
    const views = this.#bindings.applied(runtime.source);
    await acknowledgeGaps(runtime.source, views, runtime.partitions, this.#writing);
    this.#gaps.forget(source);
  }

  async #openSource(source: CompiledSource): Promise<SourceRuntime> {
    const partitions = this.#options.partitions ?? 1;
    const found = await this.#bindings.read(source.views);
    source.views.forEach((view, v) => {
      this.#bindings.adopt(view, found[v]!);
    });
    const log = await this.#storage.log(source.name, partitions);
    const deadLetters = await this.#storage.log(deadLetterLogName(source.name), 1);
    const stored: Map<CompiledView, number>[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      const views = source.views.map((view) => this.#bindings.active(view));
      const positions = await storedPositions({ source, views, partition, writing: this.#writing });
      const { startOffset, endOffset } = await log.ends(partition);
      const applied = new Map(
        [...positions].map(([view, { nextOffset }]) => [this.#bindings.definition(view), nextOffset]),
      );
      stored.push(applied);
      const offsets = new Map(
        [...applied].map(([view, nextOffset]) => [view, Math.max(startOffset, nextOffset)]),
      );
      this.#progress.track(source, partition, endOffset, offsets);
      const nextOffset = Math.max(0, ...offsets.values());
      // Nobody else writes to this log: its end is what it was when the positions were read.
      if (nextOffset > endOffset)
        this.#progress.setShortfall(source.name, partition, { endOffset, nextOffset });
      for (const [view, { maxEventTimeMs, clockMs, gaps }] of positions) {
        this.#eventClock?.restore(source.name, partition, maxEventTimeMs, clockMs);
        this.#gaps.set(view, partition, gaps);
      }
    }
    const { logger } = this.#options;
    const kept = new LogDeadLetters({ log: deadLetters, clock: this.#wallClock });
    const letters = logger === undefined ? kept : new LoggedDeadLetters(kept, logger);
    const shelf = { source, log, letters: deadLetters, clock: this.#wallClock };
    const box = new DeadLetterBox(new LogLetterShelf(shelf));
    return { source, log, deadLetters, partitions, letters, box, stored, atGap: deferred<void>() };
  }

  #gateway({ source, log }: SourceRuntime, budget: PushBudget): PushGateway {
    const { recentIds, appliedTimeoutMs } = this.#options;
    return new PushGateway({
      source,
      log,
      progress: this.#progress,
      clock: this.#wallClock,
      budget,
      recentIds,
      appliedTimeoutMs,
    });
  }

  #start(): void {
    const { signal } = this.#stopping;
    const { repo, logger } = this.#options;
    for (const runtime of this.#sources) {
      if (this.#archive !== null) this.#archiveSource(runtime, this.#archive);
      if (runtime.source.views.length === 0) continue;
      for (let partition = 0; partition < runtime.partitions; partition++) {
        const ingest = this.#ingest(runtime, partition);
        this.#partitions.push(ingest);
        this.#loops.push(ingest.run(signal));
      }
    }
    this.#loops.push(this.#compaction.run(signal));
    const retirement = new NamespaceRetirement({
      views: [...repo.views.values()],
      bindings: this.#bindings,
      store: this.#storage.store,
      shards: SHARDS,
      clock: this.#wallClock,
      onRemoved: (view, states, left) => {
        this.#bindings.adopt(view, left);
        logger?.info({ view: view.name, states }, 'a namespace that is not read any more was removed');
      },
      onError: (error) =>
        logger?.warn({ reason: reasonOf(error) }, 'a namespace could not be removed; it is tried again'),
    });
    this.#loops.push(retirement.run(signal));
    this.#loops.push(this.#retain(signal));
  }

  /** Also where no view needs it yet: history is for those to come. */
  #archiveSource({ source, log, partitions }: SourceRuntime, archive: Archive): void {
    const { logger } = this.#options;
    for (let partition = 0; partition < partitions; partition++) {
      const archived = new ArchivePartition({
        archive,
        source,
        partition,
        log,
        decoder: jsonRecordDecoder(),
        metrics: this.metrics,
        wallClock: this.#wallClock,
        ...(logger === undefined ? {} : { logger }),
      });
      this.#archived.push(archived);
      this.#archiveLoops.push(archived.run(this.#archiving.signal));
    }
  }

  #ingest(runtime: SourceRuntime, partition: number): IngestPartition {
    const { source, log, letters } = runtime;
    const { logger, consumer } = this.#options;
    return new IngestPartition({
      source,
      partition,
      log,
      writing: this.#writing,
      deadLetters: letters,
      metrics: this.metrics,
      bindings: this.#bindings,
      lingerMs: LINGER_MS,
      listener: {
        applied: ({ views, nextOffset, maxEventTimeMs, appendedMs }) => {
          this.#eventClock?.applied(source.name, partition, maxEventTimeMs);
          for (const view of this.#read(views)) {
            this.#progress.applied(view, partition, nextOffset, appendedMs);
          }
        },
        positioned: (views, at, nextOffset) => {
          for (const view of this.#read(views)) this.#progress.positioned(view, at, nextOffset);
        },
        missing: (bound, at, gaps) => this.#gaps.set(bound, at, gaps),
        stopped: (error) => {
          if (error instanceof LogGapError) this.#stopAtGap(runtime, partition);
          else this.#stopped.reject(error);
        },
      },
      wallClock: this.#wallClock,
      ...(logger === undefined ? {} : { logger }),
      ...(consumer === undefined ? {} : { consumer }),
    });
  }

  /** What lies in the gap was not applied, and will not be: values say that they are behind. */
  #stopAtGap({ stored, atGap }: SourceRuntime, partition: number): void {
    for (const [view, nextOffset] of stored[partition]!)
      this.#progress.positioned(view, partition, nextOffset);
    atGap.resolve();
  }

  /** Of views as bound those that are read, as defined. */
  #read(views: readonly CompiledView[]): CompiledView[] {
    return views
      .filter((view) => this.#bindings.isActive(view))
      .map((view) => this.#bindings.definition(view));
  }

  async #retain(signal: AbortSignal): Promise<void> {
    const { logger, maxLogBytes, minLogAgeMs } = this.#options;
    const retention: LogRetention = {
      minAgeMs: minLogAgeMs ?? DEFAULT_LOG_RETENTION.minAgeMs,
      maxBytes: maxLogBytes ?? DEFAULT_LOG_RETENTION.maxBytes,
    };
    while (!signal.aborted) {
      for (const { source, log, deadLetters } of this.#sources) {
        try {
          const dropped = await truncateLog({
            source,
            log,
            clock: this.clock,
            wallClock: this.#wallClock,
            retention,
            appliedOffset: (partition) =>
              Math.min(
                this.#progress.appliedOffset(source.name, partition),
                this.#rebuilds?.neededFrom(source, partition) ?? Number.POSITIVE_INFINITY,
              ),
            storeFlushed: () => this.#storage.storeFlushed(),
          });
          this.metrics.count('millrace_log_truncated_records_total', { source: source.name }, dropped);
          await truncateDeadLetters({
            log: deadLetters,
            wallClock: this.#wallClock,
            retention: { ...retention, maxBytes: Math.min(retention.maxBytes, DEAD_LETTER_MAX_BYTES) },
          });
        } catch (error) {
          logger?.error(
            { source: source.name, reason: reasonOf(error) },
            'log retention failed; it is tried again',
          );
        }
      }
      await this.#reach.look();
      await delay(RETENTION_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #collect(): Promise<void> {
    const lags = this.#progress.lags();
    for (const { source, partition, records, seconds } of lags) {
      const labels = { source, partition };
      this.metrics.set('millrace_consumer_lag_records', labels, records);
      this.metrics.set('millrace_consumer_lag_seconds', labels, seconds);
    }
    for (const view of this.#options.repo.views.values()) {
      const status = this.#rebuilds?.status(view);
      if (status !== undefined) countRebuild(this.metrics, view.name, status);
    }
    countGaps(this.metrics, lags, this.#gaps.list(this.clock.nowMs()));
    countArchiveLag(this.metrics, this.#archived, (source, partition) =>
      this.#progress.ends(source).get(partition),
    );
    this.#reach.count(this.metrics);
    await this.#compaction.countBacklog();
  }
}
