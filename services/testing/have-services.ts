import { DEBIAN_PACKAGES, libraryProblem } from '../libraries/install.ts';
import { findProgram } from '../process/find-program.ts';

export const SERVICE_NAMES = ['redis', 'kafka', 'registry'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** `true`, or why the service cannot be started here and which Debian package would change that. */
export type ServicesFound = Readonly<Record<ServiceName, true | string>>;

/**
 * What can be started on this machine. Cheap: looks for programs, and once per process asks Java for its version;
 * that Maven Central can be reached, where jars are still missing, is assumed.
 */
export function haveServices(): ServicesFound {
  return {
    redis:
      findProgram('redis-server') !== null ||
      `redis-server is not installed (Debian package ${DEBIAN_PACKAGES['redis-server']})`,
    kafka: libraryProblem('kafka') ?? true,
    registry: libraryProblem('registry') ?? true,
  };
}
