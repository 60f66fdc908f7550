import { FaultCounts } from './fault-counts.ts';
import type { ScenarioReport } from './run-scenario.ts';

/** Faults that were survived, by kind, and how much was read and compared: a table in Markdown. */
export function faultTable(reports: readonly ScenarioReport[]): string {
  const byName = new Map<string, ScenarioReport[]>();
  for (const report of reports) byName.set(report.name, [...(byName.get(report.name) ?? []), report]);
  const lines = ['| scenario | runs | events | values compared | faults survived |', '|---|---|---|---|---|'];
  for (const [name, runs] of byName) {
    const faults = new FaultCounts();
    for (const run of runs) for (const [kind, times] of Object.entries(run.faults)) faults.add(kind, times);
    const kinds = Object.entries(faults.toJSON()).map(([kind, times]) => `${kind} ${times}`);
    const sum = (of: (run: ScenarioReport) => number): number =>
      runs.reduce((total, run) => total + of(run), 0);
    const counts = [runs.length, sum(({ events }) => events), sum(({ compared }) => compared)];
    lines.push(`| ${name} | ${counts.join(' | ')} | ${kinds.join(', ')} |`);
  }
  return lines.join('\n');
}
