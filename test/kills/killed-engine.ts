/** The process that is killed, seen from outside: what it has said so far. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { PushName } from './kill-repo.mjs';

export interface Work {
  readonly dataDir: string;
  readonly round: number;
  readonly startMs: number;
  /** Pushes of former rounds to be sent again. */
  readonly again: readonly PushName[];
}

/** No wait is longer; a process that hangs is a finding. */
const PATIENCE_MS = 30_000;

const program = fileURLToPath(new URL('./killed-engine.mjs', import.meta.url));

export class KilledEngine {
  loaded = false;
  opening = false;
  /** Monotonic clock, ns; null: it is not open. */
  openedNs: bigint | null = null;
  /** Records behind the log when it said that it was ready; null: it has not. */
  readyLag: number | null = null;
  /** Why it was refused the directory; it waits for other work. */
  refused: string | null = null;
  compacting = false;
  compactions = 0;
  closing = false;
  closed = false;
  error: string | null = null;
  /** As `ROUND NUMBER`. */
  readonly sent = new Set<string>();
  readonly acknowledged = new Set<string>();
  readonly child: ChildProcess;
  /** The process has ended and everything it said is known. */
  readonly ended: Promise<void>;
  hasEnded = false;
  #rest = '';
  #stderr = '';
  readonly #checks = new Set<() => void>();

  constructor() {
    this.child = spawn(process.execPath, [program], {
      stdio: 'pipe',
      // Nothing of the parent's is meant for it: with `--conditions=source` it would load the sources.
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    this.child.stdin!.on('error', () => {
      // It was killed before it read what it was told.
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', () => {
        this.hasEnded = true;
        this.#check();
        resolve();
      });
    });
  }

  tell(work: Work): void {
    this.opening = false;
    this.refused = null;
    this.child.stdin!.write(`${JSON.stringify(work)}\n`);
  }

  tellToClose(): void {
    this.child.stdin!.write('close\n');
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  /** Resolves when it holds, or when the process has ended. @throws where it has said that something failed */
  async until(what: string, holds: () => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#checks.delete(check);
      };
      const check = (): void => {
        if (this.error === null && !this.hasEnded && !holds()) return;
        finish();
        resolve();
      };
      const timer = setTimeout(() => {
        finish();
        this.kill();
        reject(new Error(`not ${what} within ${PATIENCE_MS} ms ${this.#describe()}`));
      }, PATIENCE_MS);
      this.#checks.add(check);
      check();
    });
    this.assertWell();
  }

  /** @throws where it has said that something failed, or complained on stderr */
  assertWell(): void {
    if (this.error !== null || this.#stderr !== '') throw new Error(`the engine failed ${this.#describe()}`);
  }

  #describe(): string {
    const { opening, openedNs, readyLag, refused, closing, closed, hasEnded, error } = this;
    const state = { opening, opened: openedNs !== null, readyLag, refused, closing, closed, hasEnded };
    return `(${JSON.stringify(state)})\n${error ?? ''}\n${this.#stderr}`;
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#say(line);
    this.#check();
  }

  #check(): void {
    for (const check of this.#checks) check();
  }

  #say(line: string): void {
    const at = line.indexOf(' ');
    const [word, rest] = at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
    switch (word) {
      case 'loaded':
        this.loaded = true;
        return;
      case 'opening':
        this.opening = true;
        return;
      case 'refused':
        this.refused = rest;
        return;
      case 'opened':
        this.openedNs = BigInt(rest);
        return;
      case 'ready':
        this.readyLag = Number(rest);
        return;
      case 's':
        this.sent.add(rest);
        return;
      case 'a':
        this.acknowledged.add(rest);
        return;
      case 'c':
        this.compacting = true;
        return;
      case 'd':
        this.compacting = false;
        this.compactions++;
        return;
      case 'closing':
        this.closing = true;
        return;
      case 'closed':
        this.closed = true;
        return;
      default:
        this.error = line;
    }
  }
}
