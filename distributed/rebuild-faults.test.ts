/** What a rebuild does while Redis loses or refuses writes, and with records that it cannot use. Over real servers. */
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { deadLetterTopic } from '../ingest/log/kafka/kafka-dead-letters.ts';
import { decodeBinding, type ViewBinding } from '../roles/view-binding.ts';
import type { RebuildLook } from '../roles/view-rebuild.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { AppendOnlyFile } from '../services/redis/append-only-file.ts';
import { type RebuildOptions, rebuildView } from './rebuild.ts';
import { TestDeployment, until } from './testing/test-deployment.ts';

const RECORDS = 40;
const NEVER = new AbortController().signal;

describeWithServices(['kafka', 'redis'], 'a rebuild', () => {
  let brokers: string[];
  let redis: RedisServer;
  let deployment: TestDeployment;

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
  }, 180_000);
  beforeEach(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    const definitions = mendableDefinitions(true);
    deployment = await TestDeployment.open({ definitions, brokers, redisUrl: redis.url, startMs: NOON_MS });
  });
  afterEach(async () => {
    await deployment?.close();
    await redis?.stop();
  });

  const view = () => deployment.repo.views.get('careful')!;
  const options = (more: Partial<RebuildOptions> = {}): RebuildOptions => ({
    ...deployment.processOptions(['ingest']),
    ...{ view: view(), graceMs: 60_000, lookEveryMs: 20 },
    ...more,
  });
  const binding = async (): Promise<ViewBinding> => {
    const store = await RedisTileStore.open(deployment.processOptions(['ingest']).redis);
    try {
      const [record] = await store.readRecords([`view:${view().namespace}`]);
      return decodeBinding(view(), record!);
    } finally {
      await store.close();
    }
  };
  const swipe = (amount: number) => ({ value: JSON.stringify({ at: NOON_MS, card: 'c1', amount }) });
  /** Swipes applied by a process that ends. */
  const apply = async (amounts: readonly number[], broken = true): Promise<void> => {
    const repo = deployment.compile(mendableDefinitions(broken));
    const all = await deployment.start(['ingest', 'serve'], { repo });
    await deployment.produce('swipes', 0, amounts.map(swipe));
    const end = (await deployment.ends('swipes'))[0]!;
    await until('they are applied', async () => {
      const { lag } = all.runtime.readiness();
      return lag.every(({ records }) => records === 0) && end <= (await appliedOf(all));
    });
    await all.close();
  };
  const appliedOf = async (process: Awaited<ReturnType<TestDeployment['start']>>): Promise<number> => {
    const { body } = await process.read('swipes_of_card', { entities: { card: 'c1' } });
    return body.features.plain_1d;
  };
  /** A namespace with nothing in it. */
  const begin = async (): Promise<void> => {
    const stop = new AbortController();
    stop.abort();
    expect(await rebuildView(options(), stop.signal)).toBe('filling');
  };
  /** Redis dies and has lost what it wrote beyond so many bytes. */
  const fallBack = async (bytes: number): Promise<void> => {
    await redis.kill('SIGKILL');
    new AppendOnlyFile(redis.dir).truncate(bytes);
    await redis.restart();
  };
  const written = (): number => new AppendOnlyFile(redis.dir).bytes;

  test('finds out that the store fell back though no record comes', async () => {
    await apply(Array.from({ length: RECORDS }, (_, i) => 100 + i));
    await begin();
    const kept = written();
    const over = new AbortController();
    const seen: number[] = [];
    // Never near enough to join: it fills on, and has nothing to do.
    const worker = rebuildView(
      options({ joinWithinRecords: -1, onLook: ({ appliedRecords }) => seen.push(appliedRecords) }),
      over.signal,
    );
    await until('it is filled', () => seen.at(-1) === RECORDS);
    await fallBack(kept);
    await until('what was lost shows', () => seen.includes(0, seen.indexOf(RECORDS)));
    await until('it is filled again', () => seen.at(-1) === RECORDS);
    over.abort();
    expect(await worker).toBe('filling');
  });

  test('makes the switch again where the store has lost it', async () => {
    await apply([1, 2, 3]);
    let joinedAt = 0;
    let lost: Promise<void> | null = null;
    const states: RebuildLook['state'][] = [];
    const outcome = await rebuildView(
      options({
        onLook: ({ state }) => {
          if (state !== states.at(-1)) states.push(state);
          if (state === 'joined' && joinedAt === 0) joinedAt = written();
          if (state === 'switched') lost ??= fallBack(joinedAt);
        },
      }),
      NEVER,
    );
    await lost;
    expect(states).toEqual(['filling', 'joined', 'switched', 'joined', 'switched']);
    expect(outcome).toBe('switched');
    expect(await binding()).toMatchObject({ building: null });
    expect((await binding()).active).not.toBe(view().namespace);
  });

  test('says why it stands still, once, and goes on by itself', async () => {
    await apply([1, 2, 3]);
    await begin();
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    const troubles: string[] = [];
    const worker = rebuildView(
      options({ onTrouble: (error) => troubles.push((error as Error).message) }),
      NEVER,
    );
    await until('it says so', () => troubles.length > 0);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    expect(await worker).toBe('switched');
    expect(new Set(troubles).size).toBe(troubles.length);
    expect(troubles[0]).toMatch(/^source swipes, partition \d: .*maxmemory/);
  });

  test('writes a letter for what the present state counts and it cannot use, and none for what has one', async () => {
    const lettersOf = async (): Promise<number> => {
      const ends = await deployment.admin.fetchTopicOffsets(deadLetterTopic(deployment.topicOf('swipes')));
      return ends.reduce((sum, { high }) => sum + Number(high), 0);
    };
    await apply([13, 1]);
    await apply([13, 13], false);
    expect(await lettersOf()).toBe(1);
    let written = 0;
    const outcome = await rebuildView(
      options({
        onDeadLetters: (letters) => {
          written += letters;
        },
      }),
      NEVER,
    );
    expect([outcome, written, await lettersOf()]).toEqual(['switched', 2, 3]);
  });
});
