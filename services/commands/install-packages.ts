import { spawnSync } from 'node:child_process';
import { DEBIAN_PACKAGES, type Report } from '../libraries/install.ts';
import { javaProblem, resetJavaProblem } from '../libraries/java.ts';
import { isInstalled } from '../libraries/library.ts';
import { findProgram } from '../process/find-program.ts';
import type { ServiceName } from '../testing/have-services.ts';

export interface InstallPackagesOptions {
  readonly only: readonly ServiceName[];
  /** Otherwise what is missing is an error. */
  readonly install: boolean;
  readonly report: Report;
}

/** Programs that the services need and that are not there, with the Debian packages to install. */
function missingPrograms(only: readonly ServiceName[]): Map<string, string> {
  const missing = new Map<string, string>();
  if (only.includes('redis') && findProgram('redis-server') === null) {
    missing.set('redis-server is not installed', DEBIAN_PACKAGES['redis-server']);
  }
  const libraries = only.filter((name) => name !== 'redis');
  if (libraries.length > 0) {
    const java = javaProblem();
    if (java !== null) missing.set(java, javaPackage());
    if (libraries.some((name) => !isInstalled(name)) && findProgram('mvn') === null) {
      missing.set('mvn is not installed', DEBIAN_PACKAGES.mvn);
    }
  }
  return missing;
}

/** Debian 13 has a later Java only, which does as well. */
function javaPackage(): string {
  const { stdout } = spawnSync('apt-cache', ['policy', DEBIAN_PACKAGES.java], { encoding: 'utf8' });
  return /Candidate: \d/.test(stdout ?? '') ? DEBIAN_PACKAGES.java : 'default-jre-headless';
}

/** Installs what is missing if that is asked for; throws if anything is missing still. */
export async function installPackages({ only, install, report }: InstallPackagesOptions): Promise<void> {
  let missing = missingPrograms(only);
  if (missing.size > 0 && install) {
    aptGet(report, 'update');
    // A Redis that the package starts on its usual port is nobody's business here: ours have ports of their own.
    aptGet(report, 'install', '-y', '--no-install-recommends', ...new Set(missingPrograms(only).values()));
    resetJavaProblem();
    missing = missingPrograms(only);
  }
  if (missing.size === 0) return;
  const packages = [...new Set(missing.values())].join(' ');
  throw new Error(
    `${[...missing.keys()].join('; ')}.\n` +
      `On Debian or Ubuntu: apt-get install ${packages}${install ? '' : ' (or --install, which does that)'}`,
  );
}

/** As root or through sudo; whether it worked shows in what is there afterwards. */
export function aptGet(report: Report, ...args: readonly string[]): void {
  const elevate = process.getuid?.() === 0 || findProgram('sudo') === null ? [] : ['sudo', '-n'];
  const argv = [...elevate, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args];
  report(argv.join(' '));
  spawnSync(argv[0]!, argv.slice(1), { stdio: ['ignore', 'inherit', 'inherit'] });
}
