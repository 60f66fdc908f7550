import { describe, it } from 'vitest';
import { describeWithServices, type ServiceName } from '../services/index.ts';

/**
 * `describeWithServices` for tests that need programs as well: what is missing is treated as a missing service.
 * @param problem what is missing, and the package it comes in; null: nothing
 */
export function describeWithPrograms(
  problem: string | null,
  services: readonly ServiceName[],
  title: string,
  body: () => void,
): void {
  if (problem === null) {
    describeWithServices(services, title, body);
  } else if (process.env.REQUIRE_SERVICES === '1') {
    describe(title, () => {
      it('has the programs it needs', () => {
        throw new Error(`REQUIRE_SERVICES=1, but ${problem}`);
      });
    });
  } else {
    describe.skip(`${title} [${problem}]`, body);
  }
}
