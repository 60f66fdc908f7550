/**
 * Power losses of embedded mode. A process under load is recorded and killed; then the power is made to fail at many
 * moments of what was recorded, and what each leaves on the disk is opened:
 *
 * - every event that was acknowledged by then is in the log, once, as it was pushed; so is every event that a former
 *   start has found there;
 * - the store is, byte for byte of its keys and values, what one of its transactions had made of it, and none that is
 *   older than the newest flushed one;
 * - after it has caught up, the engine's features are those of the events that the log holds, before and after a
 *   compaction, and no record is missing.
 *
 * One of these disks is what the next process starts from. Now and then a process is killed and another starts before the
 * power fails, so that the second builds on what the first had not flushed.
 *
 * Not covered: a disk that reorders what it was told to flush, or says it has without having; hardware that writes less
 * than a sector of 512 bytes; file systems that lose what was flushed.
 */
import { readFileSync, realpathSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../../engine/testing/random.ts';
import { type Disk, EMPTY_DISK, readDisk, writeDisk } from './disk.ts';
import type { Examination, StoreContent } from './examination.ts';
import { ExaminerProcess, SOURCE_ARGS } from './examiner-process.ts';
import { SOURCES, type SourceName } from './purchases.ts';
import { LEFTOVERS, type Leftovers, type Lie, RecordedDisk } from './recorded-disk.ts';
import { type StoreCommits, storeAt, storeCommits } from './store-commits.ts';
import { readRecords, type WriteRecord } from './write-record.ts';
import { startRecorded } from './write-recorder.ts';

export interface PowerLossOptions {
  readonly seed: number;
  /** From `compileRecorder`. */
  readonly library: string;
  /** Empty; a tmpfs is best. */
  readonly directory: string;
  /** Moments tried per recording. */
  readonly momentsPerRecording: number;
  /** Moments tried in addition while an empty directory is filled for the first time. @default 8 */
  readonly momentsAtCreation?: number;
  /** Moments tried in addition after a second process has begun. @default 8 */
  readonly momentsAtRestart?: number;
  /** Processes per recording. @default one, or two in three of ten */
  readonly lives?: number;
  /** false: the log is opened with `flush: false`, and must lose events. @default true */
  readonly flush?: boolean;
}

/** A disk that broke a promise, and where it came from. */
export interface Loss {
  readonly recording: number;
  readonly record: number;
  readonly leftovers: Leftovers;
  readonly problems: readonly string[];
}

export interface Totals {
  recordings: number;
  kills: number;
  powerLosses: number;
  writes: number;
  flushes: number;
  /** Bytes not flushed when the power failed, of all power losses. */
  unflushedBytes: number;
  /** Power losses after which the store was an older transaction than the newest visible one. */
  olderStores: number;
  /** Events acknowledged when the power failed, of all power losses: each was looked for. */
  acknowledged: number;
}

type Numbers = Record<SourceName, Set<number>>;

/** Where a recording starts from. */
interface Start {
  readonly disk: Disk;
  readonly store: StoreContent;
  /** Events that must be there. */
  readonly events: Numbers;
}

const DATA_DIR = 'data';
const NOTHING: StoreContent = { transaction: 0, hash: '' };
const NEW_START: Start = {
  disk: EMPTY_DISK,
  store: NOTHING,
  events: { purchases: new Set(), visits: new Set() },
};
/** A number beyond every event of former recordings. */
const NUMBERS_PER_RECORDING = 1_000_000;
const MAX_NUMBER = 2 ** 31;
/** What a process that starts has written before and soon after it is open. */
const RESTART_RECORDS = 150;

export class PowerLossRun {
  readonly totals: Totals = {
    recordings: 0,
    kills: 0,
    powerLosses: 0,
    writes: 0,
    flushes: 0,
    unflushedBytes: 0,
    olderStores: 0,
    acknowledged: 0,
  };
  readonly #options: PowerLossOptions;
  readonly #random: SeededRandom;
  readonly #examiner = new ExaminerProcess();
  readonly #live: string;
  readonly #left: string;
  readonly #journal: string;
  #start: Start = NEW_START;
  #records: WriteRecord[] = [];
  #nextNumber = 0;
  /** By the record that completed it. */
  #transactions = new Map<number, Promise<StoreContent>>();

  constructor(options: PowerLossOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    const directory = realpathSync(options.directory);
    this.#live = join(directory, 'live');
    this.#left = join(directory, 'left');
    this.#journal = join(directory, 'journal');
  }

  close(): Promise<void> {
    return this.#examiner.close();
  }

  /** Records a process that lives until it has acknowledged something. */
  async recordOpened(): Promise<void> {
    do await this.record();
    while (
      !this.#records.some((record) => record.kind === 'output' && record.text.startsWith('acknowledged'))
    );
  }

  /** Records one or two processes, from what the former recording's power loss has left, or from nothing. */
  async record(): Promise<void> {
    const random = this.#random;
    if (random.chance(0.25) || this.#nextNumber + NUMBERS_PER_RECORDING > MAX_NUMBER) this.#start = NEW_START;
    writeDisk(this.#live, this.#start.disk);
    rmSync(this.#journal, { force: true });
    this.#records = [];
    this.#transactions = new Map();
    this.totals.recordings++;
    const bootId = `${random.hex64().slice(0, 8)}-0000-0000-0000-000000000000`;
    const lives = this.#options.lives ?? (random.chance(0.3) ? 2 : 1);
    for (let life = 0; life < lives; life++) await this.#recordLife(bootId);
    for (const record of this.#records) {
      if (record.kind === 'write') this.totals.writes++;
      if (record.kind === 'flush' || record.kind === 'synced') this.totals.flushes++;
    }
  }

  /** Lets the power fail at moments of the recording, and looks at what is left. The next recording starts from there. */
  async explore(): Promise<Loss[]> {
    const { losses, left } = await this.#explore(this.#moments(), Object.keys(LEFTOVERS) as Leftovers[]);
    // A disk that has lost what it must not lose is nothing to go on from.
    this.#start = losses.length === 0 && left !== null ? left : NEW_START;
    return losses;
  }

  /**
   * Lets the power fail right after some acknowledgements, and everything unflushed be lost. For checks of this check: on
   * a disk that lies there must be losses.
   */
  async loseEverythingUnflushed(moments: number, lie?: Lie): Promise<Loss[]> {
    const acknowledgements = this.#records.flatMap((record, number) =>
      record.kind === 'output' && record.text.startsWith('acknowledged') ? [number + 1] : [],
    );
    const chosen = Array.from({ length: moments }, () => this.#random.pick(acknowledgements));
    const { losses } = await this.#explore(
      chosen.sort((a, b) => a - b),
      ['none'],
      lie,
    );
    return losses;
  }

  async #explore(
    moments: readonly number[],
    allowed: readonly Leftovers[],
    lie?: Lie,
  ): Promise<{ losses: Loss[]; left: Start | null }> {
    const losses: Loss[] = [];
    const disk = new RecordedDisk(this.#start.disk, this.#records, lie);
    const commits = storeCommits(this.#records);
    let next: Start | null = null;
    for (const [i, record] of moments.entries()) {
      disk.advance(record);
      const leftovers = this.#random.pick(allowed);
      const left = disk.afterPowerLoss(leftovers, this.#random);
      const acknowledged = this.#acknowledgedBefore(record);
      this.totals.powerLosses++;
      this.totals.unflushedBytes += disk.unflushedBytes();
      for (const source of SOURCES) this.totals.acknowledged += acknowledged[source].size;
      const { problems, examination } = await this.#examine(left, acknowledged, { commits, record });
      if (problems.length > 0)
        losses.push({ recording: this.totals.recordings, record, leftovers, problems });
      else if (examination !== null && i === moments.length - 1) {
        const events = {
          purchases: new Set(examination.logged.purchases),
          visits: new Set(examination.logged.visits),
        };
        next = { disk: left, store: examination.store, events };
      }
    }
    return { losses, left: next };
  }

  async #recordLife(bootId: string): Promise<void> {
    const random = this.#random;
    const { library, flush = true } = this.#options;
    const child = startRecorded(
      [
        ...SOURCE_ARGS,
        fileURLToPath(new URL('./purchases-load.ts', import.meta.url)),
        join(this.#live, DATA_DIR),
        String(this.#nextNumber),
        String(random.uint32()),
        flush ? 'flush' : 'no-flush',
      ],
      {
        library,
        watch: this.#live,
        journal: this.#journal,
        firstRecord: this.#records.length,
        flushUs: random.pick([0, 2_000, 20_000]),
        seed: random.uint32(),
        bootId,
      },
    );
    this.#nextNumber += NUMBERS_PER_RECORDING / 8;
    // In the midst of the opening, or after so many acknowledgements.
    const acknowledgements = random.chance(0.15) ? 0 : random.between(1, 400);
    let stdout = '';
    let stderr = '';
    let isKilled = false;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const lines = stdout.split('\n').length - 1;
      if (isKilled || lines < acknowledgements + (acknowledgements === 0 ? 1 : 2)) return;
      isKilled = true;
      child.kill('SIGKILL');
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const signal = await new Promise((resolve) => child.once('close', (_, signal) => resolve(signal)));
    if (signal !== 'SIGKILL') throw new Error(`the process under load ended by itself\n${stdout}\n${stderr}`);
    this.totals.kills++;
    this.#readJournal();
  }

  /** @throws where the process has written anything that was not recorded */
  #readJournal(): void {
    const { records, bytes } = readRecords(readFileSync(this.#journal));
    this.#records = records;
    const disk = new RecordedDisk(this.#start.disk, this.#records);
    disk.advance(this.#records.length);
    const recorded = disk.present();
    const actual = readDisk(this.#live);
    const limbo = this.#records.findLast((record) => record.kind === 'write' || record.kind === 'output');
    for (const path of new Set([...recorded.files.keys(), ...actual.files.keys()])) {
      const a = recorded.files.get(path);
      const b = actual.files.get(path);
      if (a === undefined || b === undefined || !isSame(a, b, limbo?.kind === 'write' ? limbo : null))
        throw new Error(`${path} is not as recorded: it was written in a way that the recorder does not see`);
    }
    // Killed between the recording of a write and the write: as if killed just after it.
    writeDisk(this.#live, recorded);
    truncateSync(this.#journal, bytes);
  }

  /** Ascending, the end of the recording last. */
  #moments(): number[] {
    const random = this.#random;
    const end = this.#records.length;
    const ends = this.#records.flatMap(({ kind }, number) =>
      kind === 'output' || kind === 'flush' || kind === 'synced' ? [number, number + 1] : [],
    );
    const chosen = Array.from({ length: this.#options.momentsPerRecording - 1 }, () =>
      random.chance(0.5) && ends.length > 0 ? random.pick(ends) : random.below(end + 1),
    );
    if (this.#start === NEW_START) {
      // Short, and much to go wrong.
      const opened = this.#records.findIndex(
        (record) => record.kind === 'output' && record.text === 'open\n',
      );
      const { momentsAtCreation = 8 } = this.#options;
      const before = opened === -1 ? end : opened;
      chosen.push(...Array.from({ length: momentsAtCreation }, () => random.below(before + 1)));
    }
    // What a second process does first, on what the killed one had not flushed.
    const restart = this.#records.findLastIndex(
      (record) => record.kind === 'output' && record.text === 'opening\n',
    );
    if (this.#records[restart] !== this.#records.find(({ kind }) => kind === 'output')) {
      const length = Math.min(RESTART_RECORDS, end - restart);
      const { momentsAtRestart = 8 } = this.#options;
      chosen.push(...Array.from({ length: momentsAtRestart }, () => restart + random.below(length)));
    }
    return [...chosen, end].sort((a, b) => a - b);
  }

  #acknowledgedBefore(record: number): Numbers {
    const { purchases, visits } = this.#start.events;
    const acknowledged: Numbers = { purchases: new Set(purchases), visits: new Set(visits) };
    for (const written of this.#records.slice(0, record)) {
      if (written.kind !== 'output') continue;
      for (const [, source, numbers] of written.text.matchAll(/^acknowledged (\w+) (.*)$/gm)) {
        for (const number of numbers!.split(' ')) acknowledged[source as SourceName].add(Number(number));
      }
    }
    return acknowledged;
  }

  async #examine(
    left: Disk,
    acknowledged: Numbers,
    { commits, record }: { commits: StoreCommits; record: number },
  ): Promise<{ problems: string[]; examination: Examination | null }> {
    writeDisk(this.#left, left);
    let examination: Examination;
    try {
      examination = await this.#examiner.examine({ what: 'everything', dataDir: join(this.#left, DATA_DIR) });
    } catch (error) {
      return { problems: [`it cannot be opened: ${(error as Error).message}`], examination: null };
    }
    const problems = [...examination.problems];
    for (const source of SOURCES) {
      const logged = new Set(examination.logged[source]);
      const lost = [...acknowledged[source]].filter((number) => !logged.has(number));
      if (lost.length > 0)
        problems.push(`${source}: ${lost.length} acknowledged events are lost, as ${lost[0]}`);
    }
    const { store } = examination;
    const started = this.#start.store.transaction;
    const newest = [...commits.visible].reduce(
      (max, [made, [first]]) => (first! < record && made > max ? made : max),
      started,
    );
    const certain = [...commits.flushed].reduce(
      (max, [at, made]) => (at < record && made > max ? made : max),
      started,
    );
    if (store.transaction < newest) this.totals.olderStores++;
    if (store.transaction > newest || store.transaction < certain)
      problems.push(`the store's transaction is ${store.transaction}, not one of ${certain} to ${newest}`);
    const made = commits.visible.get(store.transaction)?.findLast((at) => at < record);
    const whole = made === undefined ? this.#start.store : await this.#transaction(store.transaction, made);
    if (whole.hash !== store.hash)
      problems.push(
        `the store is damaged: it does not hold what transaction ${store.transaction} made of it`,
      );
    return { problems, examination };
  }

  /** What the store was after a transaction that the record `commit` of this recording completed. */
  #transaction(transaction: number, commit: number): Promise<StoreContent> {
    let content = this.#transactions.get(commit);
    if (content === undefined) {
      content = this.#storeAt(transaction, commit);
      this.#transactions.set(commit, content);
    }
    return content;
  }

  async #storeAt(transaction: number, commit: number): Promise<StoreContent> {
    const disk = new RecordedDisk(this.#start.disk, this.#records);
    disk.advance(commit + 1);
    writeDisk(this.#left, storeAt(transaction, disk.present()));
    const { store } = await this.#examiner.examine({ what: 'store', dataDir: join(this.#left, DATA_DIR) });
    if (store.transaction !== transaction)
      throw new Error(`transaction ${transaction} was looked for, and ${store.transaction} found`);
    return store;
  }
}

/** `limbo`: a write that was recorded and perhaps not made any more. */
function isSame(
  recorded: Buffer,
  actual: Buffer,
  limbo: { position: number; bytes: Buffer } | null,
): boolean {
  if (recorded.equals(actual)) return true;
  if (limbo === null) return false;
  const { position, bytes } = limbo;
  const without = (content: Buffer): Buffer => {
    const copy = Buffer.alloc(Math.max(recorded.length, actual.length));
    content.copy(copy);
    return copy.fill(0, position, Math.min(copy.length, position + bytes.length));
  };
  return without(recorded).equals(without(actual));
}
