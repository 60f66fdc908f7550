import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { counters, fixture, millrace, push, startUp, temporaryDirectory, up } from './millrace-process.ts';

const click = (id: string, key = 'k', n = 1) => ({ id, at: new Date().toISOString(), key, n });

describe('millrace up', () => {
  it('takes events, serves features, stops on SIGTERM and has the data at the next start', async () => {
    const dataDir = join(temporaryDirectory(), 'data');
    const args = ['--features', fixture('counter'), '--data-dir', dataDir];
    const first = await up(args);
    expect(first.process.stdout).toContain(dataDir);
    expect(await push(first, 'clicks', [click('1', 'k', 5), click('2', 'k', 7)])).toMatchObject({
      accepted: 2,
    });
    expect(await counters(first, 'k')).toEqual({ clicks_30d: 2, n_sum_30d: 12, anonymous_30d: 0 });

    expect(await first.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(first.process.stdout).toMatch(/SIGTERM: draining/);
    expect(first.process.stdout).toMatch(/Stopped: everything accepted is on disk/);

    const second = await up(args);
    expect(await counters(second, 'k')).toEqual({ clicks_30d: 2, n_sum_30d: 12, anonymous_30d: 0 });
    expect(await push(second, 'clicks', [click('2'), click('3')])).toMatchObject({
      accepted: 1,
      duplicates: 1,
    });
    expect(await counters(second, 'k')).toMatchObject({ clicks_30d: 3 });
    expect(await second.process.end('SIGINT')).toEqual({ code: 0, signal: null });
    expect(second.process.stderr).toBe('');
  });

  it('drains on SIGTERM: every acknowledged event of a busy process is there at the next start', async () => {
    const dataDir = temporaryDirectory();
    const args = ['--features', fixture('counter'), '--data-dir', dataDir];
    const first = await up(args);
    let acknowledged = 0;
    let unknown = 0;
    let stopping: Promise<unknown> | null = null;
    const writer = async (name: string): Promise<void> => {
      for (let i = 0; ; i++) {
        try {
          await push(first, 'clicks', [click(`${name}-${i}`)], '');
          acknowledged++;
        } catch {
          unknown++;
          return;
        }
        if (acknowledged >= 100) stopping ??= first.process.end('SIGTERM');
      }
    };
    await Promise.all(['a', 'b', 'c', 'd'].map(writer));
    expect(await stopping).toEqual({ code: 0, signal: null });
    const second = await up(args);
    const { clicks_30d: counted } = await counters(second, 'k');
    expect(counted).toBeGreaterThanOrEqual(acknowledged);
    expect(counted).toBeLessThanOrEqual(acknowledged + unknown);
  });

  it('takes a Ctrl-C that arrives twice, from the terminal and through npm, for one', async () => {
    const server = await up(['--features', fixture('counter'), '--data-dir', temporaryDirectory()]);
    server.process.child.kill('SIGINT');
    expect(await server.process.end('SIGINT')).toEqual({ code: 0, signal: null });
  });

  it('exits at once on a second signal', async () => {
    const server = await up(['--features', fixture('counter'), '--data-dir', temporaryDirectory()]);
    const { exited, child } = server.process;
    // A half-sent request keeps the process draining.
    const { port, hostname } = new URL(server.url);
    const socket = connect(Number(port), hostname).on('error', () => {});
    onTestFinished(() => void socket.destroy());
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    const head = [
      'POST /v1/sources/clicks/events HTTP/1.1',
      'host: x',
      'content-type: application/json',
      'content-length: 99',
      'expect: 100-continue',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n{`);
    await new Promise<void>((resolve) => socket.once('data', () => resolve()));
    child.kill('SIGTERM');
    await server.process.waitForOutput(/SIGTERM: draining/);
    // Signals right after the first are the same Ctrl-C arriving twice (npm passes it on).
    const again = setInterval(() => child.kill('SIGTERM'), 50);
    onTestFinished(() => clearInterval(again));
    expect(await exited).toEqual({ code: 143, signal: null });
  });

  it('ends at once on a second signal under load, and neither loses nor doubles', async () => {
    const args = ['--features', fixture('counter'), '--data-dir', temporaryDirectory()];
    const first = await up(args);
    const { child, exited } = first.process;
    let acknowledged = 0;
    const unknown: ReturnType<typeof click>[] = [];
    let secondMs = 0;
    const writer = async (name: string): Promise<void> => {
      for (let i = 0; ; i++) {
        const events = Array.from({ length: 50 }, (_, n) => click(`${name}-${i}-${n}`));
        try {
          await push(first, 'clicks', events, '');
          acknowledged += events.length;
        } catch {
          unknown.push(...events);
          return;
        }
        if (secondMs === 0 && acknowledged >= 1_000) {
          secondMs = performance.now();
          child.kill('SIGTERM');
          const again = setInterval(() => child.kill('SIGTERM'), 20);
          void exited.then(() => clearInterval(again));
        }
      }
    };
    await Promise.all(['a', 'b', 'c', 'd'].map(writer));
    const { code } = await exited;
    // It may have drained before the second one counts; after that a signal is nobody's any more.
    if (code !== 143) expect(first.process.stdout).toMatch(/^Stopped: /m);
    expect(performance.now() - secondMs).toBeLessThan(2_500);
    const second = await up(args);
    if (unknown.length > 0) await push(second, 'clicks', unknown);
    expect(await counters(second, 'k')).toMatchObject({ clicks_30d: acknowledged + unknown.length });
    expect(await second.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('listens on the loopback only unless told otherwise', async () => {
    const { url } = await up(['--features', fixture('counter'), '--data-dir', temporaryDirectory()]);
    expect(new URL(url).hostname).toBe('127.0.0.1');
  });

  it('answers by event time with --clock event', async () => {
    const args = ['--features', fixture('counter'), '--data-dir', temporaryDirectory(), '--clock', 'event'];
    const server = await up(args);
    // A sample event of today would move the clock past what is to be replayed.
    expect(server.process.stdout).not.toContain('curl');
    expect(server.process.stdout).toContain('millrace replay FILE');
    await push(server, 'clicks', [{ id: '1', at: '2018-05-23T10:00:00Z', key: 'k', n: 1 }]);
    expect(await counters(server, 'k')).toMatchObject({ clicks_30d: 1 });
  });
});

describe('millrace up refuses', () => {
  it('a data directory that another process has', async () => {
    const dataDir = temporaryDirectory();
    const args = ['--features', fixture('counter'), '--data-dir', dataDir];
    const first = await up(args);
    const second = startUp(args);
    expect((await second.exited).code).toBe(1);
    expect(second.stderr).toMatch(new RegExp(`is in use: process ${first.process.child.pid} has it open`));
    expect(second.stderr).not.toMatch(/^\s+at /m);
    expect(await counters(first, 'k')).toMatchObject({ clicks_30d: 0 });
  });

  it('a data directory that another clock has filled', async () => {
    const args = ['--features', fixture('counter'), '--data-dir', temporaryDirectory()];
    const replaying = await up([...args, '--clock', 'event']);
    expect((await replaying.process.end('SIGTERM')).code).toBe(0);
    const { code, stdout, stderr } = await millrace(['up', '--port', '0', ...args]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^millrace: the tile store in .* is filled by the event clock; start with --clock event, /m,
    );
    expect(stderr).toContain('(--data-dir)');
    expect(stderr).not.toMatch(/^\s+at /m);
    await up([...args, '--clock', 'event']);
  });

  it.runIf(process.platform === 'linux').each([
    ['in a file system that takes none', () => '/proc/millrace/data', 'ENOENT'],
    ['in one that forbids it', () => '/sys/millrace', 'EPERM|EACCES'],
    ['with a name that is too long', () => join(temporaryDirectory(), 'x'.repeat(300)), 'ENAMETOOLONG'],
  ])('a data directory %s', async (_where, dataDir, code) => {
    const args = ['--features', fixture('counter'), '--data-dir', dataDir()];
    const process = startUp(args);
    expect((await process.exited).code).toBe(1);
    expect(process.stderr).toMatch(
      new RegExp(`^millrace: the data directory .* cannot be used: (${code}|EROFS).*\\(--data-dir\\)$`, 'm'),
    );
  });

  it('a port that is in use, and leaves the data directory free', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as { port: number };
    const dataDir = temporaryDirectory();
    try {
      const { code, stderr } = await millrace([
        'up',
        '--port',
        `${port}`,
        '--features',
        fixture('counter'),
        '--data-dir',
        dataDir,
      ]);
      expect(code).toBe(1);
      expect(stderr).toContain(`port ${port} on 127.0.0.1 is in use`);
      expect(stderr).not.toMatch(/^\s+at /m);
    } finally {
      blocker.close();
    }
    await up(['--features', fixture('counter'), '--data-dir', dataDir]);
  });

  it('a bad configuration, every problem at once, before it touches anything', async () => {
    const dataDir = join(temporaryDirectory(), 'data');
    const { code, stderr } = await millrace(['up', '--port', 'x', '--clock', 'moon', '--data-dir', dataDir], {
      env: { MILLRACE_LOG_LEVEL: 'loud', MILLRACE_PROT: '1' },
    });
    expect(code).toBe(1);
    expect(stderr).toContain('4 problems in the configuration');
    for (const text of ['flag --port', 'flag --clock', 'MILLRACE_LOG_LEVEL', 'MILLRACE_PROT'])
      expect(stderr).toContain(text);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('--simulate where the feature repo has no simulator', async () => {
    const dataDir = temporaryDirectory();
    const { code, stderr } = await millrace([
      'up',
      '--features',
      fixture('counter'),
      '--simulate',
      '--data-dir',
      dataDir,
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('--simulate needs a simulator.ts');
  });

  it('an unknown flag', async () => {
    const { code, stderr } = await millrace(['up', '--prot', '1']);
    expect(code).toBe(1);
    expect(stderr).toContain("unknown option '--prot'");
  });
});
