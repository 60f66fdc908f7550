/** Compiles write-recorder.c with the system's compiler, and runs programs under it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const COMPILERS = ['cc', 'gcc', 'clang'];
const SOURCE = fileURLToPath(new URL('./write-recorder.c', import.meta.url));

/** Why programs cannot be recorded on this machine; null: they can. */
export function recorderProblem(): string | null {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux only';
  return findCompiler() === null ? 'no C compiler: install gcc and libc6-dev' : null;
}

function findCompiler(): string | null {
  return COMPILERS.find((name) => spawnSync(name, ['--version']).status === 0) ?? null;
}

/** Compiles the recorder into the directory. @throws where it does not compile */
export function compileRecorder(directory: string): string {
  const library = join(directory, 'write-recorder.so');
  const args = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-o', library, SOURCE, '-lpthread'];
  const { status, stderr } = spawnSync(findCompiler()!, args, { encoding: 'utf8' });
  if (status !== 0 || stderr !== '') throw new Error(`${SOURCE} does not compile\n${stderr}`);
  return library;
}

export interface RecordOptions {
  readonly library: string;
  /** Real path of the directory to watch. */
  readonly watch: string;
  /** Appended to. */
  readonly journal: string;
  /** Records that the journal holds already: a later process on the same disk goes on counting. */
  readonly firstRecord: number;
  /** Longest time that a flush takes, µs. */
  readonly flushUs: number;
  readonly seed: number;
  /** What the process takes for the machine's boot. */
  readonly bootId: string;
}

/** Starts Node under the recorder. */
export function startRecorded(args: readonly string[], options: RecordOptions): ChildProcess {
  return spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      LD_PRELOAD: options.library,
      // What the kernel writes for the process passes no function that could be replaced.
      UV_USE_IO_URING: '0',
      WRITE_RECORDER_WATCH: options.watch,
      WRITE_RECORDER_JOURNAL: options.journal,
      WRITE_RECORDER_FIRST: String(options.firstRecord),
      WRITE_RECORDER_FLUSH_US: String(options.flushUs),
      WRITE_RECORDER_SEED: String(options.seed),
      WRITE_RECORDER_BOOT_ID: options.bootId,
    },
  });
}
