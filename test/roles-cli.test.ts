/** `millrace ingest`, `serve`, `compact`, and `up` over Kafka and Redis: settings, refusals, start and end. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import {
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  type Server,
  startRole,
  temporaryDirectory,
  up,
} from './millrace-process.ts';
import { kafkaClient } from './topic-content.ts';

const ROLES = ['ingest', 'serve', 'compact'] as const;
const START_MS = 240_000;
/** Bounds waits; ends only what hangs. */
const WAIT_MS = 60_000;
/** Nothing listens there. */
const NOWHERE = '127.0.0.1:1';

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

/** Runs a command that is expected to be refused: exit 1, a message, no stack, no secret. */
async function refused(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { code, stdout, stderr } = await millrace(args, { env });
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^millrace: /m);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stderr).not.toContain('s3cret');
  expect(code, stderr).toBe(1);
  return stderr;
}

describe.each(ROLES)('millrace %s --help', (role) => {
  it('shows the settings of the servers and none of the embedded store', async () => {
    const { code, stdout, stderr } = await millrace([role, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const flag of ['kafka', 'kafka-sasl', 'redis', 'redis-prefix', 'create-topics', 'port', 'clock']) {
      expect(stdout).toContain(`--${flag} `);
    }
    for (const flag of ['data-dir', 'simulate', 'max-log-bytes']) expect(stdout).not.toContain(`--${flag}`);
    expect(stdout.includes('--group ')).toBe(role === 'ingest');
    expect(stdout.includes('--registry ')).toBe(role === 'ingest');
  });
});

it('millrace replay and get --help give defaults as they are typed', async () => {
  for (const command of ['replay', 'get']) {
    const { stdout } = await millrace([command, '--help']);
    expect(stdout).not.toMatch(/default: (null|\{\})/);
    expect(stdout).toMatch(/default:\s+http:\/\/127\.0\.0\.1:8787/);
  }
});

describe('settings of servers', () => {
  const kafka = ['--kafka', NOWHERE];
  const redis = ['--redis', `redis://${NOWHERE}`];

  it.each(ROLES)('millrace %s needs both servers, and says so at once', async (role) => {
    const stderr = await refused([role]);
    expect(stderr).toContain('2 problems');
    expect(stderr).toContain('--kafka HOST:PORT');
    expect(stderr).toContain('--redis redis://HOST:PORT');
  });

  it('millrace up takes both or none', async () => {
    expect(await refused(['up', ...kafka])).toContain('--redis redis://HOST:PORT');
    expect(await refused(['up', ...redis])).toContain('--kafka HOST:PORT');
  });

  it('every problem is reported at once', async () => {
    const directory = temporaryDirectory();
    const args = [...kafka, ...redis, '--kafka-sasl', 'plain', '--kafka-cert', 'cert.pem'];
    args.push('--redis-key', 'key.pem', '--redis-ca', join(directory, 'ca.pem'));
    const stderr = await refused(['serve', ...args]);
    expect(stderr).toContain('kafkaSasl, kafkaUsername and kafkaPassword go together');
    expect(stderr).toContain('kafkaCert needs kafkaKey');
    expect(stderr).toContain('redisKey needs redisCert');
    expect(stderr).toMatch(/redisCa: .*ca\.pem cannot be read: ENOENT/);
  });

  it('a password alone is incomplete, and is not shown', async () => {
    const stderr = await refused(['ingest', ...kafka, ...redis], { MILLRACE_KAFKA_PASSWORD: 's3cret' });
    expect(stderr).toContain('go together');
    expect(await refused(['ingest', ...kafka, ...redis, '--registry-token', 's3cret'])).toContain(
      '--registry URL',
    );
  });

  it('a password in an address that is none is not shown, nor one of the wrong type', async () => {
    const stderr = await refused(['serve', ...kafka, '--redis', 'http://user:s3cret@host']);
    expect(stderr).toMatch(/redis \(flag --redis\): must be redis:\/\/ or rediss:\/\//);
    const file = join(temporaryDirectory(), 'millrace.json');
    writeFileSync(file, JSON.stringify({ redisPassword: { value: 's3cret' }, kafka: 'host' }));
    const fromFile = await refused(['serve', '--config', file]);
    expect(fromFile).toContain('redisPassword');
    expect(fromFile).toMatch(/kafka \(file .*\): must be one or several HOST:PORT/);
  });
});

it('SIGTERM while a server takes connections and says nothing: the process ends soon, with 0', async () => {
  const silent = createServer();
  const connected = new Promise((resolve) => silent.once('connection', resolve));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const args = ['serve', '--port', '0', '--kafka', address, '--redis', `redis://${address}`];
  const starting = new MillraceProcess(process.execPath, [millraceBinary, ...args]);
  await connected;
  expect(await starting.end('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(starting.stderr).not.toMatch(/^millrace:/m);
});

it.each([
  ['serve', [], 0],
  ['ingest', [], 10],
  ['compact', [], 15],
  ['up', [], 0],
  ['serve', ['--nice', '3'], 3],
  ['compact', ['--nice', '0'], 0],
] as const)('millrace %s %j steps back by %d before it connects', async (role, flags, nice) => {
  const starting = await connecting(role, flags);
  // It never takes more than it was started with.
  expect(getPriority(starting.child.pid!)).toBe(Math.max(getPriority(), nice));
});

/** A process that has connected to a server that says nothing; it ends with the test. */
async function connecting(
  role: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<MillraceProcess> {
  const silent = createServer();
  const connected = new Promise((resolve) => silent.once('connection', resolve));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const args = [role, '--port', '0', '--kafka', address, '--redis', `redis://${address}`, ...flags];
  const starting = new MillraceProcess(process.execPath, [millraceBinary, ...args], { env });
  onTestFinished(async () => void (await starting.end('SIGTERM')));
  await connected;
  return starting;
}

describe('--realtime', () => {
  const nowhere = ['--port', '0', '--kafka', NOWHERE, '--redis', `redis://${NOWHERE}`];
  /** With what the program may do, or may not. */
  const permitted = spawnSync('chrt', ['--fifo', '1', 'true']).status === 0;
  const hasChrt = spawnSync('chrt', ['--version']).status === 0;

  it.runIf(permitted).each([
    ['serve', [], 2],
    ['ingest', [], 1],
    ['up', [], 2],
    ['serve', ['--no-realtime'], 0],
    ['compact', [], 0],
  ] as const)('makes all threads of millrace %s %j real-time: %d', async (role, flags, priority) => {
    const starting = await connecting(role, flags, { MILLRACE_REALTIME: 'true' });
    const tasks = `/proc/${starting.child.pid}/task`;
    const threads = readdirSync(tasks).map((thread) => {
      // proc_pid_stat(5), behind the name in parentheses: 40, the real-time priority, and 41, the policy.
      const fields = readFileSync(join(tasks, thread, 'stat'), 'utf8')
        .split(') ')
        .at(-1)!
        .split(' ');
      return { priority: Number(fields[40 - 3]), policy: Number(fields[41 - 3]) };
    });
    expect(threads.length).toBeGreaterThan(4);
    const SCHED_FIFO = 1;
    for (const thread of threads)
      expect(thread).toEqual({ priority, policy: priority === 0 ? 0 : SCHED_FIFO });
  });

  it('goes with serve, ingest and up, and not with --nice', async () => {
    expect(await refused(['serve', '--realtime', '--nice', '3', ...nowhere])).toContain(
      '--realtime goes before everybody, and --nice steps back: leave one out',
    );
    const { stderr, code } = await millrace(['compact', '--realtime', ...nowhere]);
    expect(stderr).toContain("unknown option '--realtime'");
    expect(code).not.toBe(0);
  });

  it.runIf(process.platform === 'linux')('says that it needs chrt', async () => {
    expect(await refused(['serve', '--realtime', ...nowhere], { PATH: '/nowhere' })).toMatch(
      /needs chrt, of the package util-linux, in PATH \(--realtime\)/,
    );
  });

  // Where it is permitted, a superuser can do without.
  it.runIf(hasChrt && (!permitted || process.getuid?.() === 0))('says that it is not permitted', () => {
    const noCapability = ['--bounding-set', '-sys_nice', '--inh-caps', '-sys_nice'];
    const bereft = spawnSync(
      permitted ? 'setpriv' : 'env',
      [
        ...(permitted ? noCapability : []),
        ...[process.execPath, millraceBinary, 'serve', '--realtime', ...nowhere],
      ],
      { encoding: 'utf8' },
    );
    expect(bereft.stderr).toMatch(/^millrace: real-time scheduling is not permitted: it needs CAP_SYS_NICE/m);
    expect(bereft.status).toBe(1);
  });
});

describeWithServices(['redis'], 'what Redis must be', () => {
  let redis: RedisServer;
  let persistent: RedisServer;

  beforeAll(async () => {
    [redis, persistent] = await Promise.all([startRedis(), startRedis({ appendonly: 'everysec' })]);
  });
  afterAll(() => Promise.all([redis?.stop(), persistent?.stop()]));

  const args = (url: string): string[] => [
    ...['compact', '--port', '0', '--features', fixture('roles')],
    ...['--kafka', NOWHERE, '--redis', url],
  ];

  it('a server that does not answer is named with the flag', async () => {
    expect(await refused(args(`redis://${NOWHERE}`))).toMatch(
      /cannot reach Redis at 127\.0\.0\.1:1 .*--redis/,
    );
    expect(await refused(args(persistent.url))).toMatch(
      /no Kafka broker answers at 127\.0\.0\.1:1 \(--kafka\)/,
    );
  });

  it('without an append-only file it is refused, unless the loss is accepted', async () => {
    const stderr = await refused(args(redis.url));
    expect(stderr).toContain('set appendonly yes');
    expect(stderr).toContain('--redis-accept-loss');
    // Past Redis, to what is refused next.
    const accepted = await refused([...args(redis.url), '--redis-accept-loss']);
    expect(accepted).toContain('no Kafka broker answers');
    expect(accepted).toContain('no append-only file');
  });

  it('a rebuild under a prefix that nothing has used is refused, and leaves it so', async () => {
    const command = ['rebuild', '--view', 'spend', '--features', fixture('roles'), '--kafka', NOWHERE];
    const at = ['--redis', persistent.url, '--redis-prefix', 'typo'];
    for (const abort of [[], ['--abort']]) {
      expect(await refused([...command, ...at, ...abort])).toMatch(
        /^millrace: nobody has stored anything under the Redis keys typo:… yet: .*--redis-prefix that `ingest`/,
      );
    }
    expect(await persistent.command('KEYS', 'typo:*')).toEqual([]);
  });

  it('another clock than the one it is filled by is refused, also for a rebuild without the flag', async () => {
    const at = ['--redis-prefix', 'replayed'];
    const first = await refused([...args(persistent.url), ...at, '--clock', 'event']);
    // Past Redis, which has it written down.
    expect(first).toContain('no Kafka broker answers');
    const command = ['rebuild', '--view', 'spend', '--features', fixture('roles'), '--kafka', NOWHERE];
    for (const started of [args(persistent.url), [...command, '--redis', persistent.url]]) {
      expect(await refused([...started, ...at])).toMatch(
        /^millrace: the Redis keys replayed:… are filled by the event clock; start with --clock event, or use another --redis-prefix$/m,
      );
      expect(await refused([...started, ...at, '--clock', 'event'])).toContain('no Kafka broker answers');
    }
  });

  it('one that evicts is refused', async () => {
    await persistent.command('CONFIG', 'SET', 'maxmemory', '100mb', 'maxmemory-policy', 'allkeys-lru');
    onTestFinished(async () => {
      await persistent.command('CONFIG', 'SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction');
    });
    expect(await refused(args(persistent.url))).toContain('set maxmemory-policy noeviction');
  });
});

describeWithServices(['kafka', 'redis'], 'the roles as commands', () => {
  let brokers: string;
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    brokers = (await sharedServices().kafka()).join(',');
  }, START_MS);
  afterAll(() => redis?.stop());

  /** Names of a test's own. */
  const own = (): { id: string; args: string[]; env: Record<string, string> } => {
    const id = `cli-${randomUUID()}`;
    const args = ['--features', fixture('roles'), '--redis-prefix', id.slice(0, 30)];
    return {
      id,
      args: [...args, '--kafka', brokers, '--redis', redis.url],
      env: { TEST_TOPICS: id },
    };
  };

  const at = new Date(Date.now() - 60_000).toISOString();
  const payment = { id: 'a', at, card: 'k', shop: null, amount: 1.5, points: '9007199254740993' };

  it.each(ROLES)('millrace %s names a topic that is missing, and how to make it', async (role) => {
    const { id, args, env } = own();
    const stderr = await refused([role, '--port', '0', ...args], env);
    expect(stderr).toContain(`${id}.payments`);
    expect(stderr).toMatch(/start with --create-topics, or create it \(kafka-topics\.sh --create/);
  });

  it('takes settings from file, environment and flags, the latter first', async () => {
    const { id, env } = own();
    const file = join(temporaryDirectory(), 'millrace.json');
    const values = { kafka: NOWHERE, redis: `redis://${NOWHERE}`, createTopics: true, partitions: 3 };
    writeFileSync(file, JSON.stringify({ ...values, redisPrefix: id.slice(0, 30), port: 0 }));
    const server = await startRole('serve', ['--features', fixture('roles'), '--redis', redis.url], {
      env: { ...env, MILLRACE_CONFIG: file, MILLRACE_KAFKA: brokers, MILLRACE_REDIS: `redis://${NOWHERE}` },
    });
    expect(server.process.stdout).toContain(brokers);
    // What other roles do with records and events is not said here.
    expect(server.process.stdout).not.toMatch(/registry|simulator/);
    const admin = kafkaClient(brokers.split(',')).admin();
    onTestFinished(() => admin.disconnect());
    await admin.connect();
    expect(await admin.fetchTopicOffsets(`${id}.visits`)).toHaveLength(3);
    expect(await redis.command('KEYS', `${id.slice(0, 30)}*`)).not.toEqual([]);
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('SIGTERM: ingest leaves its groups, and the other member has all partitions', async () => {
    const { id, args, env } = own();
    args.push('--create-topics', '--group', id);
    const members = await Promise.all(
      [0, 1].map(() => startRole('ingest', [...args, '--partitions', '4'], { env })),
    );
    const admin = kafkaClient(brokers.split(',')).admin();
    onTestFinished(() => admin.disconnect());
    await admin.connect();
    const groups = async () =>
      (await admin.describeGroups([`${id}.payments`, `${id}.visits`])).groups.map(({ state, members }) => ({
        state,
        members: members.length,
      }));
    const both = (state: string, members: number) => [0, 1].map(() => ({ state, members }));
    const are = (wanted: unknown) => async () => JSON.stringify(await groups()) === JSON.stringify(wanted);
    await until('both groups have two members', are(both('Stable', 2)));
    expect(await members[0]!.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(members[0]!.process.stdout).toMatch(/SIGTERM: draining[\s\S]*Stopped\./);
    // Left, not timed out: that would take half a minute.
    for (const group of await groups()) expect(group.members).toBe(1);
    await until('the other one is alone', are(both('Stable', 1)));
    await until('it has all partitions', async () => {
      const text = await (await fetch(`${members[1]!.url}/metrics`)).text();
      return (text.match(/^millrace_partitions_assigned\{.*\} 4$/gm) ?? []).length === 2;
    });
    expect(await members[1]!.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    for (const { process } of members) expect(process.stderr).not.toMatch(/^millrace:|\s+at /m);
  });

  it('only serve has features and pushes; every role has health, readiness and metrics', async () => {
    const { id, args, env } = own();
    args.push('--create-topics');
    const servers: Server[] = [];
    for (const role of ROLES) {
      servers.push(await startRole(role, role === 'ingest' ? [...args, '--group', id] : args, { env }));
    }
    for (const [i, { url, process }] of servers.entries()) {
      for (const path of ['/healthz', '/readyz', '/metrics']) {
        expect((await fetch(`${url}${path}`)).status, `${ROLES[i]} ${path}`).toBe(200);
      }
      expect((await fetch(`${url}/v1/catalog`)).status, ROLES[i]).toBe(ROLES[i] === 'serve' ? 200 : 404);
      expect(process.stdout).toContain(`roles      ${ROLES[i]}\n`);
      expect(await process.end('SIGTERM')).toEqual({ code: 0, signal: null });
      expect(process.stderr).toBe('');
    }
  });

  it('millrace up has all roles; replay and get work against it, and its data is there at the next start', async () => {
    const { id, args, env } = own();
    args.push('--create-topics', '--group', id);
    const first = await up(args, { env });
    expect(first.process.stdout).toContain('roles      ingest, serve, compact');
    const file = join(temporaryDirectory(), 'payments.ndjson');
    const events = [payment, { ...payment, id: 'b', points: 1 }, { ...payment, id: 'b', points: 1 }];
    writeFileSync(file, `${events.map((event) => JSON.stringify(event)).join('\n')}\n`);
    const replayed = await millrace(
      ['replay', file, '--source', 'payments', '--features', fixture('roles'), '--url', first.url],
      { env },
    );
    expect(replayed.code, replayed.stderr).toBe(0);
    const read = async (url: string): Promise<Record<string, unknown>> => {
      const { code, stdout, stderr } = await millrace([
        ...['get', 'card', '--entity', 'card=k', '--json', '--url', url],
      ]);
      expect(code, stderr).toBe(0);
      return (JSON.parse(stdout) as { features: Record<string, unknown> }).features;
    };
    const wanted = {
      payments_12h: 2,
      payments_ever: 2,
      amount_sum_12h: 3,
      points_sum_12h: '9007199254740994',
    };
    await until('the events are applied', async () => (await read(first.url)).payments_ever === 2);
    expect(await read(first.url)).toMatchObject(wanted);
    expect(await first.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(first.process.stderr).toBe('');
    const second = await up(args, { env });
    expect(await read(second.url)).toMatchObject(wanted);
    expect(await second.process.end('SIGINT')).toEqual({ code: 0, signal: null });
  });
});
