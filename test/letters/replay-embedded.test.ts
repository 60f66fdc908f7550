/**
 * `millrace dlq replay` of the embedded engine, killed with SIGKILL at random moments: now the command, now the engine that
 * does what it asks. Each record counts once, also when the store is lost afterwards.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { until } from '../cluster/until.ts';
import {
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  push,
  type Server,
  temporaryDirectory,
  up,
} from '../millrace-process.ts';
import { Swipes, served, total } from './swipes.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const SWIPES = 6_000;
/** Kills until so many were in the midst of the letters, of the command and of the engine. */
const MIDST_LEAST = 2;
const KILLS_MOST = 40;
/** Between two looks at how far it has come. */
const LOOK_MS = 2;

it(`millrace dlq replay, the engine or itself killed at random: each record counts once (TEST_SEED=${SEED})`, async () => {
  const random = new SeededRandom(SEED);
  const directory = temporaryDirectory();
  const args = ['--features', fixture('mendable'), '--data-dir', directory];
  const mended = { env: { TEST_MENDED: '1' } };

  const broken = await up(args);
  const swipes = new Swipes(random, SWIPES);
  await push(broken, 'swipes', swipes.all);
  expect(await served(broken.url)).toEqual(swipes.features(false));
  expect(await broken.process.end('SIGTERM')).toEqual({ code: 0, signal: null });

  let engine: Server = await up(args, mended);
  const replaying = (): string[] => ['dlq', 'replay', '--url', engine.url];
  /** Letters that are not marked as replayed; null: the engine does not answer. */
  const left = async (): Promise<number | null> => {
    const url = `${engine.url}/v1/sources/swipes/dead-letters?limit=0`;
    const answer = await fetch(url).catch(() => null);
    return answer === null ? null : ((await answer.json()) as { total: number }).total;
  };
  expect(await left()).toBe(swipes.unlucky);

  const midst = { command: 0, engine: 0 };
  const kills: string[] = [];
  let pending = swipes.unlucky;
  while (Math.min(midst.command, midst.engine) < MIDST_LEAST && kills.length < KILLS_MOST && pending > 0) {
    const victim =
      midst.engine < midst.command
        ? 'engine'
        : midst.command < midst.engine
          ? 'command'
          : random.pick(['command', 'engine'] as const);
    const command = new MillraceProcess(process.execPath, [millraceBinary, ...replaying()], mended);
    await until('it replays', async () => {
      const now = await left();
      await delay(LOOK_MS);
      return command.child.exitCode !== null || (now !== null && now < pending);
    });
    await delay(random.below(20));
    if (victim === 'command') {
      await command.end('SIGKILL');
    } else {
      await engine.process.end('SIGKILL');
      await command.exited;
      engine = await up(args, mended);
    }
    // The engine goes on with the request of a command that is dead.
    let now = (await left())!;
    await until('nothing more is replayed', async () => {
      const before = now;
      await delay(50);
      now = (await left())!;
      return now === before;
    });
    if (now > 0 && now < pending) midst[victim]++;
    kills.push(`${victim}: ${pending - now} replayed`);
    pending = now;
  }
  console.log([`${pending} of ${swipes.unlucky} letters are left`, ...kills].join('\n'));
  expect(Math.min(midst.command, midst.engine)).toBeGreaterThan(0);

  // Nothing of a dead command's request goes on in an engine that was started since.
  expect(await engine.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  engine = await up(args, mended);
  pending = (await left())!;
  const last = await millrace(replaying(), mended);
  expect(last.stdout + last.stderr).toContain(
    pending === 0 ? 'There is nothing to replay.' : `${pending} record`,
  );
  expect(last.code).toBe(0);
  expect(await left()).toBe(0);
  const right = swipes.features(true);
  const settles = async (): Promise<void> => {
    await until('all is applied', async () => total(await served(engine.url), 'careful_ever') >= SWIPES);
    expect(await served(engine.url)).toEqual(right);
  };
  await settles();

  expect(await engine.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  rmSync(join(directory, 'store'), { recursive: true });
  engine = await up(args, mended);
  await settles();
  expect((await millrace(replaying(), mended)).stdout).toContain('There is nothing to replay.');
  expect(await engine.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
}, 300_000);
