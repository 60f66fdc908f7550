/**
 * The benchmark of the roles: processes of the engine over a Kafka and a Redis of its own, phase by phase. Each phase
 * starts what it needs and ends it.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { startRedis } from '../../services/index.ts';
import type { EngineSettings } from './engine-process.ts';
import { benchFreshness } from './freshness.ts';
import { benchHotKey } from './hot-key.ts';
import { benchReads } from './reads.ts';
import { benchRebuild } from './rebuild.ts';
import type { PhaseReport, RolesReport } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { benchWrites } from './writes.ts';

export const PHASES = ['read', 'write', 'rebuild', 'freshness', 'hot'] as const;
export type Phase = (typeof PHASES)[number];

export interface RolesBenchOptions {
  /** examples/card-fraud, compiled. */
  readonly repo: CompiledRepo;
  readonly phases: ReadonlySet<Phase>;
  /** Measuring time of each side of each figure of reads; freshness takes four times as long, the hot key twice. */
  readonly seconds: number;
  /** Of the history that is read and of the topics that are written and rebuilt from; the hot key has a fourth of it. */
  readonly events: number;
  /** That are rebuilt at once. */
  readonly views: number;
  readonly seed: number;
  readonly profile: string | null;
  readonly onProgress: (text: string) => void;
  /** Rounds of reads. @default 5 */
  readonly readRounds?: number;
  /** Rounds of writes. @default 3 */
  readonly writeRounds?: number;
  /** Questions that are asked in turn. @default 2,000 */
  readonly questions?: number;
}

/** Of the open loop, of freshness, and of the hot key. */
const RATE_PER_SECOND = 1_000;

/** Runs the built CLI. Everything it starts is ended with the scope. */
export async function runRolesBench(options: RolesBenchOptions, scope: Scope): Promise<RolesReport> {
  const { phases, seconds, events, views, seed, profile, onProgress } = options;
  const { readRounds = 5, writeRounds = 3, questions = 2_000 } = options;
  const directory = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  scope.defer(() => rm(directory, { recursive: true, force: true }));
  const environment = await environmentOf(options);
  const engine: EngineSettings = { directory, profile };
  const shared = { engine, seed, onProgress };
  const ratePerSecond = RATE_PER_SECOND;
  const run: Record<Phase, (scope: Scope) => Promise<PhaseReport>> = {
    read: (inner) =>
      benchReads(
        { ...shared, repo: options.repo, events, seconds, rounds: readRounds, questions, ratePerSecond },
        inner,
      ),
    write: (inner) => benchWrites({ ...shared, events, rounds: writeRounds }, inner),
    rebuild: (inner) =>
      benchRebuild(
        { seed, events, keys: Math.ceil(events / 20), views, rounds: writeRounds, onProgress },
        inner,
      ),
    freshness: (inner) => benchFreshness({ ...shared, seconds: 4 * seconds, ratePerSecond }, inner),
    hot: (inner) =>
      benchHotKey({ ...shared, events: Math.ceil(events / 4), seconds: 2 * seconds, ratePerSecond }, inner),
  };
  const reports: PhaseReport[] = [];
  for (const phase of PHASES) if (phases.has(phase)) reports.push(await scope.run(run[phase]));
  return {
    rows: reports.flatMap(({ rows }) => rows),
    hot: reports.flatMap(({ hot }) => hot),
    notes: reports.flatMap(({ notes }) => notes),
    facts: Object.assign({}, ...reports.map(({ facts }) => facts)) as Record<string, string>,
    environment,
  };
}

async function environmentOf({ seconds, seed }: RolesBenchOptions): Promise<Record<string, string>> {
  const redis = await startRedis();
  const info = String(await redis.command('INFO', 'server'));
  await redis.stop();
  const pom = readFileSync(new URL('../../services/kafka/pom.xml', import.meta.url), 'utf8');
  const processors = cpus();
  return {
    node: process.version,
    kafka:
      /<artifactId>kafka_[\d.]+<\/artifactId>\s*<version>([^<]+)/.exec(pom)?.[1] ??
      'see services/kafka/pom.xml',
    redis: `${/redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown'}, appendonly yes, appendfsync everysec`,
    cpu: `${processors[0]?.model ?? 'unknown'} × ${processors.length}`,
    'load before': loadavg()[0]!.toFixed(2),
    measured: `${seconds} s per side and figure of reads, seed ${seed}`,
  };
}
