/** A full disk under the archive: events are taken and count, nothing is lost or half written, and it is over when there is room. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it, vi } from 'vitest';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import {
  counters,
  fixture,
  type MillraceProcess,
  postJson,
  type Server,
  temporaryDirectory,
} from './millrace-process.ts';
import { describeWithSmallDisks, SmallDisks } from './small-disks.ts';

const KIB = 1024;
const DAY_MS = 86_400_000;
const DAYS = 4;
const WAITED = { timeout: 30_000, interval: 50 };

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

async function ready(process: MillraceProcess): Promise<Server> {
  const [, url] = await process.waitForOutput(/listens on (http:\S+)/);
  await process.waitForOutput(/^Ready\./m);
  return { process, url: url! };
}

/** Some 75 kB that cannot be made smaller, over several days; they count when it resolves. */
async function push({ url }: Server): Promise<void> {
  const events = Array.from({ length: 1_000 }, (_, i) => ({
    id: randomBytes(72).toString('hex'),
    at: new Date(Date.now() - (i % DAYS) * DAY_MS).toISOString(),
    key: 'k',
    n: i,
  }));
  const { status } = await postJson(`${url}/v1/sources/clicks/events?wait=applied`, { events });
  expect(status).toBe(200);
}

const readiness = async ({ url }: Server): Promise<string> => {
  const response = await fetch(`${url}/readyz`);
  expect(response.status).toBe(200);
  return response.text();
};

describeWithSmallDisks('a full disk of the archive', () => {
  it('holds nobody up, also through a kill, and what it kept out is archived when there is room', async () => {
    const dataDir = temporaryDirectory();
    const archive = join(temporaryDirectory(), 'archive');
    mkdirSync(archive);
    const disks = await SmallDisks.mount({ [archive]: '2m' });
    const path = disks.path(archive);
    const args = [
      '--features',
      fixture('counter'),
      '--data-dir',
      dataDir,
      '--archive',
      archive,
      '--archive-every',
      '1',
    ];
    const archived = async (): Promise<number> => {
      const positions = await query.positions(path, 'clicks');
      expect(new Set(positions).size).toBe(positions.length);
      return positions.length;
    };
    const isFull = (server: Server) => async () =>
      expect(await readiness(server)).toMatch(/the archive of source clicks, partition 0: .*No space left/i);

    const first = await ready(disks.up(args));
    await push(first);
    await vi.waitFor(async () => expect(await archived()).toBe(1_000), WAITED);
    // Room for some days of a commit, and not for all.
    const { bavail, bsize } = statfsSync(path);
    disks.fill(archive, bavail * bsize - 60 * KIB);
    await push(first);
    await push(first);
    await vi.waitFor(isFull(first), WAITED);
    expect((await counters(first, 'k')).clicks_30d).toBe(3_000);
    expect(await archived()).toBe(1_000);
    await first.process.end('SIGKILL');

    const second = await ready(disks.up(args));
    await push(second);
    await vi.waitFor(isFull(second), WAITED);
    expect(await archived()).toBe(1_000);
    expect((await counters(second, 'k')).clicks_30d).toBe(4_000);

    disks.free(archive);
    await vi.waitFor(async () => expect(await archived()).toBe(4_000), WAITED);
    await vi.waitFor(async () => expect(await readiness(second)).toContain('"warnings":[]'), WAITED);
    expect(await second.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await archived()).toBe(4_000);
  });
});
