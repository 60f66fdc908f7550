/**
 * Records in Avro whose registry is killed, suspended and cut off, while their producers go on to further versions of the
 * schema: who does not know one has to wait. Records in JSON, of the same topic, wait behind them.
 */
import { it, onTestFinished } from 'vitest';
import {
  describeWithServices,
  sharedServices,
  startRedis,
  startRegistry,
  TcpProxy,
} from '../../services/index.ts';
import { AvroPayments } from './avro-payments.ts';
import { connectionFaults } from './connection-faults.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';

const SILENCE_MS = { least: 500, most: 6_000 };

describeWithServices(['kafka', 'redis', 'registry'], `faults I registry (TEST_SEED=${SEED})`, () => {
  it('a registry that is away when its schemas are needed', { timeout: TIMEOUT_MS }, async () => {
    const [redis, registry] = await Promise.all([startRedis({ appendonly: 'everysec' }), startRegistry()]);
    onTestFinished(async () => {
      await Promise.all([redis.stop(), registry.stop()]);
    });
    const proxy = await TcpProxy.open(registry.port);
    onTestFinished(() => proxy.close());
    const url = registry.url.replace(`:${registry.port}/`, `:${proxy.port}/`);
    const avro = new AvroPayments();
    await avro.register(registry.url);
    const faults = new Deck(['network', 'killed', 'network', 'stopped'] as const);
    const disturbNetwork = connectionFaults(proxy, {
      server: 'registry',
      silenceMs: SILENCE_MS,
      requestBytes: 500,
    });
    await runScenario({
      name: 'registry',
      services: {
        brokers: await sharedServices().kafka(),
        redis: redis.url,
        ingestFlags: ['--registry', url],
        format: { encode: (payment) => avro.encode(payment), parse: (value) => avro.parse(value) },
      },
      disturb: async (world) => {
        const { random } = world;
        await world.pause(random.between(300, 2_000));
        if (world.isOver) return;
        // Nobody has read it when the registry goes.
        await avro.register(registry.url);
        const fault = faults.draw(random);
        if (fault === 'network') {
          await disturbNetwork(world);
        } else if (fault === 'killed') {
          world.fault('registry killed');
          await registry.kill('SIGKILL');
          await world.pause(random.between(0, 3_000));
          await registry.restart();
        } else {
          world.fault('registry SIGSTOP');
          await registry.kill('SIGSTOP');
          await world.pause(random.between(SILENCE_MS.least, SILENCE_MS.most));
          await registry.kill('SIGCONT');
        }
      },
      heal: async () => {
        await registry.kill('SIGCONT');
        proxy.heal();
      },
    });
  });
});
