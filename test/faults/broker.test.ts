/**
 * The one broker is killed, suspended and started again; acknowledgements of what it has written are lost, so that it is
 * written twice.
 */
import { it, onTestFinished } from 'vitest';
import { describeWithServices, startKafka, startRedis, TcpProxy } from '../../services/index.ts';
import { freePorts, HOST } from '../../services/process/free-port.ts';
import { connectionFaults } from './connection-faults.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';

const SILENCE_MS = { least: 500, most: 6_000 };

describeWithServices(['kafka', 'redis'], `faults F broker (TEST_SEED=${SEED})`, () => {
  it('a broker that dies, and whose acknowledgements are lost', { timeout: TIMEOUT_MS }, async () => {
    const ports = await freePorts(2);
    const proxy = await TcpProxy.open(ports[0]!);
    onTestFinished(() => proxy.close());
    const [broker, redis] = await Promise.all([
      startKafka({ ports, properties: { 'advertised.listeners': `PLAINTEXT://${HOST}:${proxy.port}` } }),
      startRedis({ appendonly: 'everysec' }),
    ]);
    onTestFinished(async () => {
      await Promise.all([broker.stop(), redis.stop()]);
    });
    const faults = new Deck(['network', 'killed', 'network', 'stopped'] as const);
    const disturbNetwork = connectionFaults(proxy, {
      server: 'Kafka',
      silenceMs: SILENCE_MS,
      requestBytes: 4_000,
    });
    await runScenario({
      name: 'broker',
      services: { brokers: [`${HOST}:${proxy.port}`], brokerPorts: [broker.port], redis: redis.url },
      disturb: async (world) => {
        await world.pause(world.random.between(500, 2_500));
        if (world.isOver) return;
        const fault = faults.draw(world.random);
        if (fault === 'network') {
          await disturbNetwork(world);
        } else if (fault === 'stopped') {
          world.fault('broker SIGSTOP');
          await broker.kill('SIGSTOP');
          await world.pause(world.random.between(SILENCE_MS.least, SILENCE_MS.most));
          await broker.kill('SIGCONT');
        } else {
          world.fault('broker killed');
          await broker.kill('SIGKILL');
          await world.pause(world.random.between(0, 2_000));
          await broker.restart();
        }
      },
      heal: async () => {
        await broker.kill('SIGCONT');
        proxy.heal();
      },
    });
  });
});
