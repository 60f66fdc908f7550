import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { identify, isAlive, type ProcessIdentity } from '../process/process-identity.ts';
import { waitUntil } from '../process/wait-until.ts';
import { describeWithServices } from '../testing/describe-with-services.ts';
import { startRedisCluster } from './redis-cluster.ts';
import { type RedisServer, startRedis } from './redis-server.ts';

async function using<T extends { stop(): Promise<void> }>(
  start: Promise<T>,
  work: (server: T) => Promise<void>,
): Promise<void> {
  const server = await start;
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}

describeWithServices(['redis'], 'startRedis', () => {
  test('a killed server comes back at its address with its data', () =>
    using(startRedis({ appendonly: 'always' }), async (redis) => {
      await redis.command('SET', 'key', 'wert\r\nü');
      const { pid } = redis;
      await redis.kill();
      await expect(redis.command('PING')).rejects.toThrow();
      await redis.restart();
      expect(redis.pid).not.toBe(pid);
      expect(await redis.command('GET', 'key')).toBe('wert\r\nü');
    }));

  test('stopping ends one server and removes its directory; another one stays', () =>
    using(startRedis(), async (foreign) => {
      const redis = await startRedis();
      await redis.stop();
      await redis.stop();
      expect(existsSync(redis.dir)).toBe(false);
      await expect(redis.restart()).rejects.toThrow('was stopped');
      expect(await foreign.command('PING')).toBe('PONG');
    }));

  test('a suspended server can be stopped', async () => {
    const redis = await startRedis();
    const identity = identify(redis.pid)!;
    await redis.kill('SIGSTOP');
    await redis.kill();
    expect(isAlive(identity)).toBe(false);
    await redis.stop();
  });

  test('a taken port is an error that names it, and the server there stays', () =>
    using(startRedis(), async (foreign) => {
      await expect(startRedis({ ports: [foreign.port] })).rejects.toThrow(/Address already in use/);
      expect(await foreign.command('PING')).toBe('PONG');
    }));

  test('wrong arguments are an error with what the server said', async () => {
    await expect(startRedis({ args: ['--no-such-setting', '1'] })).rejects.toThrow(/no-such-setting/);
  });

  test('a replica follows', () =>
    using(startRedis(), (master) =>
      using(startRedis({ replicaOf: master }), async (replica) => {
        await master.command('SET', 'key', 1);
        await waitUntil(async () => (await replica.command('GET', 'key')) === '1', {
          what: 'the key is replicated',
          timeoutMs: 20_000,
        });
      }),
    ));

  // Without setpriv (macOS) only a regular exit ends the servers.
  test.runIf(process.platform === 'linux')('a server dies with the process that started it', async () => {
    const module = fileURLToPath(new URL('./redis-server.ts', import.meta.url));
    const script = `
      import('${module}').then(async ({ startRedis }) => {
        const { pid, dir } = await startRedis();
        console.log(JSON.stringify({ pid, dir }));
        setInterval(() => {}, 1e6);
      });`;
    const owner = spawn(process.execPath, ['--import', 'tsx', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const printed = await new Promise<string>((resolve) =>
      owner.stdout.once('data', (data) => resolve(String(data))),
    );
    const { pid, dir } = JSON.parse(printed) as Pick<RedisServer, 'pid' | 'dir'>;
    const server: ProcessIdentity = identify(pid)!;
    owner.kill('SIGKILL');
    await waitUntil(() => !isAlive(server), { what: 'end of the orphan', timeoutMs: 20_000 });
    rmSync(dir, { recursive: true });
  });
});

describeWithServices(['redis'], 'startRedisCluster', () => {
  test('all slots are served, by the masters in their order', () =>
    using(startRedisCluster(), async ({ masters }) => {
      const ranges = (await masters[2]!.command('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
      expect(
        ranges.map(([first, last, [, port]]) => [first, last, masters.findIndex((m) => m.port === port)]),
      ).toEqual([
        [0, 5460, 0],
        [5461, 10922, 1],
        [10923, 16383, 2],
      ]);
    }));

  test('a replica takes over', () =>
    using(startRedisCluster({ replicas: 1 }), async (cluster) => {
      await cluster.masters[1]!.kill();
      await cluster.waitUntilOk();
      const role = (await cluster.replicas[1]!.command('ROLE')) as readonly unknown[];
      expect(role[0]).toBe('master');
    }));
});
