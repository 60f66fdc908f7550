/** k6 for load tests: unlike the servers, a machine that cannot have it is fine without. */
import { spawnSync } from 'node:child_process';
import { buildK6, findK6, goProblem, isRecentGo, k6Problem } from '../k6/k6.ts';
import type { Report } from '../libraries/install.ts';
import { aptGet } from './install-packages.ts';

const GO_PACKAGE = 'golang-go';

/**
 * Builds it where there is none and Go is there, or can be installed.
 * @throws where Go is there and cannot build it
 */
export async function prepareK6(args: { readonly install: boolean; readonly report: Report }): Promise<void> {
  const { install, report } = args;
  if (findK6() !== null) return;
  if (goProblem() !== null && install && packagedGoIsRecent()) {
    aptGet(report, 'update');
    aptGet(report, 'install', '-y', '--no-install-recommends', GO_PACKAGE);
  }
  if (goProblem() === null) await buildK6(report);
  else report(`${k6Problem()}; load tests are skipped`);
}

/** Debian 12 has one that cannot fetch a later version of itself. */
function packagedGoIsRecent(): boolean {
  const { stdout } = spawnSync('apt-cache', ['policy', GO_PACKAGE], { encoding: 'utf8' });
  const version = /Candidate: (?:\d+:)?(\d+\.\d+)/.exec(stdout ?? '')?.[1];
  return version !== undefined && isRecentGo(version);
}
