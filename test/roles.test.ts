/**
 * The roles as processes of their own, over a real Kafka and a real Redis, while they are killed, suspended and
 * started again. Pushes come over HTTP to both servers, and records straight into the topics, among them repetitions
 * on other partitions and records that nobody can use. In the end every value equals the oracle's, computed from what
 * a foreign consumer reads in the topics, and every acknowledged event is among it.
 *
 * The clock is event time, twenty minutes of it a second: folding, expiry and all edges of the windows happen within
 * the run. The schedule is in acknowledged pushes and in what the consumer group says, not in seconds.
 *
 * Not tested here: faults of Kafka and Redis themselves (see faults/), and power loss.
 */
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { SeededRandom } from '../engine/testing/random.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { Events } from './cluster/events.ts';
import { Ledger } from './cluster/ledger.ts';
import { Load } from './cluster/load.ts';
import { Producer } from './cluster/producer.ts';
import { RunningRoles } from './cluster/running-roles.ts';
import { PARTITIONS } from './cluster/topics.ts';
import { Truth } from './cluster/truth.ts';
import { until } from './cluster/until.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_121);
const WRITERS = 3;

/** Kills, suspends and restarts servers and compactors, one after the other, until it is told to stop. */
async function disturb(
  random: SeededRandom,
  load: Load,
  roles: RunningRoles,
  isOver: () => boolean,
  say: (text: string) => void,
): Promise<void> {
  const processes = [...roles.serve, ...roles.compact];
  while (!isOver()) {
    await load.more(random.between(10, 60));
    const victim = random.pick(processes);
    if (random.chance(0.4)) {
      say(`SIGSTOP ${victim.name}`);
      victim.signal('SIGSTOP');
      try {
        await load.more(random.between(20, 80));
      } finally {
        victim.signal('SIGCONT');
      }
    } else if (random.chance(0.2)) {
      say(`SIGTERM ${victim.name}`);
      await roles.noteCompacted(victim);
      expect(await victim.roll(), victim.output).toEqual({ code: 0, signal: null });
      await victim.ready();
    } else {
      say(`SIGKILL ${victim.name}`);
      await roles.noteCompacted(victim);
      await victim.crash();
      // Half of the time it is killed again while it starts.
      if (random.chance(0.5)) await victim.ready();
    }
  }
}

/** Members of the groups: rolled, suspended for longer than their session, killed meanwhile, and woken as zombies. */
async function disturbIngest(
  random: SeededRandom,
  load: Load,
  { ingest, groups }: RunningRoles,
  say: (text: string) => void,
): Promise<void> {
  const rolled = random.pick(ingest);
  await load.more(random.between(10, 40));
  say(`SIGTERM ${rolled.name}`);
  expect(await rolled.roll(), rolled.output).toEqual({ code: 0, signal: null });
  await rolled.ready();
  await groups.have(2);

  const zombie = random.pick(ingest);
  const killed = ingest.find((process_) => process_ !== zombie)!;
  await load.more(random.between(10, 60));
  say(`SIGSTOP ${zombie.name}`);
  zombie.signal('SIGSTOP');
  try {
    await load.more(random.between(1, 30));
    say(`SIGKILL ${killed.name}`);
    await killed.crash();
    await killed.ready();
    await groups.have(1);
    await until('the partitions of the zombie are applied by somebody else', async () => {
      const applied = await killed.metric('millrace_events_applied_total', /outcome="applied"/);
      return applied > 0 && (await killed.metric('millrace_partitions_assigned')) === 2 * PARTITIONS;
    });
  } finally {
    zombie.signal('SIGCONT');
    say(`SIGCONT ${zombie.name}`);
  }
  await load.more(random.between(1, 20));
  await groups.have(2);
}

describeWithServices(['kafka', 'redis'], `roles that crash (TEST_SEED=${SEED})`, () => {
  let brokers: readonly string[];
  let redis: RedisServer;

  beforeAll(async () => {
    [brokers, redis] = await Promise.all([sharedServices().kafka(), startRedis({ appendonly: 'everysec' })]);
  }, 240_000);

  afterAll(() => redis?.stop());

  it('lose nothing and count nothing twice', { timeout: 240_000 }, async () => {
    const startedMs = performance.now();
    const log: string[] = [];
    const say = (text: string): void => {
      log.push(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${text}`);
    };
    onTestFinished(() => console.log(log.join('\n')));
    const roles = await RunningRoles.start({ name: 'roles', brokers, redis: redis.url });
    say('six processes are ready');

    const random = new SeededRandom(SEED);
    const forLoad = new SeededRandom(random.uint32());
    const events = new Events(forLoad);
    const ledger = new Ledger();
    const load = new Load({ servers: roles.serve, events, ledger, random: forLoad });
    const producer = new Producer({ topics: roles.topics, events, ledger, random: forLoad });
    const running = [...Array.from({ length: WRITERS }, () => load.write()), producer.run(load, brokers)];
    // What fails ends the load, and is thrown below.
    for (const part of running) part.catch(() => (load.stopped = true));
    let over = false;
    const disturbing = [
      disturb(new SeededRandom(random.uint32()), load, roles, () => over || load.stopped, say),
      disturbIngest(new SeededRandom(random.uint32()), load, roles, say).finally(() => {
        over = true;
      }),
    ];
    await Promise.all(disturbing).finally(() => {
      load.stopped = true;
    });
    await Promise.all(running);
    say('no more disturbance');

    await roles.heal(events);
    const conflicts = await Promise.all(
      roles.ingest.map((process_) => process_.metric('millrace_write_conflicts_total')),
    );
    say(`healed; ${roles.compacted} states compacted, conflicts ${conflicts}`);

    const truth = new Truth();
    const records = await roles.readTopics();
    const compared = await roles.expectTrue({ truth, ledger, records, run: `TEST_SEED=${SEED}` });
    expect(truth.unusable.length).toBeGreaterThanOrEqual(producer.poison);
    say(
      `${compared} values equal the oracle's, of ${truth.total} events (${load.acknowledged} pushes acknowledged ` +
        `after ${load.retries} retries, ${producer.produced} records produced, ${records.letters.length} dead letters)`,
    );
    expect(compared).toBeGreaterThan(300);
    expect(roles.compacted).toBeGreaterThan(0);

    await roles.stop();
    const restarts = roles.all.filter(({ askedForRestart }) => askedForRestart > 0);
    say(`all stopped; asked to be started again: ${restarts.map(({ name }) => name)}`);
  });
});
