/** A full disk under the log, or under the store: told to pushers, nothing acknowledged lost, and over when there is room. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import {
  counters,
  fixture,
  type MillraceProcess,
  postJson,
  type Server,
  temporaryDirectory,
} from './millrace-process.ts';
import { describeWithSmallDisks, SmallDisks } from './small-disks.ts';

const MIB = 1024 * 1024;
const WAITED = { timeout: 30_000, interval: 50 };

interface Disk {
  readonly disks: SmallDisks;
  readonly dataDir: string;
  readonly args: readonly string[];
}

/** A data directory whose log and store have disks of their own. */
async function smallDataDir({ log, store }: { log: string; store: string }): Promise<Disk> {
  const dataDir = temporaryDirectory();
  const paths = { log: join(dataDir, 'log'), store: join(dataDir, 'store') };
  for (const path of Object.values(paths)) mkdirSync(path);
  const disks = await SmallDisks.mount({ [paths.log]: log, [paths.store]: store });
  return { disks, dataDir, args: ['--features', fixture('counter'), '--data-dir', dataDir] };
}

async function listening(process: MillraceProcess): Promise<Server> {
  const [, url] = await process.waitForOutput(/listens on (http:\S+)/);
  return { process, url: url! };
}

async function ready(process: MillraceProcess): Promise<Server> {
  const server = await listening(process);
  await process.waitForOutput(/^Ready\./m);
  return server;
}

interface Answer {
  readonly status: number;
  readonly code: string | null;
  readonly body: unknown;
}

class Pusher {
  readonly #keys: readonly string[];
  /** Events of acknowledged pushes, by key. */
  readonly acknowledged = new Map<string, number>();
  /** Pushes that were answered with an error. */
  refused: object[][] = [];
  /** Pushes that were not answered. */
  readonly unknown: object[][] = [];
  #next = 0;

  constructor(keys: readonly string[]) {
    this.#keys = keys;
  }

  /** Some 60 kB. */
  batch(): { id: string; at: string; key: string; n: number }[] {
    const at = new Date().toISOString();
    return Array.from({ length: 250 }, () => {
      const key = this.#keys[this.#next % this.#keys.length]!;
      return { id: `${this.#next++}`.padEnd(160, '-'), at, key, n: 1 };
    });
  }

  async push({ url }: Server, events = this.batch(), query = ''): Promise<Answer> {
    let status: number;
    let body: unknown;
    try {
      ({ status, body } = await postJson(`${url}/v1/sources/clicks/events${query}`, { events }));
    } catch {
      this.unknown.push(events);
      return { status: 0, code: null, body: null };
    }
    if (status === 200) {
      for (const { key } of events) this.acknowledged.set(key, (this.acknowledged.get(key) ?? 0) + 1);
      return { status, code: null, body };
    }
    if (status !== 503) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`);
    this.refused.push(events);
    return { status, code: (body as { error: { code: string } }).error.code, body };
  }

  /** From three callers at once, until each was refused. @returns the codes */
  async untilRefused(server: Server): Promise<Set<string | null>> {
    const codes = new Set<string | null>();
    const caller = async (): Promise<void> => {
      for (;;) {
        const { status, code } = await this.push(server);
        if (status === 200) continue;
        codes.add(code);
        return;
      }
    };
    await Promise.all([caller(), caller(), caller()]);
    return codes;
  }

  async again(server: Server): Promise<void> {
    const { refused } = this;
    this.refused = [];
    for (const events of [...refused, ...this.unknown.splice(0)]) {
      expect(await this.push(server, events as ReturnType<Pusher['batch']>)).toMatchObject({ status: 200 });
    }
  }
}

async function counted(server: Server, key: string): Promise<number> {
  return (await counters(server, key)).clicks_30d!;
}

async function expectCounted(server: Server, pusher: Pusher, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await vi.waitFor(
      async () => expect(await counted(server, key), key).toBe(pusher.acknowledged.get(key) ?? 0),
      WAITED,
    );
  }
}

async function readiness({ url }: Server): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: await response.text() };
}

describeWithSmallDisks('a full disk', () => {
  it('of the log: pushes are refused with log_full, reads go on, and freeing it is enough', async () => {
    const { disks, dataDir, args } = await smallDataDir({ log: '6m', store: '64m' });
    disks.fill(join(dataDir, 'log'), 3 * MIB);
    const server = await ready(disks.up(args));
    const pusher = new Pusher(['k']);
    expect(await pusher.untilRefused(server)).toEqual(new Set(['log_full']));
    expect(pusher.acknowledged.get('k')).toBeGreaterThan(1_000);
    // Every refusal is the same, however often one tries; what is read is all that was acknowledged, and nothing else.
    expect(await pusher.untilRefused(server)).toEqual(new Set(['log_full']));
    await expectCounted(server, pusher, ['k']);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);

    disks.free(join(dataDir, 'log'));
    // Refused events are not remembered as seen.
    const { refused } = pusher;
    expect(refused.length).toBeGreaterThanOrEqual(6);
    await pusher.again(server);
    await expectCounted(server, pusher, ['k']);
    expect(await readiness(server)).toMatchObject({ status: 200 });
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('of the log, and killed meanwhile: starts on the full disk, with a torn tail too, and has every event', async () => {
    const { disks, dataDir, args } = await smallDataDir({ log: '6m', store: '64m' });
    const log = join(dataDir, 'log');
    disks.fill(log, 3 * MIB);
    const pusher = new Pusher(['k']);
    const first = await ready(disks.up(args));
    await pusher.untilRefused(first);
    const pushing = pusher.push(first);
    await first.process.end('SIGKILL');
    await pushing;

    const second = await ready(disks.up(args));
    const unknown = pusher.unknown.length * 250;
    const found = await counted(second, 'k');
    expect(found).toBeGreaterThanOrEqual(pusher.acknowledged.get('k')!);
    expect(found).toBeLessThanOrEqual(pusher.acknowledged.get('k')! + unknown);
    expect(await pusher.untilRefused(second)).toEqual(new Set(['log_full']));
    await second.process.end('SIGKILL');

    // What a transaction that was cut off leaves behind the last page in use.
    disks.free(log);
    appendFileSync(disks.path(join(log, 'data.mdb')), Buffer.alloc(6_000, 0xa5));
    const third = await ready(disks.up(args));
    await pusher.again(third);
    await expectCounted(third, pusher, ['k']);
    expect(await third.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('of the store: events are taken, readiness says why they do not count yet, and they do when there is room', async () => {
    const { disks, dataDir, args } = await smallDataDir({ log: '64m', store: '6m' });
    const store = join(dataDir, 'store');
    disks.fill(store, 4 * MIB);
    const keys = Array.from({ length: 5_000 }, (_, i) => `key ${i}`);
    const pusher = new Pusher(keys);
    const first = await ready(disks.up(args));
    await vi.waitFor(async () => {
      await pusher.push(first);
      expect(await readiness(first)).toMatchObject({
        status: 503,
        text: expect.stringContaining('the disk of the tile store is full'),
      });
    }, WAITED);
    expect(await pusher.push(first, undefined, '?wait=applied')).toMatchObject({
      status: 503,
      code: 'not_applied_in_time',
    });
    // It is recorded all the same: sent again, every event of it is known.
    expect(await pusher.push(first, pusher.refused.pop() as ReturnType<Pusher['batch']>)).toMatchObject({
      body: { accepted: 0, duplicates: 250 },
    });
    await first.process.end('SIGKILL');

    // Still full: it starts, takes events and says why it is not ready.
    const second = await listening(disks.up(args));
    expect(await pusher.push(second)).toMatchObject({ status: 200 });
    await vi.waitFor(
      async () => expect((await readiness(second)).text).toContain('the disk of the tile store is full'),
      WAITED,
    );
    disks.free(store);
    await vi.waitFor(async () => expect(await readiness(second)).toMatchObject({ status: 200 }), WAITED);
    await expectCounted(second, pusher, [keys[0]!, keys[1]!, keys[4_999]!]);
    let total = 0;
    for (const key of keys.filter((_, i) => i % 25 === 0)) {
      const events = pusher.acknowledged.get(key) ?? 0;
      expect(await counted(second, key), key).toBe(events);
      total += events;
    }
    expect(total).toBeGreaterThan(0);
    expect(await second.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it.each([
    ['log', { log: '1m', store: '64m' }, 'the disk of the event log is full'],
    ['store', { log: '64m', store: '1m' }, 'the disk of the tile store is full'],
  ])('of the %s, at the first start: says so', async (part, sizes, message) => {
    const { disks, dataDir, args } = await smallDataDir(sizes);
    disks.fill(join(dataDir, part), MIB);
    const started = disks.up(args);
    expect(await started.exited).toEqual({ code: 1, signal: null });
    expect(started.stderr).toContain(`${message}: free space on it, then try again (--data-dir)`);
    expect(started.stderr).not.toMatch(/^\s+at /m);
    disks.free(join(dataDir, part));
    await ready(disks.up(args));
  });
});
