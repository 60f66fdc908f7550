/** vitest's globalSetup for projects whose tests call `sharedServices`. Starts nothing that nobody asks for. */
import type { TestProject } from 'vitest/node';
import { SharedServicesHost } from './shared-services-host.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    sharedServicesUrl: string;
  }
}

/** The projects of one run load this file separately, but share the process, and with it one host. */
const holder = globalThis as {
  millraceSharedServices?: { host: Promise<SharedServicesHost>; users: number };
};

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  holder.millraceSharedServices ??= { host: SharedServicesHost.listen(), users: 0 };
  const shared = holder.millraceSharedServices;
  shared.users += 1;
  project.provide('sharedServicesUrl', (await shared.host).url);
  return async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    delete holder.millraceSharedServices;
    await (await shared.host).close();
  };
}
