import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkout, MillraceProcess, temporaryDirectory } from './millrace-process.ts';

const hasCurl = spawnSync('curl', ['--version']).status === 0;

/** What `npm start` runs. */
const start = (args: readonly string[]): MillraceProcess =>
  new MillraceProcess(process.execPath, [join(checkout, 'scripts/start.mjs'), '--port', '0', ...args]);

/** Runs a printed line exactly as printed; without curl and a shell, what it says. */
async function run(line: string): Promise<unknown> {
  if (hasCurl && existsSync('/bin/sh')) {
    const { stdout, stderr, status } = spawnSync('/bin/sh', ['-c', line], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return JSON.parse(stdout);
  }
  const [, url, body] = /^curl -sS '([^']+)' -H 'content-type: application\/json' -d '([^']+)'$/.exec(line)!;
  const headers = { 'content-type': 'application/json' };
  return (await fetch(url!, { method: 'POST', headers, body: body! })).json();
}

const curlLines = (output: string): string[] => output.split('\n').filter((line) => line.startsWith('curl '));

describe('npm start', () => {
  it('prints a line that pushes an event and one that reads it back; both work as printed', async () => {
    const process = start(['--no-simulate', '--data-dir', temporaryDirectory()]);
    await process.waitForOutput(/^Ready\./m);
    expect(process.stdout).toMatch(/listens on http:\/\/127\.0\.0\.1:\d+/);
    expect(process.stdout).toMatch(/simulator +off/);
    const [push, read, ...more] = curlLines(process.stdout);
    expect(more).toEqual([]);
    expect(await run(read!)).toMatchObject({ features: { CUSTOMER_ID_NB_TX_1DAY_WINDOW: 0 } });
    expect(await run(push!)).toEqual({ accepted: 1, duplicates: 0, rejected: [] });
    expect(await run(read!)).toMatchObject({ features: { CUSTOMER_ID_NB_TX_1DAY_WINDOW: 1 } });
    expect(await process.end('SIGINT')).toEqual({ code: 0, signal: null });
  });

  // Not where npm runs scripts in cmd.exe, which has no exec.
  it.skipIf(process.platform === 'win32')('stops as a whole when npm is told to stop', async () => {
    const args = ['start', '--', '--port', '0', '--no-simulate', '--data-dir', temporaryDirectory()];
    const npm = new MillraceProcess('npm', args, { ownGroup: true });
    const [, url] = await npm.waitForOutput(/listens on (\S+)/);
    await npm.waitForOutput(/^Ready\./m);
    expect(await npm.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(npm.stdout).toContain('Stopped: everything accepted is on disk');
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it('feeds card swipes live, whose features can be read, and goes on after a restart', async () => {
    const dataDir = temporaryDirectory();
    const args = ['--data-dir', dataDir, '--simulate-rate', '200'];
    let before = 0;
    for (let restart = 0; restart < 2; restart++) {
      const process = start(args);
      const [, url] = await process.waitForOutput(/listens on (\S+)/);
      await process.waitForOutput(/^Ready\./m);
      const totalOf = async (): Promise<number> => {
        const rows = Array.from({ length: 200 }, (_, i) => ({
          entities: { customer_id: `${i}`, terminal_id: '0' },
        }));
        const response = await fetch(`${url}/v1/services/card_fraud/features/batch`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ rows }),
        });
        const { rows: answers } = (await response.json()) as {
          rows: { features: { CUSTOMER_ID_NB_TX_1DAY_WINDOW: number } }[];
        };
        return answers.reduce((sum, { features }) => sum + features.CUSTOMER_ID_NB_TX_1DAY_WINDOW, 0);
      };
      await expect.poll(totalOf, { timeout: 20_000, interval: 50 }).toBeGreaterThan(before + 50);
      before = await totalOf();
      expect(await process.end('SIGTERM')).toEqual({ code: 0, signal: null });
      expect(process.stderr).toBe('');
    }
  });
});

describe('the checkout', () => {
  it('is tested as it is built: the stamp in dist is of the present sources', async () => {
    const { sourcesHash } = await import('../scripts/checkout-state.mjs');
    expect(readFileSync(join(checkout, 'dist/.built-from'), 'utf8')).toBe(sourcesHash());
  });
});
