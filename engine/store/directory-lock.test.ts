import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryLockedError, lockDirectory } from './directory-lock.ts';

describe('directory lock', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-lock-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('refuses a second holder, names directory and process, and is free after release', async () => {
    const lock = await lockDirectory(directory);
    const error = await lockDirectory(directory).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(DirectoryLockedError);
    expect(error).toMatchObject({ directory, pid: process.pid });
    await Promise.all([lock.release(), lock.release()]);
    await (await lockDirectory(directory)).release();
  });

  it('creates the directory, and knows it by another path', async () => {
    const inner = join(directory, 'a', 'b');
    const lock = await lockDirectory(inner);
    await symlink(inner, join(directory, 'link'));
    await expect(lockDirectory(join(directory, 'link'))).rejects.toThrow(DirectoryLockedError);
    await mkdir(join(directory, 'c'));
    await (await lockDirectory(join(directory, 'c'))).release();
    await lock.release();
  });

  it('gives it to one of many that ask at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => lockDirectory(directory)));
    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(locks).toHaveLength(1);
    await locks[0]!.release();
  });

  it('is free as soon as a killed holder is gone', async () => {
    const module = JSON.stringify(new URL('./directory-lock.ts', import.meta.url).href);
    const script = `import { lockDirectory } from ${module};
      await lockDirectory(process.argv[1]); console.log('held'); setInterval(() => {}, 1000);`;
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script, directory],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout, 'data');
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      pid: child.pid,
      message: expect.stringContaining(`${directory} is in use: process ${child.pid}`),
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await (await lockDirectory(directory)).release();
  });
});
