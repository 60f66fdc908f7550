/**
 * Disks of a few MiB: tmpfs in a mount namespace of their own, which goes with the process that holds it. The engine
 * enters the namespace; the test looks into it through /proc.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, onTestFinished } from 'vitest';
import { MillraceProcess, millraceBinary } from './millrace-process.ts';

/** `describe` where disks can be mounted; elsewhere the tests are skipped, and the title says why. */
export function describeWithSmallDisks(title: string, body: () => void): void {
  const { status, stderr, error } = spawnSync(
    'unshare',
    ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=1m tmpfs /mnt && exec nsenter --version'],
    { encoding: 'utf8' },
  );
  if (status === 0) describe(title, body);
  else
    describe.skip(`${title} [no disks: unshare --mount: ${error?.message ?? String(stderr).trim()}]`, body);
}

export class SmallDisks {
  readonly #holder: ChildProcess;

  /** @param sizes path → size as mount takes it; the paths exist */
  static async mount(sizes: Readonly<Record<string, string>>): Promise<SmallDisks> {
    const mounts = Object.entries(sizes).map(
      ([path, size]) => `mount -t tmpfs -o size=${size} tmpfs ${path} &&`,
    );
    // `cat` ends with the test process, which holds its input.
    const script = `${mounts.join(' ')} echo mounted && exec cat`;
    const holder = spawn('unshare', ['--mount', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void holder.kill('SIGKILL'));
    const [said] = await Promise.race([once(holder.stdout!, 'data'), once(holder, 'close')]);
    if (String(said).trim() !== 'mounted') throw new Error('the disks could not be mounted');
    return new SmallDisks(holder);
  }

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  /** What the engine sees at this path, as this process has to name it. */
  path(path: string): string {
    return join(`/proc/${this.#holder.pid}/root`, path);
  }

  /** Takes room on the disk of this directory until `free` is called. */
  fill(directory: string, bytes: number): void {
    writeFileSync(this.path(join(directory, 'filler')), Buffer.alloc(bytes));
  }

  free(directory: string): void {
    rmSync(this.path(join(directory, 'filler')));
  }

  /** `millrace up` on a free port, with the disks. */
  up(args: readonly string[]): MillraceProcess {
    return this.run(['up', '--port', '0', ...args]);
  }

  /** Any command of `millrace`, with the disks. */
  run(args: readonly string[]): MillraceProcess {
    const command = ['--mount', '--target', `${this.#holder.pid}`, process.execPath, millraceBinary];
    return new MillraceProcess('nsenter', [...command, ...args]);
  }
}
