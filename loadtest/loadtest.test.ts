/** Small load tests as people start them. Nothing is said of speed: only that everything is answered, rightly, and reported. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { describeWithServices } from '../services/index.ts';
import { goProblem, k6Problem } from '../services/k6/k6.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { checkout, MillraceProcess, temporaryDirectory } from '../test/millrace-process.ts';
import type { LoadReport } from './load-report.ts';

const problem = k6Problem();

/** Without Go there is no k6 to be had here, and nobody's fault; with Go, `services/run.mjs prepare` has built it. */
function describeWithK6(title: string, services: readonly ('kafka' | 'redis')[], body: () => void): void {
  if (problem === null) describeWithServices(services, title, body);
  else if (process.env.REQUIRE_SERVICES === '1' && goProblem() === null) {
    describe(title, () => {
      test('has k6', () => {
        throw new Error(`REQUIRE_SERVICES=1, but ${problem}`);
      });
    });
  } else describe.skip(`${title} [${problem}]`, body);
}

const TIMEOUT_MS = 240_000;
const ARGUMENTS = ['--conditions=source', '--import', 'tsx', join(checkout, 'loadtest/run.ts')];

let directory = '';

/** Processes that name the directory, or work in it: of the run. */
function processesOf(path: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes(path) || readlinkSync(`/proc/${pid}/cwd`).startsWith(path);
      } catch {
        // Gone meanwhile, or somebody else's.
        return false;
      }
    });
}

/** Elsewhere it is not known. */
const ON_LINUX = existsSync('/proc/self/stat');

function expectNothingLeft(): void {
  if (ON_LINUX) expect(processesOf(directory)).toEqual([]);
}

function start(...args: readonly string[]): MillraceProcess {
  directory = temporaryDirectory();
  // Servers and engines of the run have their data there, and name it.
  const env = { TMPDIR: directory };
  return new MillraceProcess(process.execPath, [...ARGUMENTS, ...args, '--out', join(directory, 'out')], {
    env,
    ownGroup: true,
  });
}

/** Resolves when k6 sends requests. */
async function untilLoad(run: MillraceProcess): Promise<void> {
  let ended = false;
  void run.exited.then(() => {
    ended = true;
  });
  await waitUntil(() => ended || /^load: /m.test(run.stderr), { what: 'load', timeoutMs: TIMEOUT_MS });
  if (ended) throw new Error(`ended before there was load:\n${run.stderr}`);
}

const report = (): LoadReport => JSON.parse(readFileSync(join(directory, 'out/report.json'), 'utf8'));

/** All but figures of time, which are the machine's; so is whether it has to refuse some for now. */
function expectAnswered({ rows, judgements, series }: LoadReport): void {
  expect(rows.map(({ phase }) => phase)).toEqual(['warm_up', 'steady']);
  for (const { asked, admitted, shed, dropped, failed, wrong, latency } of rows) {
    expect({ failed, wrong }).toEqual({ failed: 0, wrong: 0 });
    expect(admitted).toBeGreaterThan(0);
    expect(latency!.p50Ms).toBeGreaterThan(0);
    expect(latency!.p999Ms).toBeGreaterThanOrEqual(latency!.p50Ms);
    // One more or less at the edges of the phase; a k6 without CPU sends less.
    expect(admitted + shed + dropped).toBeLessThanOrEqual(4 * asked + 2);
    expect(admitted + shed + dropped).toBeGreaterThan(asked);
  }
  for (const slo of ['steady: errors 0', 'wrong answers 0'])
    expect(judgements.find((one) => one.slo === slo)?.ok, slo).toBe(true);
  expect(series.filter(({ answers, latency }) => answers > 0 && latency !== null).length).toBeGreaterThan(1);
}

function expectReported(output: string): void {
  expect(output).toMatch(/^phase +asked\/s +achieved\/s +p50 +p95 +p99 +p99\.9 .* errors +shed +dropped/m);
  const html = readFileSync(join(directory, 'out/report.html'), 'utf8');
  for (const title of ['Latency', 'Throughput']) expect(html).toContain(`>${title}</text>`);
  expect(html.match(/<polyline /g)!.length).toBeGreaterThan(5);
  expect(html).not.toMatch(/(?:src|href)=|NaN|undefined|Infinity/);
}

afterEach(() => {
  // Also where a test failed before it looked.
  directory = '';
});

describeWithK6('npm run loadtest, embedded', [], () => {
  // Of the logins a filter leaves events out.
  test.each(['swipe', 'login'])(
    '%s: everything is answered and recorded, and reported',
    { timeout: TIMEOUT_MS },
    async (scenario) => {
      const run = start(scenario, '--engine', 'embedded', '--small');
      const { code } = await run.exited;
      // 1: a figure of time is not met, which says something of this machine only.
      expect(code, run.stderr).toBeLessThan(2);
      expect(run.stderr).toContain('values are what addition makes of the history');
      expectAnswered(report());
      expect(code === 0).toBe(report().judgements.every(({ ok }) => ok));
      expectReported(run.stdout);
      expectNothingLeft();
    },
  );

  test('overload: every row of the batches is answered', { timeout: TIMEOUT_MS }, async () => {
    const run = start('overload', '--engine', 'embedded', '--small', '--rate', '20');
    const { code } = await run.exited;
    expect(code, run.stderr).toBeLessThan(2);
    const { rows } = report();
    expect(rows.map(({ phase }) => phase)).toEqual(['warm_up', 'before', 'overload', 'recovering', 'after']);
    for (const { failed, wrong, goodput } of rows) {
      expect({ failed, wrong }).toEqual({ failed: 0, wrong: 0 });
      expect(goodput).toBeGreaterThan(0);
    }
    expectNothingLeft();
  });

  test.skipIf(!ON_LINUX)('Ctrl-C ends everything', { timeout: TIMEOUT_MS }, async () => {
    const run = start('swipe', '--engine', 'embedded', '--small', '--duration', '600');
    await untilLoad(run);
    expect(processesOf(directory).length).toBeGreaterThan(1);
    process.kill(-run.child.pid!, 'SIGINT');
    expect((await run.exited).code).toBe(130);
    expectNothingLeft();
    expect(existsSync(join(directory, 'out/report.json'))).toBe(false);
  });

  test.skipIf(!ON_LINUX)(
    'a failure of the engine is one of the run, and ends everything',
    {
      timeout: TIMEOUT_MS,
    },
    async () => {
      const run = start('swipe', '--engine', 'embedded', '--small', '--duration', '600');
      await untilLoad(run);
      const engine = processesOf(directory).find((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('bin/millrace.js'),
      );
      process.kill(Number(engine), 'SIGKILL');
      expect((await run.exited).code).toBe(1);
      expect(run.stderr).toContain('up has ended while the load was on');
      expectNothingLeft();
    },
  );
});

describeWithK6('npm run loadtest, roles', ['kafka', 'redis'], () => {
  test('mixed: requests are answered while events stream through Kafka', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const run = start('mixed', '--small');
    const { code } = await run.exited;
    expect(code, run.stderr).toBeLessThan(2);
    expectAnswered(report());
    expectReported(run.stdout);
    expect(report().notes.join('\n')).toMatch(/acknowledged → visible of \d\d+ of them/);
    expect(report().usage.processes.map(({ name }) => name)).toEqual([
      'serve',
      'ingest',
      'compact',
      'Redis',
      'Kafka',
      'k6',
    ]);
    expectNothingLeft();
  });
});

test('arguments that make no sense are refused before anything is started', async () => {
  const run = start('swipe', '--engine', 'cluster');
  expect((await run.exited).code).toBe(2);
  expect(run.stderr).toContain("--engine must be roles or embedded, not 'cluster'");
}, 120_000);
