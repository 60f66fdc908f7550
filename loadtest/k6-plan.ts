/** What k6 is told: its options, made of the phases and SLOs of a scenario, and what its script needs of the run. */
import type { Phase } from './scenarios.ts';
import { k6Threshold, type LatencySlo, type Slo } from './slo.ts';
import { FIRST_ID } from './workload.ts';

/** Read by scenarios/answers.js. */
export interface K6Plan {
  readonly options: object;
  /** Each has metrics of its own. */
  readonly phases: readonly string[];
  /** What latencies are held against. */
  readonly limits: readonly Limit[];
  readonly slices: Slices;
  /** File with `Item`s. */
  readonly items: string;
  /** File that the summary is written to. */
  readonly summary: string;
  /** Asked when the load begins. */
  readonly begin: string;
  /** What it may fill before it collects garbage. */
  readonly memoryBytes: number;
  readonly url: string;
  readonly bareUrl: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** One answer of so many is read and checked. */
  readonly sampleEvery: number;
  /** All answers are read. */
  readonly readAll: boolean;
  /** Beside 429 and 503, refusals. */
  readonly typedStatuses: readonly number[];
  readonly degradedAllowed: boolean;
  readonly neverNull: readonly string[];
  readonly source: string;
  readonly idField: string;
  readonly timeField: string;
  readonly eventsPerPush: number;
  readonly rowsPerBatch: number;
}

/** A k6 metric of kind Rate: which share of the answers of a phase took less. */
export interface Limit {
  readonly metric: string;
  readonly phase: string;
  readonly of: LatencySlo['of'];
  readonly limitMs: number;
}

/** Stretches of the load, which k6 reports one by one: equal ones, the last may be shorter. */
export interface Slices {
  readonly ms: number;
  readonly count: number;
  readonly totalMs: number;
}

export interface Item {
  readonly entities: string;
  readonly members: string;
}

/**
 * Virtual users for answers that take so many ms: a pause of the engine is measured. More are made while they are needed, which
 * costs k6 CPU and memory just then, and requests that are due meanwhile are dropped.
 */
const USERS_FOR_MS = 200;
const USERS_MIN = 20;
/** Requests beyond the most that may wait at once are dropped, and counted. */
const WAITING_MS = 1_000;
const WAITING_MIN = 200;
const WAITING_MAX = 1_000;
/** What is under way at the end of a phase is waited for. */
const GRACEFUL_STOP = '10s';
const RAMP_SECONDS = 1;

/** k6 reports of a phase or a slice only what a threshold asks for: these are always met. */
const COUNTED = ['count>=0'];
const MEASURED = ['max>=0'];
const OF_PHASE = ['shed', 'failed', 'wrong', 'dropped_iterations'];

/** Each costs k6 a comparison for every answer. */
const SLICES_MAX = 120;
const SLICE_MS_MIN = 1_000;

const clamped = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value));

const seconds = (s: number): string => `${Math.round(1000 * s)}ms`;

/** Of whole seconds each, as short as `SLICES_MAX` allows. */
export function slicesOf(phases: readonly Phase[]): Slices {
  const totalMs = 1000 * phases.reduce((sum, phase) => sum + phase.seconds, 0);
  const ms = SLICE_MS_MIN * Math.max(1, Math.ceil(totalMs / SLICES_MAX / SLICE_MS_MIN));
  return { ms, count: Math.ceil(totalMs / ms), totalMs };
}

export function limitsOf(slos: readonly Slo[]): Limit[] {
  const byMetric = new Map<string, Limit>();
  for (const slo of slos) {
    if (slo.kind !== 'latency') continue;
    const { phase, of, limitMs } = slo;
    const { metric } = k6Threshold(slo);
    byMetric.set(metric, { metric, phase, of, limitMs });
  }
  return [...byMetric.values()];
}

export function k6Options(phases: readonly Phase[], slos: readonly Slo[]): object {
  const scenarios: Record<string, object> = {};
  const thresholds: Record<string, string[]> = {};
  let startS = 0;
  phases.forEach((phase, i) => {
    const { name, ratePerSecond, rampFrom, target = 'millrace' } = phase;
    // Whole requests per second would round low rates.
    const perMinute = Math.max(1, Math.round(60 * ratePerSecond));
    const users = Math.max(USERS_MIN, Math.ceil((ratePerSecond * USERS_FOR_MS) / 1000));
    scenarios[name] = {
      startTime: seconds(startS),
      timeUnit: '1m',
      preAllocatedVUs: Math.min(users, WAITING_MAX),
      maxVUs: clamped(Math.ceil((ratePerSecond * WAITING_MS) / 1000), WAITING_MIN, WAITING_MAX),
      gracefulStop: GRACEFUL_STOP,
      env: {
        TARGET: target,
        SERIAL: String(FIRST_ID.k6 + 1e9 * i),
        PHASE: name,
        AT_MS: String(1000 * startS),
      },
      ...(rampFrom === undefined
        ? { executor: 'constant-arrival-rate', rate: perMinute, duration: seconds(phase.seconds) }
        : {
            executor: 'ramping-arrival-rate',
            startRate: Math.round(60 * rampFrom),
            stages: [
              { duration: seconds(RAMP_SECONDS), target: perMinute },
              { duration: seconds(Math.max(0, phase.seconds - 2 * RAMP_SECONDS)), target: perMinute },
              { duration: seconds(RAMP_SECONDS), target: Math.round(60 * rampFrom) },
            ],
          }),
    };
    for (const metric of OF_PHASE) thresholds[`${metric}{scenario:${name}}`] = COUNTED;
    startS += phase.seconds;
  });
  for (const slo of slos) {
    if (slo.kind !== 'latency' && slo.kind !== 'none') continue;
    const { metric, expression } = k6Threshold(slo);
    thresholds[metric] = [...(thresholds[metric] ?? []), expression];
  }
  const measured = phases.some(({ target }) => target === 'bare') ? ['admitted', 'bare'] : ['admitted'];
  const { count } = slicesOf(phases);
  for (let slice = 0; slice < count; slice++) {
    for (const metric of measured) thresholds[`${metric}{slice:${slice}}`] = MEASURED;
    for (const metric of ['shed', 'failed']) thresholds[`${metric}{slice:${slice}}`] = COUNTED;
  }
  return {
    scenarios,
    thresholds,
    discardResponseBodies: true,
    noConnectionReuse: false,
    noVUConnectionReuse: false,
    summaryTrendStats: ['med', 'p(95)', 'p(99)', 'p(99.9)', 'max', 'count'],
    // What a series is told apart by; each costs memory and time.
    systemTags: ['scenario'],
    setupTimeout: '120s',
  };
}
