/** What k6 is told: its options, made of the phases and SLOs of a scenario, and what its script needs of the run. */
import type { Phase } from './scenarios.ts';
import { k6Threshold, type Slo } from './slo.ts';

/** Read by scenarios/answers.js. */
export interface K6Plan {
  readonly options: object;
  /** File with `Item`s. */
  readonly items: string;
  /** File that the summary is written to. */
  readonly summary: string;
  /** Asked when the load begins. */
  readonly begin: string;
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

/** k6 reports of a phase only what a threshold asks for: these are always met. */
const REPORTED = {
  count: ['shed', 'failed', 'wrong', 'dropped_iterations'],
  trend: ['admitted', 'bare', 'refused'],
};

const clamped = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value));

const seconds = (s: number): string => `${Math.round(1000 * s)}ms`;

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
      env: { TARGET: target, SERIAL: String(1e9 * i) },
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
    for (const metric of REPORTED.count) thresholds[`${metric}{scenario:${name}}`] = ['count>=0'];
    for (const metric of REPORTED.trend) thresholds[`${metric}{scenario:${name}}`] = ['max>=0'];
    startS += phase.seconds;
  });
  for (const slo of slos) {
    if (slo.kind !== 'latency' && slo.kind !== 'none') continue;
    const { metric, expression } = k6Threshold(slo);
    thresholds[metric]!.push(expression);
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
    setupTimeout: '30s',
  };
}
