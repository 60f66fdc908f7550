/** The scenarios: which load is put on, and by what it is judged. */
import { describeSlo, type Slo } from './slo.ts';
import type { WorkloadName } from './workload.ts';

export type EngineMode = 'embedded' | 'roles';

/** A stretch of load at a rate, after the one before it. */
export interface Phase {
  /** Also the name of k6's scenario. */
  readonly name: string;
  readonly ratePerSecond: number;
  readonly seconds: number;
  /** The rate is reached from this one, in 1 s, and left again. */
  readonly rampFrom?: number;
  /** Against the bare route instead of the engine. @default millrace */
  readonly target?: 'millrace' | 'bare';
  /** What happens to Redis meanwhile, as serve sees it. @default nothing */
  readonly redis?: 'slow' | 'silent';
}

export interface Load {
  readonly mode: EngineMode;
  readonly ratePerSecond: number;
  readonly seconds: number;
  /** Turns with the bare route. */
  readonly bare: boolean;
}

export type ScenarioName = keyof typeof SCENARIOS;

export interface Scenario {
  /** One line. */
  readonly summary: string;
  /** File under scenarios/, without its extension. */
  readonly script: 'read-features' | 'read-batches' | 'score-and-ingest' | 'push-events';
  readonly workload: WorkloadName;
  /** The first is the default. */
  readonly modes: readonly EngineMode[];
  /** Requests per second by mode; null: measured at the beginning. */
  readonly rate: Readonly<Record<EngineMode, number>> | null;
  readonly seconds: number;
  /** Events that a producer of ours sends beside k6, per second. */
  readonly eventsPerSecond: number;
  /** Answers need not be complete, and say so. */
  readonly degradedAllowed?: boolean;
  /** What a caller gives an answer, ms: sent as `x-deadline-ms`. */
  readonly deadlineMs?: number;
  phases(load: Load): readonly Phase[];
  slos(load: Load): readonly Slo[];
}

/** Judged by nobody: until code is compiled, caches are filled and connections are there. */
export const WARM_UP = 'warm_up';
const WARM_UP_SECONDS = 10;
/** After a spike or a fault, before recovery is judged. */
const RECOVERY_SECONDS = 5;
const BARE_ROUNDS = 3;
export const EVENTS_PER_PUSH = 100;
/** A request of one row costs k6 more than there is left at three times the sustainable rate, where it shares two cores with the engine. */
export const ROWS_PER_BATCH = 6;
/** Three times what is sustainable. */
const OVERLOAD = 3;
export const REDIS_DELAY_MS = 50;
const DEADLINE_MS = 200;
/** What an answer may take beyond its deadline: until timers fire and it is written, on a machine at work. */
const DEADLINE_SLACK_MS = 100;

const P99_MS = 10;

const p99 = (phase: string, limitMs: number): Slo => ({
  kind: 'latency',
  phase,
  of: 'admitted',
  percentile: 99,
  limitMs,
});
const p999 = (phase: string, limitMs: number): Slo => ({
  kind: 'latency',
  phase,
  of: 'admitted',
  percentile: 99.9,
  limitMs,
});
const none = (of: 'failed' | 'shed', phase: string): Slo => ({ kind: 'none', phase, of });
const achieved = (phase: string): Slo => ({ kind: 'achieved', phase, shareMin: 0.98 });
const WRONG: Slo = { kind: 'wrong' };

/** Nothing fails, nothing is refused, and the load was really there. */
const clean = (phase: string): Slo[] => [none('failed', phase), none('shed', phase), achieved(phase)];

const warmUp = (ratePerSecond: number, seconds: number): Phase => ({
  name: WARM_UP,
  ratePerSecond,
  seconds: Math.min(WARM_UP_SECONDS, seconds),
});

function steady({ ratePerSecond, seconds }: Load): Phase[] {
  return [warmUp(ratePerSecond, seconds), { name: 'steady', ratePerSecond, seconds }];
}

/** The engine and the bare route, at the same rate. */
function inTurns({ ratePerSecond, seconds }: Load): Phase[] {
  const warm = warmUp(ratePerSecond, seconds);
  const turns = Array.from({ length: BARE_ROUNDS }, (_, i): Phase[] => {
    const turn = { ratePerSecond, seconds: seconds / BARE_ROUNDS };
    return [
      { ...turn, name: `steady_${i + 1}` },
      { ...turn, name: `bare_${i + 1}`, target: 'bare' },
    ];
  });
  return [warm, { ...warm, name: `${WARM_UP}_bare`, target: 'bare' }, ...turns.flat()];
}

const freshnessOf = ({ mode }: Load): Slo => ({ kind: 'freshness', limitMs: mode === 'roles' ? 100 : 20 });

export const SCENARIOS = {
  swipe: {
    summary: 'a swipe is scored and recorded in one call: features with the event, and `ingest`',
    script: 'score-and-ingest',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: { roles: 500, embedded: 1_000 },
    seconds: 60,
    eventsPerSecond: 0,
    phases: steady,
    slos: () => [p99('steady', P99_MS), ...clean('steady'), WRONG],
  },
  login: {
    summary: 'a login is scored and recorded in one call, over windows of minutes',
    script: 'score-and-ingest',
    workload: 'logins',
    modes: ['roles', 'embedded'],
    rate: { roles: 500, embedded: 1_000 },
    seconds: 60,
    eventsPerSecond: 0,
    phases: steady,
    slos: () => [p99('steady', P99_MS), ...clean('steady'), WRONG],
  },
  push: {
    summary: `pushes of ${EVENTS_PER_PUSH} events over HTTP`,
    script: 'push-events',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: { roles: 20, embedded: 20 },
    seconds: 60,
    eventsPerSecond: 0,
    phases: steady,
    slos: () => [p99('steady', 100), ...clean('steady'), WRONG],
  },
  mixed: {
    summary: 'feature requests while events stream in, through Kafka where there is one, and compaction runs',
    script: 'read-features',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: { roles: 1_000, embedded: 1_000 },
    seconds: 60,
    eventsPerSecond: 500,
    phases: (load) => (load.bare ? inTurns(load) : steady(load)),
    slos: (load) =>
      load.bare
        ? [
            { kind: 'bare', ratioMax: 1.5 },
            ...Array.from({ length: BARE_ROUNDS }, (_, i) => clean(`steady_${i + 1}`)).flat(),
            WRONG,
          ]
        : [p99('steady', P99_MS), p999('steady', 40), ...clean('steady'), freshnessOf(load), WRONG],
  },
  spike: {
    summary: 'a fourfold rate within a second, for a while, and back',
    script: 'read-features',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: { roles: 300, embedded: 300 },
    seconds: 30,
    eventsPerSecond: 0,
    phases: ({ ratePerSecond, seconds }) => [
      warmUp(ratePerSecond, seconds),
      { name: 'before', ratePerSecond, seconds },
      { name: 'spike', ratePerSecond: 4 * ratePerSecond, rampFrom: ratePerSecond, seconds },
      { name: 'after', ratePerSecond, seconds },
    ],
    slos: () => [
      p99('before', P99_MS),
      p99('spike', 40),
      p99('after', P99_MS),
      ...['before', 'spike', 'after'].flatMap((phase) => [none('failed', phase), none('shed', phase)]),
      ...['before', 'after'].map(achieved),
      WRONG,
    ],
  },
  soak: {
    summary: '`mixed` for long: memory stays where it is',
    script: 'read-features',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: { roles: 500, embedded: 500 },
    seconds: 1_800,
    eventsPerSecond: 500,
    phases: steady,
    slos: (load) => [
      p99('steady', P99_MS),
      p999('steady', 40),
      ...clean('steady'),
      freshnessOf(load),
      { kind: 'memory', ratioMax: 1.25 },
      WRONG,
    ],
  },
  overload: {
    summary: `batches of ${ROWS_PER_BATCH} requests at ${OVERLOAD} times the sustainable rate, then at half of it: what is admitted is answered in time, and service recovers`,
    script: 'read-batches',
    workload: 'swipes',
    modes: ['roles', 'embedded'],
    rate: null,
    seconds: 30,
    eventsPerSecond: 0,
    phases: ({ ratePerSecond, seconds }) => [
      warmUp(ratePerSecond / 2, seconds),
      { name: 'before', ratePerSecond: ratePerSecond / 2, seconds: seconds / 2 },
      { name: 'overload', ratePerSecond: OVERLOAD * ratePerSecond, rampFrom: ratePerSecond / 2, seconds },
      { name: 'recovering', ratePerSecond: ratePerSecond / 2, seconds: Math.min(RECOVERY_SECONDS, seconds) },
      { name: 'after', ratePerSecond: ratePerSecond / 2, seconds: seconds / 2 },
    ],
    slos: ({ ratePerSecond }) => [
      p99('before', P99_MS),
      ...clean('before'),
      p99('overload', P99_MS),
      none('failed', 'overload'),
      { kind: 'goodput', phase: 'overload', perSecondMin: ratePerSecond },
      p99('after', P99_MS),
      ...clean('after'),
      WRONG,
    ],
  },
  degraded: {
    summary: `Redis answers ${REDIS_DELAY_MS} ms late, then not at all, then again: answers in time that say what they are, never a hang`,
    script: 'read-features',
    workload: 'swipes',
    modes: ['roles'],
    rate: { roles: 100, embedded: 100 },
    seconds: 20,
    eventsPerSecond: 0,
    degradedAllowed: true,
    deadlineMs: DEADLINE_MS,
    phases: ({ ratePerSecond, seconds }) => [
      warmUp(ratePerSecond, seconds),
      { name: 'healthy', ratePerSecond, seconds },
      { name: 'slow', ratePerSecond, seconds, redis: 'slow' },
      { name: 'silent', ratePerSecond, seconds, redis: 'silent' },
      { name: 'recovering', ratePerSecond, seconds: Math.min(RECOVERY_SECONDS, seconds) },
      { name: 'healed', ratePerSecond, seconds },
    ],
    slos: () => [
      p99('healthy', P99_MS),
      ...['slow', 'silent'].flatMap((phase): Slo[] => [
        { kind: 'latency', phase, of: 'admitted', percentile: 100, limitMs: DEADLINE_MS + DEADLINE_SLACK_MS },
        { kind: 'latency', phase, of: 'refused', percentile: 100, limitMs: DEADLINE_MS + DEADLINE_SLACK_MS },
        none('failed', phase),
      ]),
      p99('healed', P99_MS),
      ...clean('healed'),
      WRONG,
    ],
  },
} as const satisfies Readonly<Record<string, Scenario>>;

export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];

export const scenarioOf = (name: ScenarioName): Scenario => SCENARIOS[name];

/** A row of the table in README.md: name, requests per second, what is judged. */
export function describeScenario(name: ScenarioName): readonly [string, string, string] {
  const scenario = scenarioOf(name);
  const { rate, modes, eventsPerSecond, seconds } = scenario;
  const rates =
    rate === null
      ? 'measured'
      : [...new Set(modes.map((mode) => rate[mode]))].length === 1
        ? `${rate[modes[0]!]}/s`
        : modes.map((mode) => `${mode} ${rate[mode]}/s`).join(', ');
  const events = eventsPerSecond === 0 ? '' : ` + ${eventsPerSecond} events/s`;
  const of = (mode: EngineMode): string[] =>
    scenario
      .slos({ mode, ratePerSecond: 1, seconds, bare: false })
      .filter(({ kind }) => kind !== 'wrong')
      .map(describeSlo);
  const [first, ...others] = modes;
  const slos = of(first!).map((slo, i) => {
    const different = others.filter((mode) => of(mode)[i] !== slo).map((mode) => `${mode}: ${of(mode)[i]}`);
    return different.length === 0 ? slo : `${slo} (${different.join(', ')})`;
  });
  return [name, `${rates}${events}, ${seconds} s`, slos.join('; ')];
}
