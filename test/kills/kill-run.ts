/**
 * SIGKILL again and again on the same data, while the engine opens, ingests, compacts and closes: every event that was
 * acknowledged is there, once, and nothing is left to be applied. A second process is refused the directory meanwhile,
 * also one that asks for it in the moment of the kill.
 *
 * The seed decides what is pushed and when to kill, not what the machine makes of it: a run is repeated in kind only.
 * A killed process leaves what it wrote to the kernel: what a power failure takes is not tested here.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openLmdbStorage } from '../../embedded/storage.ts';
import { DirectoryLockedError } from '../../engine/store/directory-lock.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { checkDirectory, KillBooks } from './kill-check.ts';
import { KilledEngine } from './killed-engine.ts';

/** What the engine was about when it was killed, by what it had said. */
export type KilledWhile = 'opening' | 'ingesting' | 'compacting' | 'closing';

export interface KillCounts {
  kills: number;
  readonly killedWhile: Record<KilledWhile, number>;
  /** Processes that had closed in order before the signal came. */
  closed: number;
  acknowledgedPushes: number;
  unansweredPushes: number;
  /** Starts that said that nothing was left to be applied. */
  restarts: number;
  /** Second processes that were refused the directory. */
  refused: number;
  /** Second processes that asked in the moment of a kill, and got the directory when the first was gone. */
  tookOver: number;
  checks: number;
  values: number;
}

export interface KillRunOptions {
  readonly times: number;
  readonly seed: number;
  /** @param counts the same object, as it is now */
  readonly onKill?: (counts: KillCounts) => void;
}

const CHECK_EVERY = 10;
/** Then another data directory, so that a check does not take ever longer. */
const KILLS_PER_DIRECTORY = 50;
const PUSHES_BEFORE_MAX = 25;
/** How much later than its cause a kill may come, ms. */
const INGEST_DELAY_MS_MAX = 30;
const COMPACTION_DELAY_MS_MAX = 4;
const CONTENDER_DELAY_MS_MAX = 10;
/** Opening and closing take about as long as last time. */
const FIRST_GUESS_MS = { opening: 60, closing: 20 };

/** @throws with the seed, where anything is not as promised */
export async function runKills(options: KillRunOptions): Promise<KillCounts> {
  const run = new KillRun(options);
  try {
    return await run.run();
  } catch (error) {
    const { kills } = run.counts;
    throw new Error(`seed ${options.seed}, after ${kills} kills: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await run.close();
  }
}

class KillRun {
  readonly counts: KillCounts = {
    kills: 0,
    killedWhile: { opening: 0, ingesting: 0, compacting: 0, closing: 0 },
    closed: 0,
    acknowledgedPushes: 0,
    unansweredPushes: 0,
    restarts: 0,
    refused: 0,
    tookOver: 0,
    checks: 0,
    values: 0,
  };
  readonly #options: KillRunOptions;
  readonly #random: SeededRandom;
  readonly #tookMs = { ...FIRST_GUESS_MS };
  #books = new KillBooks();
  #dataDir: string | null = null;
  /** When each round began, ms: what its pushes hold follows from it. */
  readonly #startsMs: number[] = [];
  /** Loads while another works. */
  #next = new KilledEngine();
  #engine: KilledEngine | null = null;

  constructor(options: KillRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
  }

  async run(): Promise<KillCounts> {
    const { times, onKill } = this.#options;
    while (this.counts.kills < times) {
      this.#dataDir ??= await mkdtemp(join(tmpdir(), 'millrace-kills-'));
      const killed = await this.#killOne();
      if (!killed) continue;
      const { kills } = this.counts;
      const last = kills === times || kills % KILLS_PER_DIRECTORY === 0;
      if (last || kills % CHECK_EVERY === 0) await this.#checkAll();
      if (last) await this.#removeDirectory();
      onKill?.(this.counts);
    }
    return this.counts;
  }

  async close(): Promise<void> {
    for (const engine of [this.#next, this.#engine]) engine?.kill();
    await Promise.all([this.#next.ended, this.#engine?.ended]);
    await this.#removeDirectory();
  }

  /** @returns whether it was killed, rather than closed before */
  async #killOne(): Promise<boolean> {
    const engine = this.#engine ?? (await this.#start());
    this.#engine = engine;
    const before = this.#random.pick<KilledWhile>(['opening', 'ingesting', 'compacting', 'closing']);
    await this.#moment(engine, before);
    const contender = await this.#contend(engine, before);
    const killedNs = process.hrtime.bigint();
    engine.kill();
    await engine.ended;
    this.#engine = null;
    engine.assertWell();
    this.#enter(engine);
    if (engine.closed) {
      this.counts.closed++;
    } else {
      this.counts.kills++;
      this.counts.killedWhile[whatItDid(engine)]++;
    }
    if (contender !== null) await this.#settle(contender, before === 'closing' ? null : killedNs);
    return !engine.closed;
  }

  async #start(): Promise<KilledEngine> {
    const engine = this.#next;
    this.#next = new KilledEngine();
    await engine.until('loaded', () => engine.loaded);
    this.#tell(engine);
    return engine;
  }

  #tell(engine: KilledEngine): void {
    const startMs = Date.now();
    const round = this.#startsMs.push(startMs) - 1;
    const again = this.#books.unanswered().filter(() => this.#random.chance(0.5));
    engine.tell({ dataDir: this.#dataDir!, round, startMs, again });
  }

  /** Waits until it is time to kill. */
  async #moment(engine: KilledEngine, before: KilledWhile): Promise<void> {
    await engine.until('opening', () => engine.opening);
    const openingMs = performance.now();
    if (before === 'opening') {
      await this.#wait(this.#tookMs.opening);
      return;
    }
    await engine.until('ready', () => engine.readyLag !== null);
    if (engine.hasEnded) throw new Error('the engine ended by itself');
    this.#tookMs.opening = performance.now() - openingMs;
    if (engine.readyLag !== 0) throw new Error(`ready, but ${engine.readyLag} records behind the log`);
    this.counts.restarts++;
    if (this.#random.chance(0.2)) await this.#tryDirectory(engine);
    const pushes = this.#random.below(PUSHES_BEFORE_MAX);
    await engine.until('pushing', () => engine.acknowledged.size >= pushes);
    if (before === 'ingesting') await this.#wait(INGEST_DELAY_MS_MAX);
    if (before === 'compacting') {
      const { compactions } = engine;
      await engine.until('compacting', () => engine.compacting && engine.compactions > compactions);
      await this.#wait(COMPACTION_DELAY_MS_MAX);
    }
    if (before === 'closing') {
      engine.tellToClose();
      await engine.until('closing', () => engine.closing);
      const closingMs = performance.now();
      await Promise.race([this.#wait(1.2 * this.#tookMs.closing), engine.ended]);
      if (engine.closed) this.#tookMs.closing = performance.now() - closingMs;
      else this.#tookMs.closing *= 1.05;
    }
  }

  #wait(maxMs: number): Promise<void> {
    return delay((maxMs * this.#random.below(1_000)) / 1_000);
  }

  /** This process is a second one on the directory. */
  async #tryDirectory(engine: KilledEngine): Promise<void> {
    try {
      const storage = await openLmdbStorage({ dataDir: this.#dataDir! });
      await storage.close();
    } catch (error) {
      if (!(error instanceof DirectoryLockedError)) throw error;
      this.#assertRefusal(error.message, engine);
      return;
    }
    throw new Error('the directory was given to a second process');
  }

  /** Sometimes another process asks for the directory in the moment of the kill. */
  async #contend(engine: KilledEngine, before: KilledWhile): Promise<KilledEngine | null> {
    if (before === 'opening' || !this.#random.chance(0.3)) return null;
    const contender = this.#next;
    await contender.until('loaded', () => contender.loaded);
    this.#enter(engine);
    this.#tell(contender);
    await this.#wait(CONTENDER_DELAY_MS_MAX);
    return contender;
  }

  /**
   * @param killedNs when the first process was killed; null: it may have given the directory free before
   * @throws where both had it at one time, or the refusal does not say why
   */
  async #settle(contender: KilledEngine, killedNs: bigint | null): Promise<void> {
    await contender.until('open or refused', () => contender.openedNs !== null || contender.refused !== null);
    if (contender.refused !== null) {
      this.#assertRefusal(contender.refused, null);
      return;
    }
    if (killedNs !== null && contender.openedNs! < killedNs) {
      throw new Error('two processes had the directory open at once');
    }
    this.counts.tookOver++;
    this.#engine = contender;
    this.#next = new KilledEngine();
  }

  /** @param engine who has it; null: it may be gone by now */
  #assertRefusal(message: string, engine: KilledEngine | null): void {
    const pid = engine === null ? '\\d+' : String(engine.child.pid);
    const said = new RegExp(
      `is in use: (another process|process ${pid}) has it open\\. .* stop that process or`,
    );
    if (!said.test(message)) throw new Error(`refused with: ${message}`);
    this.counts.refused++;
  }

  /** What it has sent and what was acknowledged; more may follow until it has ended. */
  #enter(engine: KilledEngine): void {
    const { sent, acknowledged } = this.#books;
    for (const name of engine.sent) {
      const [round, number] = name.split(' ').map(Number) as [number, number];
      if (!sent.has(name)) sent.set(name, { round, number, startMs: this.#startsMs[round]! });
    }
    for (const name of engine.acknowledged) acknowledged.add(name);
  }

  async #checkAll(): Promise<void> {
    // One that took the directory over has it.
    if (this.#engine !== null) {
      const engine = this.#engine;
      this.#engine = null;
      engine.kill();
      await engine.ended;
      this.#enter(engine);
    }
    const { values } = await checkDirectory(this.#dataDir!, this.#books);
    this.counts.checks++;
    this.counts.values += values;
  }

  async #removeDirectory(): Promise<void> {
    this.counts.acknowledgedPushes += this.#books.acknowledged.size;
    this.counts.unansweredPushes += this.#books.sent.size - this.#books.acknowledged.size;
    this.#books = new KillBooks();
    if (this.#dataDir !== null) await rm(this.#dataDir, { recursive: true, force: true, maxRetries: 5 });
    this.#dataDir = null;
  }
}

function whatItDid(engine: KilledEngine): KilledWhile {
  if (engine.closing) return 'closing';
  if (engine.readyLag === null) return 'opening';
  return engine.compacting ? 'compacting' : 'ingesting';
}
