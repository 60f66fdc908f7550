import type { KillCounts } from './kill-run.ts';

/** What a kill run has done, in a few lines. */
export function describeKills(counts: KillCounts): string {
  const phases = Object.entries(counts.killedWhile).map(([what, times]) => `${times} while ${what}`);
  return [
    `${counts.kills} kills: ${phases.join(', ')}; ${counts.closed} had closed before`,
    `${counts.acknowledgedPushes} pushes acknowledged, ${counts.unansweredPushes} without an answer`,
    `${counts.restarts} restarts without lag; second processes: ${counts.refused} refused, ` +
      `${counts.tookOver} took the directory over from one that was killed`,
    `${counts.checks} checks of the whole log and of ${counts.values} values`,
  ].join('\n');
}
