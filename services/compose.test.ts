/**
 * docker-compose.yml. Compose itself looks at it where a machine has it; CI has not, so that one test is skipped there, in
 * the open, also with REQUIRE_SERVICES=1: it needs a client of Docker's, not a server that could be started here. What is
 * checked everywhere is what compose would only say, or not even that, when it runs.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { SETTINGS } from '../cli/settings.ts';
import { checkoutRoot } from './libraries/library.ts';

interface ComposeService {
  readonly image: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly environment?: Readonly<Record<string, unknown>>;
  readonly healthcheck?: object;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
}

const compose = (...args: readonly string[]) =>
  spawnSync('docker', ['compose', ...args], { cwd: checkoutRoot, encoding: 'utf8', timeout: 60_000 });
const hasCompose = compose('version').status === 0;

test.skipIf(!hasCompose)(
  `docker compose config accepts it${hasCompose ? '' : ' [no docker compose here; skipped whatever REQUIRE_SERVICES says]'}`,
  () => {
    for (const profile of [[], ['--profile', 'embedded']]) {
      const { status, stderr } = compose(...profile, 'config', '--quiet');
      expect(stderr).toBe('');
      expect(status).toBe(0);
    }
  },
);

describe('docker-compose.yml', () => {
  const file = parse(readFileSync(join(checkoutRoot, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
    readonly services: Readonly<Record<string, ComposeService>>;
    readonly volumes: Readonly<Record<string, unknown>>;
  };
  const services = Object.entries(file.services);

  test('waits for services that can say that they are healthy', () => {
    expect(services.map(([name]) => name)).toEqual(
      expect.arrayContaining(['kafka', 'redis', 'registry', 'ingest', 'serve', 'compaction', 'prometheus']),
    );
    for (const [name, { depends_on = {} }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        expect(file.services[other], `${name} depends on ${other}`).toBeDefined();
        if (condition === 'service_healthy') expect(file.services[other]!.healthcheck, other).toBeDefined();
      }
    }
  });

  test('declares its volumes, and takes ports of this machine only, each once', () => {
    const named = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((volume) => volume.split(':')[0]!).filter((source) => /^\w/.test(source)),
    );
    expect(named.sort()).toEqual(Object.keys(file.volumes).sort());
    const ports = services.flatMap(([, { ports = [] }]) => ports.map((port) => port.replace(/:\d+$/, '')));
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(new Set(ports).size).toBe(ports.length);
  });

  test('sets variables that there are', () => {
    const known = new Set(SETTINGS.map(({ env }) => env));
    const set = services.flatMap(([, { environment = {} }]) => Object.keys(environment));
    const ours = set.filter((name) => name.startsWith('MILLRACE_'));
    expect(ours).toContain('MILLRACE_KAFKA');
    expect(ours.filter((name) => !known.has(name))).toEqual([]);
  });
});
