/**
 * The benchmark: `card_fraud` on an engine with a preloaded history, against bare fastify and bare lmdb.
 *
 * 1. Sixty days of swipes are pushed; bare lmdb gets values of the same sizes under the same keys.
 * 2. Answers to a fixed set of questions are summed, in process and over HTTP: the checksum.
 * 3. Reads over HTTP, then reads in process: engine, bare, engine, bare …
 * 4. Writes: a chunk pushed until it is applied, then what was written put into bare lmdb; and so on.
 */
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { compose, type Embedded } from '../embedded/runtime.ts';
import { openLmdbStorage, type Storage } from '../embedded/storage.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import simulate, { type SimulatedEvent } from '../examples/card-fraud/simulator.ts';
import { type FeatureQuestion, FeatureReader } from '../serve/feature-reader.ts';
import { BareLmdb, type PresentKeys, presentKeys, WriteRecorder } from './bare-lmdb.ts';
import { bareServer, CONCURRENCY, compareHttp } from './http-reads.ts';
import { percentilesOf, Side } from './latency.ts';
import { type BenchReport, type Row, ratioOf } from './report.ts';

export interface BenchOptions {
  /** examples/card-fraud, compiled. */
  readonly repo: CompiledRepo;
  /** Events of the history. */
  readonly events: number;
  /** Measuring time of each side of each figure. */
  readonly seconds: number;
  /** @default 1 */
  readonly seed?: number;
  /** Events per push. @default 2,000 */
  readonly chunkEvents?: number;
  /** Pushes measured at least. @default 5 */
  readonly minPushes?: number;
  /** Questions that are asked in turn. @default 2,000 */
  readonly questions?: number;
  /** false: for tests. @default true */
  readonly flush?: boolean;
  /** Says what is being done. */
  readonly onProgress?: (text: string) => void;
}

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2025, 0, 1);
const HISTORY_DAYS = 60;
/** As in the published data set that the features are from. */
const CUSTOMERS = 5_000;
const TERMINALS = 10_000;
const ROUNDS = 5;
const SERVICE = 'card_fraud';
const READS_PER_TURN = 64;
const TMPFS = 0x0102_1994;

type CardEvent = SimulatedEvent['data'];

export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  const { flush = true } = options;
  const closers: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
  try {
    const recorder = new WriteRecorder();
    const storage = recorder.watch(await openLmdbStorage({ dataDir: join(directory, 'engine'), flush }));
    const engine = await compose(
      { repo: options.repo, clock: 'event', appliedTimeoutMs: 60_000, processMetrics: true },
      storage,
    );
    closers.push(() => engine.close());
    const bare = await BareLmdb.open({ path: join(directory, 'bare'), flush });
    closers.push(() => bare.close());
    return await new Bench(options, directory, { engine, storage, recorder, bare }).run();
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

interface Parts {
  readonly engine: Embedded;
  readonly storage: Storage;
  readonly recorder: WriteRecorder;
  readonly bare: BareLmdb;
}

class Bench {
  readonly #options: Required<BenchOptions>;
  readonly #parts: Parts;
  readonly #directory: string;
  readonly #reader: FeatureReader;
  readonly #swipes: Iterator<SimulatedEvent, never>;
  readonly #rows: Row[] = [];
  readonly #notes: string[] = [];

  constructor(options: BenchOptions, directory: string, parts: Parts) {
    this.#options = {
      seed: 1,
      chunkEvents: 2_000,
      minPushes: 5,
      questions: 2_000,
      flush: true,
      onProgress: () => {},
      ...options,
    };
    this.#directory = directory;
    this.#parts = parts;
    this.#reader = new FeatureReader({
      service: options.repo.services.get(SERVICE)!,
      store: parts.storage.store,
      shards: 1,
      isCatchingUp: () => false,
      onEvaluationError: (_view, error) => {
        throw error;
      },
    });
    this.#swipes = this.#simulateFrom(START_MS);
  }

  async run(): Promise<BenchReport> {
    const { onProgress, seconds } = this.#options;
    const environment = await this.#environment();
    await this.#preload();

    const atMs = this.#parts.engine.clock.nowMs();
    const pairs = this.#take(this.#simulateFrom(atMs + 1), this.#options.questions);
    const questions = pairs.map((event) => questionOf(event, atMs));
    const beforeWrites = await this.#sum(questions);
    const { bodies, answers } = await this.#answersOverHttp(pairs, beforeWrites.sum);

    onProgress(`reads over HTTP, ${2 * seconds} s …`);
    await this.#httpReads(bodies, answers);
    onProgress(`reads in process, ${2 * seconds} s …`);
    await this.#reads(questions);
    onProgress(`writes, about ${2 * seconds} s …`);
    const afterWrites = await this.#writes(pairs);

    const values = beforeWrites.values + afterWrites.values;
    return {
      checksum: `${beforeWrites.sum + afterWrites.sum} (sum of ${values} values)`,
      rows: this.#rows,
      notes: this.#notes,
      environment,
    };
  }

  /** The history, in the engine and in bare lmdb alike. */
  async #preload(): Promise<void> {
    const { events, chunkEvents, onProgress } = this.#options;
    const { engine, recorder, bare } = this.#parts;
    const startedMs = performance.now();
    for (let done = 0; done < events; ) {
      done += await this.#push(this.#take(this.#swipes, Math.min(chunkEvents, events - done)));
      await bare.replay(bare.prepare(recorder.take()));
      if (done % (10 * chunkEvents) === 0) onProgress(`preloaded ${done} of ${events} events`);
    }
    const compacted = await engine.compact();
    await bare.replay(bare.prepare(recorder.take()));
    const tookS = ((performance.now() - startedMs) / 1000).toFixed(1);
    onProgress(`preloaded ${events} events in ${tookS} s, both sides; compacted ${compacted} states`);
  }

  async #httpReads(bodies: readonly string[], answers: readonly unknown[]): Promise<void> {
    const bareTarget = bareServer(answers);
    try {
      const { engine, bare } = await compareHttp({
        engine: { app: this.#parts.engine.app, path: `/v1/services/${SERVICE}/features` },
        bare: bareTarget,
        bodies,
        rounds: ROUNDS,
        roundMs: (this.#options.seconds * 1000) / ROUNDS,
      });
      const row = { unit: 'reads', operation: 'request' } as const;
      const ratio = ratioOf(engine.rates, bare.rates);
      this.#rows.push(
        { figure: 'HTTP read: millrace', ...row, ...engine.percentiles, perSecond: engine.perSecond, ratio },
        {
          figure: 'HTTP read: bare fastify',
          ...row,
          ...bare.percentiles,
          perSecond: bare.perSecond,
          ratio: null,
        },
      );
      this.#notes.push(
        `HTTP: one client process (undici), ${CONCURRENCY} connections kept alive, one request in flight on each; ` +
          `${Math.round(engine.bytesPerAnswer)} against ${Math.round(bare.bytesPerAnswer)} bytes of JSON per answer; ` +
          `server thread busy ${percent(engine.busy)} against ${percent(bare.busy)}, ` +
          `CPU of the server ${Math.round(engine.cpuUs)} against ${Math.round(bare.cpuUs)} µs per request ` +
          `(ratio ${(bare.cpuUs / engine.cpuUs).toFixed(3)}).`,
      );
    } finally {
      await bareTarget.app.close();
    }
  }

  async #reads(questions: readonly FeatureQuestion[]): Promise<void> {
    const { bare, storage } = this.#parts;
    const present: PresentKeys[] = [];
    let asked = 0;
    for (const question of questions) {
      const found = await presentKeys(storage.store, () => this.#reader.read([question]));
      if (bare.get(found.keys) !== found.bytes)
        throw new Error('bare lmdb does not hold what the engine holds');
      present.push(found);
      asked += found.asked;
    }
    const engineSide = new Side();
    const bareSide = new Side();
    const readEngine = async (i: number): Promise<void> => {
      await this.#reader.read([questions[i]!]);
    };
    const readBare = (i: number): void => {
      bare.get(present[i]!.keys);
    };
    const roundMs = (this.#options.seconds * 1000) / ROUNDS;
    await readRound(new Side(), readEngine, questions.length, roundMs);
    await readRound(new Side(), readBare, questions.length, roundMs);
    for (let round = 0; round < ROUNDS; round++) {
      await readRound(engineSide, readEngine, questions.length, roundMs);
      await readRound(bareSide, readBare, questions.length, roundMs);
    }
    this.#compare('read', 'bare lmdb gets', { unit: 'reads', operation: 'read' }, engineSide, bareSide);
    const mean = (of: (found: PresentKeys) => number): number =>
      present.reduce((sum, found) => sum + of(found), 0) / present.length;
    this.#notes.push(
      `read: FeatureReader.read of one question, both views, against gets of the same keys and bytes in one read ` +
        `transaction: ${mean(({ keys }) => keys.length).toFixed(1)} present keys ` +
        `(of ${(asked / present.length).toFixed(1)} the engine asks for), ${Math.round(mean(({ bytes }) => bytes))} bytes.`,
    );
  }

  /** Returns the sum of the answers after the first chunk, which every run writes. */
  async #writes(pairs: readonly CardEvent[]): Promise<{ sum: number; values: number }> {
    const { chunkEvents, minPushes, seconds } = this.#options;
    const { engine, recorder, bare } = this.#parts;
    const sides = {
      push: new Side(),
      barePuts: new Side(),
      compacted: new Side(),
      bareCompacted: new Side(),
    };
    let states = 0;
    let bytes = 0;
    let checked = { sum: 0, values: 0 };
    let pushedMs = 0;
    let chunks = 0;
    // The first chunk warms up.
    for (let chunk = -1; chunk < minPushes || pushedMs < seconds * 1000; chunk++) {
      const events = this.#take(this.#swipes, chunkEvents);
      const pushMs = await timed(() => this.#push(events));
      const pushed = bare.prepare(recorder.take());
      const compactMs = await timed(() => engine.compact());
      const compacted = bare.prepare(recorder.take());
      const barePushMs = await timed(() => bare.replay(pushed));
      const bareCompactMs = await timed(() => bare.replay(compacted));
      if (chunk < 0) {
        const atMs = engine.clock.nowMs();
        checked = await this.#sum(pairs.map((event) => questionOf(event, atMs)));
        continue;
      }
      chunks++;
      states += pushed.states;
      bytes += pushed.bytes;
      pushedMs += pushMs;
      for (const [side, ms] of [
        [sides.push, pushMs],
        [sides.barePuts, barePushMs],
        [sides.compacted, pushMs + compactMs],
        [sides.bareCompacted, barePushMs + bareCompactMs],
      ] as const) {
        side.record(ms);
        side.endRound(events.length, ms / 1000);
      }
    }
    const operation = `${chunkEvents} events`;
    const row = { unit: 'events', operation } as const;
    this.#compare('write', 'bare lmdb puts', row, sides.push, sides.barePuts);
    this.#compare('write + compaction', 'bare lmdb puts', row, sides.compacted, sides.bareCompacted);
    this.#notes.push(
      `write: push with wait=applied of ${chunkEvents} events in process (decode, log append, merge, two views), one ` +
        `push at a time, against puts of the same keys and bytes in as many transactions, log included: ` +
        `${Math.round(states / chunks)} states and ${Math.round(bytes / chunks / 1024)} KiB per push; ` +
        `${chunks} pushes, so p99 and p99.9 are the slowest. The second pair adds the compaction that the push made due.`,
    );
    return checked;
  }

  #compare(
    name: string,
    bareName: string,
    row: Pick<Row, 'unit' | 'operation'>,
    engine: Side,
    bare: Side,
  ): void {
    const ratio = ratioOf(engine.rates, bare.rates);
    this.#rows.push(
      {
        figure: `${name}: millrace`,
        ...row,
        ...percentilesOf(engine.histogram),
        perSecond: engine.perSecond,
        ratio,
      },
      {
        figure: `${name}: ${bareName}`,
        ...row,
        ...percentilesOf(bare.histogram),
        perSecond: bare.perSecond,
        ratio: null,
      },
    );
  }

  async #push(events: readonly CardEvent[]): Promise<number> {
    const { push } = this.#parts.engine;
    const { accepted } = await push.push('card_transactions', events, { wait: 'applied' });
    if (accepted !== events.length) throw new Error(`${accepted} of ${events.length} events were accepted`);
    return accepted;
  }

  async #sum(questions: readonly FeatureQuestion[]): Promise<{ sum: number; values: number }> {
    const answers = await this.#reader.read(questions);
    let sum = 0;
    for (const answer of answers) {
      for (const { slot } of this.#reader.output) sum += Number(answer[slot]!.value ?? 0);
    }
    return { sum, values: answers.length * this.#reader.output.length };
  }

  /** The requests and their answers, which must add up to what is read in process. */
  async #answersOverHttp(
    pairs: readonly CardEvent[],
    expected: number,
  ): Promise<{ bodies: string[]; answers: unknown[] }> {
    const bodies = pairs.map(({ customer_id, terminal_id }) =>
      JSON.stringify({ entities: { customer_id, terminal_id } }),
    );
    const answers: { features: Record<string, number | null> }[] = [];
    let sum = 0;
    for (const payload of bodies) {
      const response = await this.#parts.engine.app.inject({
        method: 'POST',
        url: `/v1/services/${SERVICE}/features`,
        headers: { 'content-type': 'application/json' },
        payload,
      });
      const answer = response.json<{ features: Record<string, number | null> }>();
      for (const { name } of this.#reader.output) sum += answer.features[name] ?? 0;
      answers.push(answer);
    }
    if (sum !== expected) throw new Error(`answers over HTTP add up to ${sum}, in process to ${expected}`);
    return { bodies, answers };
  }

  #simulateFrom(startMs: number): Iterator<SimulatedEvent, never> {
    const { events, seed } = this.#options;
    const ratePerSecond = events / ((HISTORY_DAYS * DAY_MS) / 1000);
    return simulate({ seed, startMs, ratePerSecond, customers: CUSTOMERS, terminals: TERMINALS });
  }

  #take(swipes: Iterator<SimulatedEvent, never>, count: number): CardEvent[] {
    return Array.from({ length: count }, () => swipes.next().value.data);
  }

  async #environment(): Promise<Record<string, string | number>> {
    const { events, seconds, seed, flush } = this.#options;
    const { type } = await statfs(this.#directory);
    const processors = cpus();
    return {
      node: process.version,
      cpu: `${processors[0]?.model ?? 'unknown'} × ${processors.length}`,
      'load before': loadavg()[0]!.toFixed(2),
      data: `${this.#directory}${type === TMPFS ? ' (tmpfs: nothing reaches a disk)' : ''}, flush ${flush ? 'on' : 'off'}`,
      history: `${events} events in ${HISTORY_DAYS} days, ${CUSTOMERS} customers, ${TERMINALS} terminals, seed ${seed}`,
      measured: `${seconds} s per side and figure, in ${ROUNDS} rounds`,
    };
  }
}

function questionOf({ customer_id, terminal_id }: CardEvent, atMs: number): FeatureQuestion {
  const keys = new Map([
    ['customer_id', String(customer_id)],
    ['terminal_id', String(terminal_id)],
  ]);
  return { keys, request: {}, atMs, asked: null };
}

/** Reads for a while; only the reads themselves are timed. */
async function readRound(
  side: Side,
  read: (question: number) => Promise<void> | void,
  questions: number,
  ms: number,
): Promise<void> {
  let busyMs = 0;
  let reads = 0;
  while (busyMs < ms) {
    for (let i = 0; i < READS_PER_TURN; i++) {
      const startedMs = performance.now();
      const reading = read(reads % questions);
      if (reading !== undefined) await reading;
      const tookMs = performance.now() - startedMs;
      side.record(tookMs);
      busyMs += tookMs;
      reads++;
    }
    await immediate();
  }
  side.endRound(reads, busyMs / 1000);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
