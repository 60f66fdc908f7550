import { inject } from 'vitest';
import type { SharedAnswer, SharedName } from './shared-services-host.ts';
import type {} from './shared-services-setup.ts';

export interface SharedServices {
  /** Starts the run's Kafka at the first call of any test file; `['127.0.0.1:<port>']`. */
  kafka(): Promise<string[]>;
  /** Starts the run's schema registry at the first call of any test file; its `/apis/ccompat/v7`. */
  registry(): Promise<string>;
}

/**
 * Kafka and a registry that all test files of a run share, for tests which neither stop nor reconfigure them. Topics,
 * groups and subjects need unique names (`randomUUID()`), as other files work there at the same time. To be called in
 * `beforeAll` with a time limit of its own: the first call may take 10 s, or a download. Nothing has to be closed.
 *
 * @example
 * describeWithServices(['kafka'], 'kafka event log', () => {
 *   let brokers: string[];
 *   beforeAll(async () => { brokers = await sharedServices().kafka(); }, 120_000);
 * });
 */
export function sharedServices(): SharedServices {
  return { kafka: async () => [await address('kafka')], registry: () => address('registry') };
}

async function address(name: SharedName): Promise<string> {
  const host = inject('sharedServicesUrl');
  if (host === undefined) {
    throw new Error("this vitest project lacks globalSetup './services/testing/shared-services-setup.ts'");
  }
  const answer = (await (await fetch(`${host}/${name}`)).json()) as SharedAnswer;
  if ('error' in answer) throw new Error(answer.error);
  return answer.address;
}
