/**
 * The roles over Kafka and Redis. A process has one or several of them; any number of processes of each role run at
 * once, and nothing but the log and the store connects them.
 *
 * - ingest: a member of the consumer group of each source; applies the partitions it is given.
 * - compact: takes due states from the store's index.
 * - serve: HTTP; pushes go to the topic, features come from the store.
 *
 * Nothing here listens: call `app.listen`. Processes that do not serve have health, readiness and metrics only.
 */
import { setMaxListeners } from 'node:events';
import type { FastifyInstance } from 'fastify';
import { Archive, type ArchiveSettings } from '../archive/archive.ts';
import { logCompleteness } from '../compaction/completeness.ts';
import { type Clock, WallClock } from '../engine/clock.ts';
import { type CompiledRepo, type CompiledSource, sourcesOf } from '../engine/definitions/compiled.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { type CompactionPacing, DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from '../engine/tiles/tile-shape.ts';
import { acknowledgeGaps } from '../ingest/acknowledge-gaps.ts';
import { EventClock } from '../ingest/event-clock.ts';
import { EventPush } from '../ingest/event-push.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import type { KafkaLogInfo } from '../ingest/log/kafka/topic-offsets.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import type { ConsumerOptions } from '../ingest/partition-consumer.ts';
import { PushBudget } from '../ingest/push-budget.ts';
import { PushGateway } from '../ingest/push-gateway.ts';
import { endsShort } from '../ingest/replaced-log.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { countArchiveLag } from '../roles/archive-reports.ts';
import { CloseDeadline } from '../roles/close-deadline.ts';
import { CompactionRole } from '../roles/compaction-role.ts';
import { aborted, deferred } from '../roles/deferred.ts';
import { countGaps, gapWarnings } from '../roles/gap-reports.ts';
import { LogReachWatch } from '../roles/log-reach-watch.ts';
import { NamespaceRetirement } from '../roles/namespace-retirement.ts';
import { reasonOf } from '../roles/reason-of.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { type AppLimits, buildApp, buildOperationsApp, type Readiness } from '../serve/app.ts';
import { DecisionLog, type DecisionLogSettings } from '../serve/decision-log/decision-log.ts';
import { Metrics } from '../serve/metrics.ts';
import { type Backend, type BackendSettings, openBackend } from './backend.ts';
import { LogPositions } from './log-positions.ts';
import { SourceArchive } from './source-archive.ts';
import { SourceIngest } from './source-ingest.ts';
import { watchedTopic } from './watched-topic.ts';

export type Role = 'ingest' | 'serve' | 'compact';

export interface DistributedOptions extends BackendSettings {
  /** From `compileRepo`. */
  readonly repo: CompiledRepo;
  readonly roles: ReadonlySet<Role>;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
  /** Bytes of pushes being written at once; beyond it they are refused. @default 64 MiB */
  readonly maxInFlightBytes?: number;
  /** Ids remembered per source to tell duplicates early. @default 100,000 */
  readonly recentIds?: number;
  /** How long `wait=applied` waits, ms. @default 10 s */
  readonly appliedTimeoutMs?: number;
  /** Lag beyond which features have the status `catching_up`, ms. @default 10 s */
  readonly lagBoundMs?: number;
  /** Pause between looks at watermarks and log ends, ms. @default 500 */
  readonly lookEveryMs?: number;
  /** Pause between looks at what the topics keep, ms. @default 60 s */
  readonly reachEveryMs?: number;
  /** How long `close` may take, ms, whatever Kafka and Redis do. @default 20 s */
  readonly closeTimeoutMs?: number;
  /** Where a process that ingests archives accepted events, see archive/README.md. @default nowhere */
  readonly archive?: ArchiveSettings;
  readonly shape?: TileShape;
  readonly pacing?: CompactionPacing;
  readonly consumer?: Partial<ConsumerOptions>;
  readonly limits?: Partial<AppLimits>;
  /** Logs what is answered, in a process that serves. @default nothing is logged */
  readonly decisionLog?: DecisionLogSettings;
  /** Whether /metrics shows memory, CPU and event loop of the process. @default true */
  readonly processMetrics?: boolean;
}

export interface Distributed {
  /** The HTTP app; listens nowhere until told to. */
  readonly app: FastifyInstance;
  /** null in a process that does not serve. */
  readonly push: EventPush | null;
  /** What the engine takes for now. */
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Rejects when the process should end and be started again; never resolves. */
  readonly failed: Promise<never>;
  /** Resolves when the process does what its roles say, though perhaps behind the log. @throws as `failed` */
  ready(): Promise<void>;
  readiness(): Readiness;
  /** Compacts what is due now, in a process that compacts; returns the number of states looked at. */
  compact(): Promise<number>;
  /**
   * Stops taking requests, finishes what is in flight, leaves the consumer groups, closes. What a server that does not
   * answer holds up is left behind after `closeTimeoutMs`: nothing is lost by that. Idempotent.
   */
  close(): Promise<void>;
}

const DEFAULTS = {
  maxInFlightBytes: 64 * 1024 * 1024,
  recentIds: 100_000,
  appliedTimeoutMs: 10_000,
  lagBoundMs: 10_000,
  lookEveryMs: 500,
  closeTimeoutMs: 20_000,
} as const;

/** Up to when each step of closing may go on: shares of the time that it may take. */
const CLOSE_BY = {
  /** Pushes in flight may wait for this process to apply them. */
  pushes: 0.25,
  chunks: 0.5,
  /** Requests being answered, leaving the groups, looks and compaction under way. */
  work: 0.8,
  connections: 0.95,
} as const;

const AWAITED_LOOK_MS = 5;
/** States per compaction step: a few round trips for all of them. */
const COMPACTION_BATCH = 32;
const COMPACTION_BATCH_BESIDE_SERVING = 8;

/**
 * Connects to Kafka, Redis and the registry, checks them, and starts the roles.
 * @throws errors that say which server could not be used, and what to change
 */
export async function openDistributed(options: DistributedOptions): Promise<Distributed> {
  const backend = await openBackend(options, options.repo, options.roles);
  const runtime = new Runtime(options, backend);
  try {
    return await runtime.open();
  } catch (error) {
    await runtime.close().catch(() => {});
    throw error;
  }
}

class Runtime implements Distributed {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly #failure = deferred<never>();
  readonly failed = this.#failure.promise;
  app!: FastifyInstance;
  push: EventPush | null = null;
  readonly #options: DistributedOptions & typeof DEFAULTS;
  readonly #backend: Backend;
  readonly #wallClock: Clock;
  readonly #progress: IngestProgress;
  readonly #gaps = new OpenGaps();
  readonly #positions: LogPositions;
  readonly #writing: StateWriting;
  readonly #bindings: ViewBindings;
  readonly #stopping = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #ingests: SourceIngest[] = [];
  readonly #archive: Archive | null;
  readonly #archives: SourceArchive[] = [];
  readonly #logs: ReadonlyMap<CompiledSource, KafkaLogInfo>;
  /** null in a process that does not ingest: one that does says it. */
  readonly #reach: LogReachWatch | null;
  #compaction: CompactionRole | null = null;
  #decisions: DecisionLog | null = null;
  #lastReadMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  constructor(options: DistributedOptions, backend: Backend) {
    this.#options = { ...DEFAULTS, ...options } as DistributedOptions & typeof DEFAULTS;
    this.#backend = backend;
    // Every partition listens: as many as there are, and not a leak.
    setMaxListeners(0, this.#stopping.signal);
    this.#archive =
      options.archive === undefined || !options.roles.has('ingest') ? null : new Archive(options.archive);
    this.#wallClock = options.wallClock ?? new WallClock();
    const eventClock = options.clock === 'event' ? new EventClock(sourcesOf(options.repo)) : null;
    this.clock = eventClock ?? this.#wallClock;
    this.metrics = new Metrics({ process: options.processMetrics ?? true });
    const { lagBoundMs, lookEveryMs } = this.#options;
    this.#progress = new IngestProgress({ clock: this.#wallClock, lagBoundMs });
    const sources = [...options.repo.sources.values()];
    this.#logs = new Map(sources.map((source) => [source, backend.logInfo(source)]));
    const { logger, reachEveryMs } = options;
    this.#reach = options.roles.has('ingest')
      ? new LogReachWatch({
          logs: [...this.#logs].map(([source, log]) => watchedTopic(source, log)),
          clock: eventClock === null ? this.clock : null,
          ...(logger === undefined ? {} : { logger }),
          ...(reachEveryMs === undefined ? {} : { everyMs: reachEveryMs }),
        })
      : null;
    this.#writing = {
      store: backend.writingStore ?? backend.servingStore!,
      clock: this.clock,
      shards: backend.shards,
      shape: options.shape ?? DEFAULT_TILE_SHAPE,
      pacing: options.pacing ?? DEFAULT_PACING,
      rules: PROTOCOL,
      newToken: randomTokens(),
    };
    this.#bindings = new ViewBindings({
      views: options.repo.views.values(),
      store: this.#anyStore,
      clock: this.#wallClock,
      newToken: this.#writing.newToken,
    });
    this.#positions = new LogPositions({
      sources: sources.map((source) => ({
        source,
        log: this.#logs.get(source)!,
        ingest: () => this.#ingests.find((ingest) => ingest.source === source) ?? null,
      })),
      store: this.#anyStore,
      shards: backend.shards,
      bindings: this.#bindings,
      progress: this.#progress,
      gaps: this.#gaps,
      eventClock,
      clock: this.#wallClock,
      idleMs: lookEveryMs,
      awaitedMs: AWAITED_LOOK_MS,
      beforeLook: () => backend.confirmLayout(),
      onError: (error) => {
        // Keys would be looked for in the wrong places, and found empty.
        if (error instanceof StoreFormatError) this.#fail(error);
        options.logger?.warn({ reason: reasonOf(error) }, 'positions in the log could not be looked at');
      },
    });
  }

  async open(): Promise<this> {
    const { repo, roles } = this.#options;
    this.#archive?.check(repo.sources.values());
    await this.#positions.look();
    // Only the second can tell a log that ends before what was applied of it.
    await this.#positions.look();
    this.#loops.push(this.#positions.run(this.#stopping.signal));
    if (this.#reach !== null) {
      await this.#reach.look();
      this.#loops.push(this.#reach.run(this.#stopping.signal));
    }
    if (roles.has('ingest')) await this.#ingest();
    if (this.#archive !== null) this.#archiveSources(this.#archive);
    if (roles.has('compact')) this.#compact();
    this.metrics.onCollect(() => this.#collect());
    this.app = roles.has('serve') ? await this.#serve() : await this.#operations();
    return this;
  }

  async ready(): Promise<void> {
    const joined = Promise.all(this.#ingests.map((ingest) => ingest.joined()));
    await Promise.race([joined, aborted(this.#stopping.signal), this.failed]);
  }

  readiness(): Readiness {
    const reasons = this.#ingests.flatMap((ingest) => ingest.failing);
    if (this.#compaction?.failing) reasons.push(this.#compaction.failing);
    const { failing } = this.#positions;
    if (failing !== null) reasons.push(`positions in the log: ${reasonOf(failing.error)}`);
    else if (this.#positions.isBlind) reasons.push('positions in the log have not been seen for too long');
    for (const short of this.#progress.shortLogs()) {
      const { source, partition } = short;
      const reason = `source ${source}, partition ${partition}: ${endsShort(short, short).message}`;
      // This process's consumer may have found the same.
      if (!reasons.includes(reason)) reasons.push(reason);
    }
    if (this.#closing !== undefined) reasons.push('the process is stopping');
    const gaps = gapWarnings(this.#gaps.list(this.clock.nowMs()));
    const archive = this.#archives.flatMap(({ failing }) => failing);
    const warnings = [
      ...gaps,
      ...(this.#reach?.warnings ?? []),
      ...(this.#decisions?.warnings ?? []),
      ...archive,
    ];
    return { ready: reasons.length === 0, reasons, warnings, lag: this.#progress.lags() };
  }

  async compact(): Promise<number> {
    return this.#compaction?.compact() ?? 0;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const deadline = new CloseDeadline(this.#options.closeTimeoutMs);
    const late: string[] = [];
    const by = async (step: keyof typeof CLOSE_BY, what: string, done: Promise<unknown> | undefined) => {
      if (!(await deadline.settled(CLOSE_BY[step], done))) late.push(what);
    };
    const pushes = this.push?.close();
    await Promise.all([
      (async () => {
        await by('work', 'requests', this.app?.close());
        await by('connections', 'the decision log', this.#decisions?.close());
      })(),
      (async () => {
        await by('pushes', 'pushes', pushes);
        // Slow clients do not keep partitions here that another process could apply.
        this.#stopping.abort();
        await Promise.all([
          ...this.#ingests.map(async (ingest) => {
            const source = ingest.source.name;
            await by('chunks', `the chunk under way of source ${source}`, ingest.finish());
            await by('work', `leaving the consumer group of source ${source}`, ingest.leave());
          }),
          by('work', 'the archive', this.#archived()),
          by('work', 'looks and compaction under way', Promise.all(this.#loops)),
        ]);
      })(),
    ]);
    await by('connections', 'connections', this.#backend.close());
    if (late.length > 0) this.#options.logger?.warn({ late }, 'closed without waiting any longer');
  }

  /** After `#stopping`: resolves when what waited is committed, or left. */
  async #archived(): Promise<void> {
    await Promise.all(this.#archives.map(({ done }) => done));
    await this.#archive?.close();
  }

  /** Said at once: closing may take long, or not end. */
  #fail(error: Error): void {
    this.#options.logger?.error({ reason: reasonOf(error) }, 'the process cannot go on');
    this.#failure.reject(error);
  }

  get #anyStore(): TileStore {
    return this.#backend.servingStore ?? this.#backend.writingStore!;
  }

  async #ingest(): Promise<void> {
    const { repo, logger, consumer } = this.#options;
    for (const source of repo.sources.values()) {
      if (source.views.length === 0) continue;
      const ingest = new SourceIngest({
        source,
        backend: this.#backend,
        writing: this.#writing,
        bindings: this.#bindings,
        metrics: this.metrics,
        wallClock: this.#wallClock,
        onStalled: (error) => this.#fail(error),
        ...(logger === undefined ? {} : { logger }),
        ...(consumer === undefined ? {} : { consumer }),
      });
      this.#ingests.push(ingest);
      await ingest.start();
    }
  }

  /** Also sources that no view needs yet: history is for those to come. */
  #archiveSources(archive: Archive): void {
    const { repo, logger } = this.#options;
    for (const source of repo.sources.values()) {
      this.#archives.push(
        new SourceArchive({
          source,
          archive,
          backend: this.#backend,
          metrics: this.metrics,
          wallClock: this.#wallClock,
          signal: this.#stopping.signal,
          ...(logger === undefined ? {} : { logger }),
        }),
      );
    }
  }

  #compact(): void {
    const { repo, logger, roles } = this.#options;
    const serving = roles.has('serve');
    const bySource = new Map([...this.#logs].map(([source, log]) => [source.name, log]));
    const completeness = logCompleteness(
      this.#writing.store,
      (source) => bySource.get(source)!,
      this.#wallClock,
    );
    this.#compaction = new CompactionRole({
      viewIn: (namespace) => this.#bindings.inNamespace(namespace),
      writing: this.#writing,
      completeness,
      metrics: this.metrics,
      batchSize: serving ? COMPACTION_BATCH_BESIDE_SERVING : COMPACTION_BATCH,
      quietMs: () => performance.now() - this.#lastReadMs,
      ...(logger === undefined ? {} : { logger }),
    });
    this.#loops.push(this.#compaction.run(this.#stopping.signal));
    const retirement = new NamespaceRetirement({
      views: [...repo.views.values()],
      bindings: this.#bindings,
      store: this.#writing.store,
      shards: this.#writing.shards,
      clock: this.#wallClock,
      onRemoved: (view, states) =>
        logger?.info({ view: view.name, states }, 'a namespace that is not read any more was removed'),
      onError: (error) =>
        logger?.warn({ reason: reasonOf(error) }, 'a namespace could not be removed; it is tried again'),
    });
    this.#loops.push(retirement.run(this.#stopping.signal));
  }

  /** Other processes see it at their next look. */
  async #acknowledgeGaps(name: string): Promise<void> {
    const source = this.#options.repo.sources.get(name)!;
    const partitions = await this.#logs.get(source)!.partitions();
    await acknowledgeGaps(source, this.#bindings.applied(source), partitions, this.#writing);
    this.#gaps.forget(name);
  }

  async #serve(): Promise<FastifyInstance> {
    const { repo, logger, limits, maxInFlightBytes, recentIds, appliedTimeoutMs, decisionLog } =
      this.#options;
    if (decisionLog !== undefined) {
      const wallClock = this.#wallClock;
      this.#decisions = await DecisionLog.open(decisionLog, { metrics: this.metrics, wallClock, logger });
    }
    const budget = new PushBudget(maxInFlightBytes);
    const gateways = [...repo.sources.values()].map(
      (source) =>
        new PushGateway({
          source,
          log: this.#backend.logWriter(source),
          progress: this.#progress,
          clock: this.#wallClock,
          budget,
          recentIds,
          appliedTimeoutMs,
        }),
    );
    this.push = new EventPush(gateways, budget);
    return buildApp({
      repo,
      store: this.#backend.servingStore!,
      shards: this.#backend.shards,
      push: this.push,
      clock: this.clock,
      wallClock: this.#wallClock,
      isCatchingUp: (view) => this.#positions.isCatchingUp(view),
      gaps: {
        of: (view) => this.#gaps.of(view),
        list: () => this.#gaps.list(this.clock.nowMs()),
        acknowledge: (source) => this.#acknowledgeGaps(source),
      },
      namespaceOf: (view) => this.#bindings.active(view).namespace,
      seenMark: (view, shard) => this.#positions.seenMark(view, shard),
      readiness: () => this.readiness(),
      metrics: this.metrics,
      onRead: () => {
        this.#lastReadMs = performance.now();
      },
      ...(logger === undefined ? {} : { logger }),
      ...(limits === undefined ? {} : { limits }),
      ...(this.#decisions === null ? {} : { decisions: this.#decisions }),
    });
  }

  #operations(): Promise<FastifyInstance> {
    const { logger, limits, roles } = this.#options;
    return buildOperationsApp({
      roles: [...roles],
      clock: this.clock,
      readiness: () => this.readiness(),
      metrics: this.metrics,
      ...(logger === undefined ? {} : { logger }),
      ...(limits === undefined ? {} : { limits }),
    });
  }

  async #collect(): Promise<void> {
    const lags = this.#progress.lags();
    for (const { source, partition, records, seconds } of lags) {
      const labels = { source, partition };
      this.metrics.set('millrace_consumer_lag_records', labels, records);
      this.metrics.set('millrace_consumer_lag_seconds', labels, seconds);
    }
    countGaps(this.metrics, lags, this.#gaps.list(this.clock.nowMs()));
    const archived = this.#archives.flatMap(({ partitions }) => partitions);
    countArchiveLag(this.metrics, archived, (source, partition) =>
      this.#progress.ends(source).get(partition),
    );
    for (const { address, isOpen } of this.#backend.breakers()) {
      this.metrics.set('millrace_store_breaker_open', { node: address }, isOpen ? 1 : 0);
    }
    this.#reach?.count(this.metrics);
    for (const ingest of this.#ingests) {
      this.metrics.set(
        'millrace_partitions_assigned',
        { source: ingest.source.name },
        ingest.assigned.length,
      );
    }
    // A store that cannot be reached must not take the other metrics away.
    await this.#compaction?.countBacklog().catch(() => {});
  }
}
