/** One load test from the first process to the last: system, history, load, judgement. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { loadClient } from '../bench/http-reads.ts';
import type { BareReaderAnswer, BareReaderOrder } from '../bench/roles/bare-reader.ts';
import { NODE_FLAGS } from '../bench/roles/engine-process.ts';
import { type Entities, planQuestions } from '../bench/roles/plan-questions.ts';
import type { Scope } from '../bench/roles/scope.ts';
import { Worker } from '../bench/worker.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { K6 } from '../services/k6/k6.ts';
import { identify } from '../services/process/process-identity.ts';
import { checkAnswers } from './answer-check.ts';
import type { StreamAnswer, StreamOrder } from './event-stream.ts';
import { htmlReport } from './html-report.ts';
import { judge } from './judge.ts';
import { type Item, k6Options, limitsOf, slicesOf } from './k6-plan.ts';
import { type K6Memory, type K6Result, k6Memory, runK6 } from './k6-run.ts';
import type { LoadReport, PhaseRow } from './load-report.ts';
import { type MachineUsage, UsageMeter } from './process-usage.ts';
import {
  type EngineMode,
  EVENTS_PER_PUSH,
  type Load,
  type Phase,
  ROWS_PER_BATCH,
  type Scenario,
  type ScenarioName,
  scenarioOf,
} from './scenarios.ts';
import { Scheduling } from './scheduling.ts';
import { type System, startEmbedded, startRoles } from './system.ts';
import { timeSeries } from './time-series.ts';
import { historyEvents, WORKLOADS, type Workload } from './workload.ts';

export interface LoadTestOptions {
  readonly name: ScenarioName;
  readonly mode: EngineMode;
  /** Requests per second; null: the scenario's, or measured where it has none. */
  readonly ratePerSecond: number | null;
  /** Of the scenario's main phase. */
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** Events of the history. */
  readonly history: number;
  /** Of the first entity; the second has fewer. */
  readonly keys: number;
  readonly seed: number;
  readonly bare: boolean;
  /** What requests and events wait for is real-time, where the system permits it. */
  readonly realtime: boolean;
  /** Where the report goes; made where it is missing. */
  readonly directory: string;
  readonly profile: string | null;
  readonly k6: K6;
  /** Of the workload, compiled; only to compare with the bare route. */
  readonly repo: CompiledRepo | null;
  readonly onProgress: (text: string) => void;
}

/** Different requests, which come again and again. */
const ITEMS = 5_000;
const CHECKED_QUESTIONS = 10;
const SAMPLE_EVERY = 50;
/** k6 gives an answer up after that. */
const TIMEOUT_MS = 10_000;
/** Refusals that say why, beside 429 and 503: the deadline is over. */
const TYPED_STATUSES = [504];
const CAPACITY_SECONDS = 5;
/** Enough to have one at work while others wait for the store, and so few that none is refused. */
const CAPACITY_IN_FLIGHT = 3;
/** Of what is answered with these in flight; beyond it, k6 has no core left on a small machine. */
const SUSTAINABLE_SHARE = 0.5;
const SAY_EVERY_MS = 10_000;
const LOOK_EVERY_MS = 1_000;
const PLANS_PER_ORDER = 200;

/** Everything that is started belongs to the scope. @throws where something breaks; an SLO that is not met is in the report */
export async function runLoadTest(options: LoadTestOptions, scope: Scope): Promise<LoadReport> {
  const { name, mode, seed, keys, onProgress, directory } = options;
  const scenario = scenarioOf(name);
  const workload = WORKLOADS[scenario.workload];
  mkdirSync(directory, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-loadtest-'));
  scope.defer(async () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }));
  const load1 = loadavg()[0]!;
  const engine = { directory: scratch, profile: options.profile };
  const start = mode === 'roles' ? startRoles : startEmbedded;
  const scheduling = new Scheduling(options.realtime);
  onProgress(`scheduling: ${scheduling}`);
  const system = await start({ scenario, engine, scheduling, onProgress }, scope);
  await preload(options, system, workload);

  const next = workload.draws(seed + 2, keys);
  const items = Array.from({ length: ITEMS }, (): Item => {
    const { entities, members } = next();
    return { entities, members };
  });
  const url = targetOf(scenario, workload, system);
  const ratePerSecond = options.ratePerSecond ?? (await sustainableRate(url, items, onProgress));
  const bare = options.bare ? await startBare(options, { system, scheduling, workload, items }, scope) : null;
  const load: Load = { mode, ratePerSecond, seconds: options.seconds, bare: options.bare };
  const phases = scenario.phases(load);
  const slos = scenario.slos(load);
  const measured = await putOn(
    { options, scenario, workload, system, scheduling, phases, items, url, bare, load },
    scope,
  );
  const rows = phases.map((phase) => phaseRow(phase, measured.result));
  const report: LoadReport = {
    scenario: name,
    summary: scenario.summary,
    rows,
    judgements: slos.map((slo) => judge(slo, { ...measured, phases, rows })),
    notes: notesOf(options, { scenario, measured, rows }),
    series: timeSeries(measured.result, slicesOf(phases)),
    phases,
    usage: measured.usage,
    facts: {
      engine: mode === 'roles' ? 'serve, ingest and compact over Kafka and Redis' : 'millrace up, embedded',
      history: `${options.history} events of ${keys} keys in ${workload.historyMs / 86_400_000} days, seed ${seed}`,
      scheduling: String(scheduling),
      k6: options.k6.origin,
      node: process.version,
      machine: machineText(),
      'load before': load1.toFixed(2),
      date: new Date().toISOString(),
    },
  };
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(directory, 'report.html'), htmlReport(report));
  return report;
}

function targetOf({ script }: Scenario, { service, source }: Workload, { serve }: System): string {
  if (script === 'push-events') return `${serve.url}/v1/sources/${source}/events`;
  const features = `${serve.url}/v1/services/${service}/features`;
  return script === 'read-batches' ? `${features}/batch` : features;
}

async function preload(options: LoadTestOptions, system: System, workload: Workload): Promise<void> {
  const { seed, keys, history, onProgress } = options;
  const untilMs = Date.now();
  const events = () => historyEvents(workload, { seed, keys, events: history, untilMs });
  onProgress(`history: ${history} events …`);
  const startedMs = performance.now();
  await system.fill(events(), history);
  onProgress(`history: applied and compacted in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  const next = workload.draws(seed + 2, keys);
  const compared = await checkAnswers({
    workload,
    serve: system.serve,
    history: events(),
    questions: Array.from({ length: CHECKED_QUESTIONS }, () => next().entities),
    atMs: Date.now(),
  });
  onProgress(`${compared} values are what addition makes of the history`);
}

/** A closed loop with a few batches in flight shows what can be answered; a share of it can be sustained. */
async function sustainableRate(
  url: string,
  items: readonly Item[],
  onProgress: (text: string) => void,
): Promise<number> {
  const { origin, pathname } = new URL(url);
  const client = loadClient();
  try {
    const bodies = Array.from({ length: Math.floor(items.length / ROWS_PER_BATCH) }, (_, i) => {
      const rows = items.slice(i * ROWS_PER_BATCH, (i + 1) * ROWS_PER_BATCH);
      return `{"rows":[${rows.map(({ entities }) => `{"entities":${entities}}`).join(',')}]}`;
    });
    await client.order({ kind: 'start', bodies, concurrency: CAPACITY_IN_FLIGHT }, 'done');
    const target = { kind: 'run', side: 'capacity', origin, path: pathname } as const;
    await client.order({ ...target, ms: 500 * CAPACITY_SECONDS }, 'ran');
    const { requests, seconds } = await client.order({ ...target, ms: 1000 * CAPACITY_SECONDS }, 'ran');
    const rate = Math.max(1, Math.round((SUSTAINABLE_SHARE * requests) / seconds));
    const { refused } = await client.order({ kind: 'report', side: 'capacity' }, 'report');
    onProgress(
      `${Math.round(requests / seconds)}/s with ${CAPACITY_IN_FLIGHT} in flight, ${refused} refused: ${rate}/s is taken for sustainable`,
    );
    return rate;
  } finally {
    await client.close();
  }
}

interface BareRoute {
  readonly url: string;
  readonly pid: number;
}

async function startBare(
  { repo, onProgress }: LoadTestOptions,
  args: {
    readonly system: System;
    readonly scheduling: Scheduling;
    readonly workload: Workload;
    readonly items: readonly Item[];
  },
  scope: Scope,
): Promise<BareRoute> {
  const { system, scheduling, workload, items } = args;
  onProgress('bare route: what the requests ask Redis for …');
  const different = [...new Set(items.map(({ entities }) => entities))];
  const { plans } = await planQuestions(
    {
      repo: repo!,
      service: workload.service,
      questions: different.map((entities) => JSON.parse(entities) as Entities),
      serve: system.serve,
      redis: system.redis!,
    },
    scope,
  );
  const bare = new Worker<BareReaderOrder, BareReaderAnswer>(
    new URL('../bench/roles/bare-reader.ts', import.meta.url),
    NODE_FLAGS,
  );
  scope.defer(() => bare.close());
  scheduling.first(bare.pid);
  await bare.order({ kind: 'connect', redis: system.redis! }, 'done');
  for (let at = 0; at < plans.length; at += PLANS_PER_ORDER) {
    // Events change the fields meanwhile.
    const some = plans.slice(at, at + PLANS_PER_ORDER).map((plan) => ({ ...plan, bytes: null }));
    await bare.order({ kind: 'add', plans: some }, 'done');
  }
  const { origin } = await bare.order({ kind: 'listen' }, 'listens');
  return { url: `${origin}/present`, pid: bare.pid };
}

export interface Measured {
  readonly result: K6Result;
  readonly usage: MachineUsage;
  readonly streamed: Extract<StreamAnswer, { kind: 'streamed' }> | null;
  readonly memory: K6Memory;
}

async function putOn(
  args: {
    readonly options: LoadTestOptions;
    readonly scenario: Scenario;
    readonly workload: Workload;
    readonly system: System;
    readonly scheduling: Scheduling;
    readonly phases: readonly Phase[];
    readonly items: readonly Item[];
    readonly url: string;
    readonly bare: BareRoute | null;
    readonly load: Load;
  },
  scope: Scope,
): Promise<Measured> {
  const { options, scenario, workload, system, scheduling, phases, items, url, bare, load } = args;
  const { eventsPerSecond, onProgress } = options;
  const seconds = phases.reduce((sum, phase) => sum + phase.seconds, 0);
  const stream = eventsPerSecond === 0 ? null : await startStream(args, scope);
  let meter: UsageMeter | null = null;
  let k6Pid = 0;
  let streamed: Measured['streamed'] = null;
  const timers: NodeJS.Timeout[] = [];
  const failure = new Promise<never>((_, reject) => {
    timers.push(
      setInterval(() => {
        const gone = system.processes.find(({ pid }) => identify(pid) === null);
        if (gone !== undefined) reject(new Error(`${gone.name} has ended while the load was on`));
      }, LOOK_EVERY_MS),
    );
  });
  // Where the run has failed already, that is what is said.
  failure.catch(() => {});
  const stopTimers = (): void => {
    for (const timer of timers) clearTimeout(timer);
    meter?.stop();
  };
  scope.defer(async () => stopTimers());
  const requests = phases.reduce((sum, phase) => sum + phase.ratePerSecond * phase.seconds, 0);
  const memory = k6Memory(scenario.script, requests);
  onProgress(`k6: takes ${(memory.bytes / 2 ** 30).toFixed(1)} GiB of memory before the load …`);
  const result = await runK6(
    {
      k6: options.k6,
      scenario,
      items,
      directory: options.directory,
      seconds,
      peakPerSecond: Math.max(...phases.map(({ ratePerSecond }) => ratePerSecond)),
      plan: {
        options: k6Options(phases, scenario.slos(load)),
        phases: phases.map((phase) => phase.name),
        limits: limitsOf(scenario.slos(load)),
        slices: slicesOf(phases),
        memoryBytes: memory.bytes,
        url,
        bareUrl: bare?.url ?? null,
        headers: scenario.deadlineMs === undefined ? {} : { 'x-deadline-ms': String(scenario.deadlineMs) },
        timeoutMs: TIMEOUT_MS,
        sampleEvery: SAMPLE_EVERY,
        readAll: scenario.degradedAllowed === true,
        typedStatuses: TYPED_STATUSES,
        degradedAllowed: scenario.degradedAllowed === true,
        neverNull: workload.neverNull,
        source: workload.source,
        idField: workload.idField,
        timeField: workload.timeField,
        eventsPerPush: EVENTS_PER_PUSH,
        rowsPerBatch: ROWS_PER_BATCH,
      },
      failure,
      onStart: (pid) => {
        k6Pid = pid;
        scheduling.load(pid);
      },
      onBegin: async () => {
        const startedMs = performance.now();
        meter = new UsageMeter([
          ...system.processes,
          ...(bare === null ? [] : [{ name: 'bare route', pid: bare.pid }]),
          { name: 'k6', pid: k6Pid },
        ]);
        const saying = setInterval(
          () =>
            onProgress(`${Math.round((performance.now() - startedMs) / 1000)} of ${Math.round(seconds)} s`),
          SAY_EVERY_MS,
        );
        timers.push(saying);
        onProgress(
          `load: ${phases.map((one) => `${one.name} ${Math.round(one.ratePerSecond)}/s ${Math.round(one.seconds)} s`).join(', ')}`,
        );
        let atMs = 0;
        for (const { redis = 'healthy', seconds: lasts } of phases) {
          timers.push(setTimeout(() => system.setRedis(redis), atMs));
          atMs += 1000 * lasts;
        }
        if (stream === null) return;
        streamed = await stream.order(
          { kind: 'stream', ratePerSecond: eventsPerSecond, seconds },
          'streamed',
        );
      },
    },
    scope,
  );
  const usage = meter!.stop();
  stopTimers();
  return { result, usage, streamed, memory };
}

async function startStream(
  args: {
    readonly options: LoadTestOptions;
    readonly scenario: Scenario;
    readonly system: System;
    readonly scheduling: Scheduling;
  },
  scope: Scope,
): Promise<Worker<StreamOrder, StreamAnswer>> {
  const { options, scenario, system, scheduling } = args;
  const stream = new Worker<StreamOrder, StreamAnswer>(new URL('./event-stream.ts', import.meta.url));
  scope.defer(() => stream.close());
  scheduling.second(stream.pid);
  const { seed, keys } = options;
  const { events: target, serve } = system;
  await stream.order(
    { kind: 'connect', workload: scenario.workload, target, serve: serve.url, seed, keys },
    'connected',
  );
  return stream;
}

function phaseRow(phase: Phase, result: K6Result): PhaseRow {
  const { name, seconds, target = 'millrace' } = phase;
  const count = (metric: string): number => result.count(`${metric}{scenario:${name}}`);
  const trend = result.trend(`admitted_${name}`);
  const failed = count('failed');
  const shed = count('shed');
  return {
    phase: name,
    target,
    asked: askedIn(phase) / seconds,
    achieved: (trend.count + failed + shed) / seconds,
    goodput: trend.count / seconds,
    latency:
      trend.count === 0
        ? null
        : {
            p50Ms: trend.med,
            p95Ms: trend['p(95)'],
            p99Ms: trend['p(99)'],
            p999Ms: trend['p(99.9)'],
            maxMs: trend.max,
          },
    admitted: trend.count,
    failed,
    shed,
    dropped: count('dropped_iterations'),
    wrong: count('wrong'),
  };
}

/** Requests of a phase; a ramp takes 1 s up and 1 s down. */
function askedIn({ ratePerSecond, seconds, rampFrom }: Phase): number {
  return ratePerSecond * seconds - (rampFrom === undefined ? 0 : ratePerSecond - rampFrom);
}

const BUSY_SHARE = 0.95;
/** More than a quiet host takes: then the tail is the host's. */
const STOLEN_SHARE = 0.02;
const K6_SHARE_MAX = 0.9;

function notesOf(
  { eventsPerSecond }: LoadTestOptions,
  args: { readonly scenario: Scenario; readonly measured: Measured; readonly rows: readonly PhaseRow[] },
): string[] {
  const { measured, rows } = args;
  const notes: string[] = [];
  const { streamed, usage, memory } = measured;
  const dropped = rows.reduce((sum, row) => sum + row.dropped, 0);
  const k6 = usage.processes.find(({ name }) => name === 'k6')!;
  if (dropped > 0) {
    notes.push(
      `TOO BUSY: k6 dropped ${dropped} requests, as none of its virtual users was free to send them in time: ` +
        'the engine was slower than the rate, or k6 had too little CPU. Figures are better than callers would see.',
    );
  }
  if (usage.busy + usage.stolen > BUSY_SHARE || k6.cpuShare > K6_SHARE_MAX) {
    notes.push(
      `TOO BUSY: all cores were ${percent(usage.busy)} busy, k6 took ${percent(k6.cpuShare)} of one: ` +
        'latencies hold the wait for a core, of k6 too. Give it more cores, or a lower rate.',
    );
  }
  const foreign =
    usage.busy * cpus().length - usage.processes.reduce((sum, { cpuShare }) => sum + (cpuShare || 0), 0);
  notes.push(`Processes that are none of the table took ${percent(Math.max(0, foreign))} of a core.`);
  if (usage.stolen > STOLEN_SHARE) {
    notes.push(
      `DISTURBED: the host of this virtual machine kept ${percent(usage.stolen)} of its cores from it (steal): latencies hold ` +
        'the wait for them, and CPU is less than it says. Measure again when others are quiet, or on cores of your own.',
    );
  }
  if (!memory.isEnough) {
    notes.push(
      `k6 had ${(memory.bytes / 2 ** 30).toFixed(1)} GiB, which is less than all requests of the run take: it collected garbage now ` +
        'and then, and latencies hold that. A shorter run, or a lower rate, needs less.',
    );
  }
  if (streamed !== null) {
    const { freshness, markers, perSecond } = streamed;
    notes.push(
      `Events: ${perSecond.toFixed(0)}/s sent of ${eventsPerSecond}/s; acknowledged → visible of ${markers} of them: ` +
        `p50 ${ms(freshness.p50Us)}, p99 ${ms(freshness.p99Us)}, slowest ${ms(freshness.maxUs)}, the time of an answer included.`,
    );
  }
  return notes;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
const ms = (us: number): string => `${(us / 1000).toFixed(1)} ms`;

function machineText(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  let limit = '';
  try {
    // A container's share of the machine.
    const [quota, period] = readFileSync('/sys/fs/cgroup/cpu.max', 'utf8').split(' ');
    if (quota !== 'max') limit = `, limited to ${Number(quota) / Number(period)}`;
  } catch {
    // None, or no Linux.
  }
  return `${processors[0]?.model ?? 'unknown'} (${arch()}) × ${processors.length}${limit}, ${memory} GB`;
}
