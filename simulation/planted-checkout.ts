/** A copy of the checkout, as it is on the disk, in which one mistake at a time is planted and tests are run. */
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { plantedIn, SOURCE_MUTATIONS } from './source-mutations.ts';

const checkout = fileURLToPath(new URL('../', import.meta.url));
/** Not copied, but used: what was installed and downloaded. */
const SHARED = ['node_modules', '.services'];
/** The end of what a run wrote, where it says nothing better. */
const TAIL_CHARACTERS = 2_000;

export interface TestRun {
  readonly passed: number;
  /** The first test that failed; null: none did. */
  readonly failed: { readonly title: string; readonly message: string } | null;
}

interface JsonReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

export class PlantedCheckout {
  readonly #root = mkdtempSync(join(tmpdir(), 'millrace-mutations-'));

  constructor() {
    const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const { status, stdout, stderr } = spawnSync('git', list, { cwd: checkout, encoding: 'utf8' });
    if (status !== 0) throw new Error(`git ls-files failed: ${stderr}`);
    for (const path of stdout.split('\0')) {
      const stat = statSync(join(checkout, path), { throwIfNoEntry: false });
      if (path === '' || stat === undefined || !stat.isFile()) continue;
      mkdirSync(dirname(join(this.#root, path)), { recursive: true });
      copyFileSync(join(checkout, path), join(this.#root, path));
      // Whether an installation is stale is told by times.
      utimesSync(join(this.#root, path), stat.atime, stat.mtime);
    }
    for (const name of SHARED) {
      mkdirSync(join(checkout, name), { recursive: true });
      symlinkSync(join(checkout, name), join(this.#root, name));
    }
  }

  /** With one mistake, until `run` has ended. */
  async with<T>(name: string, run: () => Promise<T>): Promise<T> {
    const path = join(this.#root, SOURCE_MUTATIONS[name]!.file);
    const source = readFileSync(path, 'utf8');
    writeFileSync(path, plantedIn(source, name));
    try {
      return await run();
    } finally {
      writeFileSync(path, source);
    }
  }

  /**
   * Runs test files up to the first failure.
   * @throws where no test failed and the run did not pass either: it shows nothing
   */
  async test(files: readonly string[]): Promise<TestRun> {
    const report = join(this.#root, 'report.json');
    rmSync(report, { force: true });
    const vitest = join(this.#root, 'node_modules/vitest/vitest.mjs');
    const args = [vitest, 'run', '--bail', '1', '--reporter', 'json', '--outputFile', report, ...files];
    const child = spawn(process.execPath, args, {
      cwd: this.#root,
      // A test that is skipped would pass.
      env: { ...process.env, REQUIRE_SERVICES: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-TAIL_CHARACTERS);
      });
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject).once('close', resolve);
    });
    const found = readReport(report);
    const passed = found.filter(({ status }) => status === 'passed').length;
    const failure = found.find(({ status }) => status === 'failed');
    if (failure === undefined && (code !== 0 || passed === 0)) {
      throw new Error(`${files.join(' ')}: no test failed, but the run ended with ${code}\n${output}`);
    }
    return {
      passed,
      failed:
        failure === undefined
          ? null
          : { title: failure.fullName, message: firstLine(failure.failureMessages[0] ?? '') },
    };
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true, maxRetries: 5 });
  }
}

function readReport(file: string): JsonReport['testResults'][number]['assertionResults'] {
  try {
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as JsonReport;
    return testResults.flatMap(({ assertionResults }) => assertionResults);
  } catch {
    // The run ended before it wrote one.
    return [];
  }
}

const firstLine = (text: string): string => text.split('\n')[0]!;
