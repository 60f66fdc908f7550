/** Kafka and Redis that ask for passwords, TLS and client certificates: let in with them, a clear refusal without. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaBroker, type RedisServer, startKafka, startRedis } from '../services/index.ts';
import { kafkaClassPath } from '../services/kafka/kafka-library.ts';
import { freePorts, HOST } from '../services/process/free-port.ts';
import { type Certificates, certificateProblem, makeCertificates } from './certificates.ts';
import { describeWithPrograms } from './describe-with-programs.ts';
import { fixture, millrace, push, up } from './millrace-process.ts';

const START_MS = 240_000;
const ALICE = 's3cret-of-alice';
const BOB = 's3cret-of-bob';
const DEFAULT = 's3cret-of-all';

interface Way {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A broker with a plain listener for itself, and listeners `SASL` (no TLS) and `TLS` (asks for a certificate). */
async function startSecuredKafka(
  certificates: Certificates,
): Promise<{ kafka: KafkaBroker; sasl: string; tls: string }> {
  const [plain, controller, sasl, tls] = await freePorts(4);
  const open = `PLAINTEXT://${HOST}:${plain},SASL://${HOST}:${sasl},TLS://${HOST}:${tls}`;
  const kafka = await startKafka({
    ports: [plain!, controller!],
    properties: {
      listeners: `${open},CONTROLLER://${HOST}:${controller}`,
      'advertised.listeners': open,
      'listener.security.protocol.map':
        'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL',
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.name.sasl.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256',
      'listener.name.sasl.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="${ALICE}";`,
      'listener.name.sasl.scram-sha-256.sasl.jaas.config':
        'org.apache.kafka.common.security.scram.ScramLoginModule required;',
      'listener.name.tls.ssl.keystore.type': 'PEM',
      'listener.name.tls.ssl.keystore.location': certificates.serverKeystore,
      'listener.name.tls.ssl.truststore.type': 'PEM',
      'listener.name.tls.ssl.truststore.location': certificates.ca,
      'listener.name.tls.ssl.client.auth': 'required',
    },
  });
  // kafkajs cannot make SCRAM users.
  const bob = ['--entity-type', 'users', '--entity-name', 'bob'];
  const { status, stderr } = spawnSync(
    'java',
    [
      ...['-Xmx64m', '-XX:TieredStopAtLevel=1', '-cp', kafkaClassPath(), 'kafka.admin.ConfigCommand'],
      ...['--bootstrap-server', kafka.brokers[0]!, '--alter', ...bob],
      ...['--add-config', `SCRAM-SHA-256=[iterations=4096,password=${BOB}]`],
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return { kafka, sasl: `${HOST}:${sasl}`, tls: `${HOST}:${tls}` };
}

/** One that takes TLS with a client certificate on another port; passwords are set once it answers. */
async function startSecuredRedis(certificates: Certificates): Promise<{ redis: RedisServer; tls: string }> {
  const [tlsPort] = await freePorts(1);
  const { serverCert, serverKey, ca } = certificates;
  const redis = await startRedis({
    appendonly: 'everysec',
    args: [
      ...['--tls-port', `${tlsPort}`, '--tls-cert-file', serverCert, '--tls-key-file', serverKey],
      ...['--tls-ca-cert-file', ca, '--tls-auth-clients', 'yes'],
    ],
  });
  await redis.command('ACL', 'SETUSER', 'alice', 'on', `>${ALICE}`, '~*', '&*', '+@all');
  await redis.command('CONFIG', 'SET', 'requirepass', DEFAULT);
  return { redis, tls: `rediss://${HOST}:${tlsPort}` };
}

describeWithPrograms(certificateProblem, ['kafka', 'redis'], 'servers that ask who is there', () => {
  let certificates: Certificates;
  let secured: Awaited<ReturnType<typeof startSecuredKafka>>;
  let secureRedis: Awaited<ReturnType<typeof startSecuredRedis>>;
  let openRedis: RedisServer;

  beforeAll(async () => {
    certificates = makeCertificates();
    secureRedis = await startSecuredRedis(certificates);
    openRedis = await startRedis({ appendonly: 'everysec' });
    secured = await startSecuredKafka(certificates);
  }, START_MS);
  afterAll(async () => {
    await Promise.all([secured?.kafka.stop(), secureRedis?.redis.stop(), openRedis?.stop()]);
    certificates?.remove();
  });

  /** Runs all roles, pushes an event and waits until it is applied. */
  async function letIn({ args = [], env = {} }: Way): Promise<void> {
    const id = `secured-${randomUUID()}`;
    const names = ['--redis-prefix', id.slice(0, 32), '--group', id, '--create-topics', '--partitions', '1'];
    const server = await up(['--features', fixture('roles'), '--log-level', 'debug', ...names, ...args], {
      env: { TEST_TOPICS: id, ...env },
    });
    const event = { id: '1', at: new Date().toISOString(), card: 'k', shop: null, amount: 1, points: 1 };
    expect(await push(server, 'payments', [event])).toMatchObject({ accepted: 1 });
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(server.process.stdout + server.process.stderr).not.toContain('s3cret');
  }

  /** Returns the message. */
  async function refused({ args = [], env = {} }: Way): Promise<string> {
    const start = ['serve', '--port', '0', '--features', fixture('roles'), '--log-level', 'trace'];
    const { code, stdout, stderr } = await millrace([...start, ...args], { env });
    expect(code, stderr).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).not.toMatch(/^\s+at |unexpected failure/m);
    expect(stderr).not.toContain('s3cret');
    return stderr.slice(stderr.indexOf('millrace: '));
  }

  describe('Kafka', () => {
    const sasl = (mechanism: string, user: string, password: string): Way => ({
      args: [
        ...['--redis', openRedis.url, '--kafka', secured.sasl],
        ...['--kafka-sasl', mechanism, '--kafka-username', user],
      ],
      env: { MILLRACE_KAFKA_PASSWORD: password },
    });
    const tls = (...args: readonly string[]): Way => ({
      args: ['--redis', openRedis.url, '--kafka', secured.tls, ...args],
    });

    it('lets in with SASL PLAIN', () => letIn(sasl('plain', 'alice', ALICE)), START_MS);
    it('lets in with SCRAM-SHA-256', () => letIn(sasl('scram-sha-256', 'bob', BOB)), START_MS);

    it(
      'refuses a wrong password, user or mechanism, and none',
      async () => {
        const wrong = [
          sasl('plain', 'alice', BOB),
          sasl('scram-sha-256', 'bob', ALICE),
          sasl('scram-sha-256', 'alice', ALICE),
        ];
        for (const way of wrong) {
          const message = await refused(way);
          expect(message).toMatch(/authentication failed/i);
          expect(message).toContain('--kafka-username, --kafka-password');
        }
        expect(await refused(sasl('scram-sha-512', 'bob', BOB))).toContain('--kafka-sasl');
        const none = { args: ['--redis', openRedis.url, '--kafka', secured.sasl] };
        expect(await refused(none)).toContain('--kafka-sasl');
      },
      START_MS,
    );

    it(
      'says so where it asks for nothing of the kind',
      async () => {
        const open = ['--redis', openRedis.url, '--kafka', secured.kafka.brokers[0]!];
        const user = ['--kafka-sasl', 'plain', '--kafka-username', 'alice'];
        const login = { args: [...open, ...user], env: { MILLRACE_KAFKA_PASSWORD: ALICE } };
        expect(await refused(login)).toMatch(/asks for no login.*leave out --kafka-sasl/);
        expect(await refused({ args: [...open, '--kafka-tls'] })).toMatch(/not speak TLS.*--kafka-tls/);
      },
      START_MS,
    );

    it(
      'lets in with a certificate over TLS',
      () => {
        const { ca, clientCert, clientKey } = certificates;
        return letIn(tls('--kafka-ca', ca, '--kafka-cert', clientCert, '--kafka-key', clientKey));
      },
      START_MS,
    );

    it(
      'refuses, or is refused, without certificate, CA or TLS',
      async () => {
        const { ca, otherCa, clientCert, clientKey } = certificates;
        expect(await refused(tls('--kafka-ca', ca))).toMatch(/certificate.*--kafka-cert/);
        const other = tls('--kafka-ca', otherCa, '--kafka-cert', clientCert, '--kafka-key', clientKey);
        expect(await refused(other)).toMatch(/certificate.*--kafka-ca/);
        expect(await refused(tls('--kafka-tls'))).toMatch(/certificate.*--kafka-ca/);
        expect(await refused(tls())).toContain('--kafka-tls');
      },
      START_MS,
    );
  });

  describe('Redis', () => {
    const at = (url: string, args: readonly string[] = [], password?: string): Way => ({
      args: ['--kafka', secured.kafka.brokers[0]!, '--redis', url, ...args],
      env: password === undefined ? {} : { MILLRACE_REDIS_PASSWORD: password },
    });
    const withUser = (user: string): string => secureRedis.redis.url.replace('//', `//${user}@`);

    it('lets in with a password', () => letIn(at(secureRedis.redis.url, [], DEFAULT)), START_MS);
    it('lets in with a user of the address', () => letIn(at(withUser(`alice:${ALICE}`))), START_MS);

    it(
      'refuses a wrong password or user, and none',
      async () => {
        const { url } = secureRedis.redis;
        const ways = [
          at(url),
          at(url, [], ALICE),
          at(url, ['--redis-username', 'bob'], ALICE),
          at(withUser(`alice:${DEFAULT}`)),
        ];
        for (const way of ways) {
          const message = await refused(way);
          expect(message).toMatch(/NOAUTH.*it asks for a login|WRONGPASS/);
          expect(message).toContain('--redis-username, --redis-password');
        }
        const plain = at(openRedis.url.replace('redis', 'rediss'));
        expect(await refused(plain)).toMatch(/rediss:\/\/.*does not speak TLS.*--redis/);
      },
      START_MS,
    );

    it(
      'lets in with a certificate over TLS',
      () => {
        const { ca, clientCert, clientKey } = certificates;
        const args = ['--redis-ca', ca, '--redis-cert', clientCert, '--redis-key', clientKey];
        return letIn(at(secureRedis.tls, [...args, '--redis-username', 'alice'], ALICE));
      },
      START_MS,
    );

    it(
      'refuses, or is refused, without certificate, CA or TLS',
      async () => {
        const { ca, otherCa } = certificates;
        expect(await refused(at(secureRedis.tls, ['--redis-ca', ca], DEFAULT))).toMatch(
          // What comes first: the alert that says so, or the end of the connection.
          /(certificate|ECONNRESET).*--redis-cert/,
        );
        expect(await refused(at(secureRedis.tls, ['--redis-ca', otherCa], DEFAULT))).toMatch(
          /certificate.*--redis-ca/,
        );
        expect(await refused(at(secureRedis.tls, [], DEFAULT))).toMatch(/certificate.*--redis-ca/);
        expect(await refused(at(secureRedis.tls.replace('rediss', 'redis'), [], DEFAULT))).toContain(
          'rediss://',
        );
      },
      START_MS,
    );
  });
});
