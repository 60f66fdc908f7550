/** The decision log of real processes: killed, sharing a directory, refused by the disk, and started with what cannot be. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { KeyHash } from '../serve/decision-log/key-hash.ts';
import {
  closedFiles,
  decisionsOf,
  loggedDecisions,
  openFiles,
} from '../serve/decision-log/testing/logged-decisions.ts';
import {
  fixture,
  millrace,
  postJson,
  push,
  type Server,
  temporaryDirectory,
  up,
} from './millrace-process.ts';
import { describeWithSmallDisks, SmallDisks } from './small-disks.ts';

const WAITED = { timeout: 30_000, interval: 25 };
const SECRET = 'a secret of the test';
const KEY = 'kEy-nobody-may-read';

const argsOf = (directory: string, more: readonly string[] = []): string[] => [
  ...['--features', fixture('counter'), '--data-dir', temporaryDirectory()],
  ...['--decision-log', directory, ...more],
];

const serving = (directory: string): Promise<Server> =>
  up(argsOf(directory), { env: { MILLRACE_DECISION_LOG_SECRET: SECRET } });

async function ask({ url }: Server, request: string): Promise<boolean> {
  const response = await fetch(`${url}/v1/services/counters/features`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': request },
    body: JSON.stringify({ entities: { key: KEY } }),
  });
  await response.arrayBuffer();
  return response.ok;
}

/** Asks again and again until the server is gone. @returns the ids that were answered */
async function askUntilGone(server: Server, name: string): Promise<string[]> {
  const answered: string[] = [];
  for (let n = 0; ; n++) {
    const id = `${name}-${String(n).padStart(8, '0')}`;
    try {
      if (!(await ask(server, id))) throw new Error(`${id} was refused`);
    } catch (error) {
      if ((error as Error).message.includes('refused')) throw error;
      return answered;
    }
    answered.push(id);
  }
}

const requestsOf = (directory: string): string[] => loggedDecisions(directory).map(({ request }) => request);

const newlines = (path: string): number => readFileSync(path, 'utf8').split('\n').length - 1;

describe('SIGKILL', () => {
  // Again, where an hour has ended meanwhile, and files with it.
  it('leaves whole records to the next process, of dead processes alone', { retry: 1 }, async () => {
    const directory = join(temporaryDirectory(), 'made', 'by it');
    const [killed, other] = await Promise.all([serving(directory), serving(directory)]);
    await push(killed, 'clicks', [{ id: '1', at: new Date().toISOString(), key: KEY, n: 1 }]);
    expect(killed.process.stdout).toContain(`  decisions  ${directory} (every answer, keys hashed)`);
    const asking = Promise.all([1, 2, 3].map((n) => askUntilGone(killed, `killed-${n}`)));
    expect(await ask(other, 'other-00000001')).toBe(true);
    const owner = (name: string): string =>
      readFileSync(join(directory, name), 'utf8').includes('"request":"other') ? 'other' : 'killed';
    const written = () => openFiles(directory).map((name) => [owner(name), join(directory, name)] as const);
    await vi.waitFor(() => {
      const lines = Object.fromEntries(written().map(([name, path]) => [name, newlines(path)]));
      expect(lines.killed).toBeGreaterThan(300);
      expect(lines.other).toBe(1);
    }, WAITED);
    await killed.process.end('SIGKILL');
    const answered = new Set((await asking).flat());
    const paths = Object.fromEntries(written());
    const before = readFileSync(paths.killed!, 'utf8');
    const whole = decisionsOf(before.slice(0, before.lastIndexOf('\n') + 1));
    // Whether a kill cuts an append is for the kernel to say.
    appendFileSync(paths.killed!, '{"record":"half a li');
    expect(closedFiles(directory)).toEqual([]);

    const next = await serving(directory);
    expect(closedFiles(directory)).toHaveLength(1);
    const recovered = loggedDecisions(directory);
    expect(recovered).toEqual(whole);
    expect(recovered.length).toBeGreaterThan(300);
    // Each once. One that was being answered may be there, and the newest may be missing.
    expect(new Set(recovered.map(({ record }) => record)).size).toBe(recovered.length);
    expect(recovered.filter(({ request }) => !answered.has(request)).length).toBeLessThanOrEqual(3);
    expect(openFiles(directory)).toHaveLength(2);
    expect(readFileSync(paths.other!, 'utf8')).toContain('other-00000001');

    expect(await ask(other, 'other-00000002')).toBe(true);
    expect(await ask(next, 'next-000000001')).toBe(true);
    for (const server of [other, next])
      expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(openFiles(directory)).toEqual([]);
    expect(closedFiles(directory)).toHaveLength(3);
    const rest = requestsOf(directory).filter((request) => !request.startsWith('killed'));
    expect(rest.sort()).toEqual(['next-000000001', 'other-00000001', 'other-00000002']);
    const { entities, features } = recovered[0];
    expect(entities).toEqual({ key: new KeyHash(SECRET).of('key', KEY) });
    expect(features).toEqual({ clicks_30d: 1, n_sum_30d: 1, anonymous_30d: 0 });
    for (const name of closedFiles(directory))
      expect(readFileSync(join(directory, name), 'utf8')).not.toContain(KEY);
  });
});

describe('settings that cannot be', () => {
  const file = (): string => {
    const path = join(temporaryDirectory(), 'file');
    writeFileSync(path, '');
    return path;
  };

  it.each([
    ['a file', (path: string) => path],
    ['below a file', (path: string) => join(path, 'below')],
  ])('a directory that is %s', async (_, of) => {
    const directory = of(file());
    const { code, stderr } = await millrace([
      'up',
      '--port',
      '0',
      ...argsOf(directory, ['--decision-log-keys', 'plain']),
    ]);
    expect(stderr).toContain(`millrace: the directory ${directory} of the decision log cannot be used: `);
    expect(stderr).toContain('(--decision-log)');
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });

  it.each(['up', 'serve'])('no secret to hash with: %s', async (command) => {
    const servers = command === 'up' ? [] : ['--kafka', '127.0.0.1:1', '--redis', 'redis://127.0.0.1:1'];
    const { code, stderr } = await millrace([
      ...[command, '--features', fixture('counter'), '--decision-log', temporaryDirectory()],
      ...servers,
    ]);
    expect(stderr).toContain(
      'needs a secret for it: MILLRACE_DECISION_LOG_SECRET, or --decision-log-keys plain',
    );
    expect(code).toBe(1);
  });

  it('a secret that is short, a share that is none: all at once, and the secret is not shown', async () => {
    const args = ['up', '--decision-log-sample', '0', '--decision-log-keys', 'md5'];
    const { code, stderr } = await millrace(args, { env: { MILLRACE_DECISION_LOG_SECRET: 'too short' } });
    expect(stderr).toContain('3 problems in the configuration');
    expect(stderr).toContain(
      'decisionLogSample (flag --decision-log-sample): must be a number above 0, at most 1',
    );
    expect(stderr).toContain(
      'decisionLogKeys (flag --decision-log-keys): must be plain or hashed; it is "md5"',
    );
    expect(stderr).toContain('must be a text of at least 16 characters; it is something else');
    expect(stderr).not.toContain('too short');
    expect(code).toBe(1);
  });
});

describeWithSmallDisks('a full disk', () => {
  it('costs records, no answers, and is over when there is room', async () => {
    const [directory, dataDir] = [temporaryDirectory(), temporaryDirectory()];
    mkdirSync(join(dataDir, 'log'));
    const disks = await SmallDisks.mount({ [directory]: '1m' });
    const own = disks.path(directory);
    const process = disks.up([
      ...['--features', fixture('counter'), '--data-dir', dataDir],
      ...['--decision-log', directory, '--decision-log-keys', 'plain'],
    ]);
    const [, url] = await process.waitForOutput(/listens on (http:\S+)/);
    await process.waitForOutput(/^Ready\./m);
    const server = { process, url: url! };
    let asked = 0;
    const batch = async (): Promise<void> => {
      const rows = Array.from({ length: 500 }, () => ({ entities: { key: KEY } }));
      const answer = await postJson(`${server.url}/v1/services/counters/features/batch`, { rows });
      expect(answer.status).toBe(200);
      asked += rows.length;
    };
    const count = async (result: string): Promise<number> => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      const line = new RegExp(
        `^millrace_decision_log_records_total\\{result="${result}"\\} (\\d+)$`,
        'm',
      ).exec(text);
      return Number(line?.[1] ?? 0);
    };
    const warnings = async (): Promise<string[]> =>
      ((await (await fetch(`${server.url}/readyz`)).json()) as { warnings: string[] }).warnings;
    await batch();
    await vi.waitFor(async () => expect(await count('written')).toBe(500), WAITED);
    expect(await warnings()).toEqual([]);
    const [name] = openFiles(own);
    // What is left is less than a slice of records takes, so that an append is cut short.
    disks.fill(
      directory,
      2 ** 20 - 4_096 * Math.ceil(readFileSync(join(own, name!)).length / 4_096) - 3 * 4_096,
    );
    await batch();
    await vi.waitFor(
      async () => expect((await count('written')) + (await count('disk_refused'))).toBe(asked),
      WAITED,
    );
    expect(await count('disk_refused')).toBeGreaterThan(400);
    expect(await warnings()).toEqual(['answers are missing in the decision log: ENOSPC']);
    disks.free(directory);
    await batch();
    await vi.waitFor(
      async () => expect((await count('written')) + (await count('disk_refused'))).toBe(asked),
      WAITED,
    );
    expect(await warnings()).toEqual([]);
    const written = await count('written');
    expect(await process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    // No line has a part of another before it.
    expect(loggedDecisions(own)).toHaveLength(written);
  });
});
