/**
 * What is checked before a Redis is used: that it keeps what it confirmed. Everything comes from INFO, which is
 * allowed where CONFIG is not (managed Redis).
 */
import type { Redis } from 'ioredis';
import { StoreSetupError } from '../store-errors.ts';
import { toStoreError, withoutArguments } from './redis-errors.ts';

export interface RedisChecksOptions {
  /** Take a Redis without an append-only file. @default false */
  readonly acceptLoss: boolean;
}

/** The oldest release with what is used here: RESP3, and scripts whose writes are replicated by effect. */
const VERSION_MIN: readonly [number, number] = [6, 2];

/**
 * Checks every master.
 * @returns warnings: what could not be verified, and what was accepted
 * @throws StoreSetupError that says what to change, with all that was found
 */
export async function checkRedis(masters: readonly Redis[], options: RedisChecksOptions): Promise<string[]> {
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const redis of masters) {
    const { host, port } = redis.options;
    const node = `Redis ${host}:${port}`;
    let info: string;
    try {
      info = await redis.info();
    } catch (error) {
      if (!/^(NOPERM|ERR unknown command)/.test(withoutArguments(error).message)) throw toStoreError(error);
      problems.push(
        `${node}: INFO is forbidden, which also tells restarts and failovers: allow it (ACL +info)`,
      );
      continue;
    }
    checkNode(info, options, {
      problem: (text) => problems.push(`${node}: ${text}`),
      warning: (text) => warnings.push(`${node}: ${text}`),
    });
  }
  if (problems.length > 0) throw new StoreSetupError(problems.join('\n'));
  return warnings;
}

/**
 * The one setting of those above that can be changed while Redis runs and then takes data away: to be asked again and
 * again. A node that does not answer is for others to tell.
 * @throws StoreSetupError that says what to change
 */
export async function checkEviction(masters: readonly Redis[]): Promise<void> {
  const answers = await Promise.allSettled(masters.map((redis) => redis.info('memory')));
  const problems = answers.flatMap((answer, i) => {
    const problem = answer.status === 'fulfilled' ? evictionOf(answer.value).problem : undefined;
    const { host, port } = masters[i]!.options;
    return problem === undefined ? [] : [`Redis ${host}:${port}: ${problem}`];
  });
  if (problems.length > 0) throw new StoreSetupError(problems.join('\n'));
}

/** `known: false`: what INFO tells does not say. */
function evictionOf(info: string): { readonly known: boolean; readonly problem?: string } {
  const maxmemory = infoValue(info, 'maxmemory');
  const policy = infoValue(info, 'maxmemory_policy');
  if (maxmemory === undefined || policy === undefined) return { known: false };
  if (maxmemory === '0' || policy === 'noeviction') return { known: true };
  const problem = `it drops data when it is full (maxmemory-policy ${policy}): set maxmemory-policy noeviction`;
  return { known: true, problem };
}

function infoValue(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}

function checkNode(
  info: string,
  { acceptLoss }: RedisChecksOptions,
  report: { problem: (text: string) => void; warning: (text: string) => void },
): void {
  const version = infoValue(info, 'redis_version');
  if (version === undefined) report.warning('could not verify its version');
  else if (isOlder(version)) {
    report.problem(`version ${version} is too old: use Redis ${VERSION_MIN.join('.')} or later`);
  }

  const eviction = evictionOf(info);
  if (!eviction.known) {
    report.warning('could not verify that it evicts nothing: maxmemory-policy must be noeviction');
  } else if (eviction.problem !== undefined) report.problem(eviction.problem);

  const appendOnly = infoValue(info, 'aof_enabled');
  if (appendOnly === undefined) {
    report.warning('could not verify that it has an append-only file: appendonly must be yes');
  } else if (appendOnly !== '1') {
    if (acceptLoss) report.warning('it has no append-only file: everything is lost when it stops');
    else {
      report.problem(
        'it keeps nothing on disk (appendonly no), so a restart loses everything: set appendonly yes, or accept the ' +
          'loss with --redis-accept-loss',
      );
    }
  }
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]);
}
