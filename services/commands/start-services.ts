import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { kafkaRecipe } from '../kafka/kafka-recipe.ts';
import { ensureInstalled, type Report } from '../libraries/install.ts';
import { withInstallLock } from '../libraries/install-lock.ts';
import { HOST } from '../process/free-port.ts';
import { isAlive } from '../process/process-identity.ts';
import { Server, type ServerRecipe } from '../process/server.ts';
import { waitUntil } from '../process/wait-until.ts';
import { redisRecipe } from '../redis/redis-recipe.ts';
import { registryRecipe, registryUrl } from '../registry/registry-recipe.ts';
import type { ServiceName } from '../testing/have-services.ts';
import { readState, type StartedService, stateFile, writeState } from './services-state.ts';
import { stopService } from './stop-services.ts';

export interface StartServicesOptions {
  readonly only: readonly ServiceName[];
  readonly dir: string;
  /** Wipes the data of those in `only`. */
  readonly fresh: boolean;
  readonly report: Report;
}

interface Service {
  readonly recipe: () => ServerRecipe;
  readonly address: (port: number) => string;
}

/** For a developer's or a trial's load rather than a test's: more heap, and Redis keeps its data. */
const SERVICES: Readonly<Record<ServiceName, Service>> = {
  redis: {
    recipe: () => redisRecipe({ appendonly: 'everysec' }),
    address: (port) => `redis://${HOST}:${port}`,
  },
  kafka: { recipe: () => kafkaRecipe({ heapMb: 512 }), address: (port) => `${HOST}:${port}` },
  registry: { recipe: () => registryRecipe(), address: registryUrl },
};

/** Starts what does not run, each with the ports it had before if they are free, and prints the addresses. */
export async function startServices(options: StartServicesOptions): Promise<void> {
  const { only, dir, report } = options;
  await withInstallLock(join(dir, 'services.lock'), async () => {
    for (const name of only) await startService(name, options);
  });
  const state = readState(dir);
  const running = only.map((name) => [name, state[name]!.address] as const);
  report('');
  report(`flags        ${running.map(([name, address]) => `--${name} ${address}`).join(' ')}`);
  report(
    `environment  ${running.map(([name, address]) => `MILLRACE_${name.toUpperCase()}=${address}`).join(' ')}`,
  );
  report(
    `state, logs  ${relative(process.cwd(), stateFile(dir)) || stateFile(dir)}; npm run services:stop ends them`,
  );
}

async function startService(name: ServiceName, { dir, fresh, report }: StartServicesOptions): Promise<void> {
  if (name !== 'redis') await ensureInstalled(name, report);
  const { recipe: makeRecipe, address } = SERVICES[name];
  const recipe = makeRecipe();
  const dataDir = join(dir, 'data', name);
  if (fresh) {
    await stopService(name, dir, report);
    rmSync(dataDir, { recursive: true, force: true });
  }
  const known = readState(dir)[name];
  if (known !== undefined && isAlive(known)) {
    await waitUntil(() => recipe.answers(known.ports, known.pid), {
      what: `${name} (pid ${known.pid}), which was started before, answers; ${known.logFile} may say why`,
      timeoutMs: recipe.startTimeoutMs,
    });
    report(line(name, known, 'runs already'));
    return;
  }
  const startedMs = performance.now();
  report(`${name.padEnd(9)}starting …`);
  let started: StartedService | undefined;
  const start = (ports?: readonly number[]): Promise<Server> =>
    Server.start(recipe, {
      dir: dataDir,
      lifetime: 'detached',
      ports,
      // Written down before it answers: what is interrupted now can still be stopped.
      onLaunch: (identity, usedPorts) => {
        const logFile = join(dataDir, `${recipe.name}.log`);
        started = { ...identity, address: address(usedPorts[0]!), ports: usedPorts, dir: dataDir, logFile };
        writeState(dir, { ...readState(dir), [name]: started });
      },
    });
  // The addresses of before are in somebody's shell.
  await (known === undefined ? start() : start(known.ports).catch(() => start()));
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  report(line(name, started!, `started in ${seconds} s`));
}

function line(name: string, { address, pid }: StartedService, what: string): string {
  return `${name.padEnd(9)}${address}  (pid ${pid}, ${what})`;
}
