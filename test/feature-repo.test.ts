import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkout, fixture, millrace, temporaryDirectory } from './millrace-process.ts';

describe('millrace validate', () => {
  it.each(['card-fraud', 'login-velocity'])(
    'accepts examples/%s and prints what it defines',
    async (name) => {
      const { code, stdout, stderr } = await millrace(['validate', '--features', `examples/${name}`]);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^source (\w+): topic \1, event time \w+/m);
      expect(stdout).toMatch(/^view \w+: \w+ by \w+\n {2}namespace [0-9a-f]{16}/m);
      expect(stdout).toMatch(/^service \w+$/m);
    },
  );

  it('prints windows, stored columns, request data', async () => {
    const { stdout } = await millrace(['validate', '--features', fixture('counter')]);
    expect(stdout).toMatch(/n_sum_30d +sum\('n'\) +30d/);
    expect(stdout).toMatch(/stored columns: n integer/);
    expect(stdout).toMatch(/request data: bonus integer/);
  });

  it('estimates the state of a key for the rates asked for, and warns past the bound', async () => {
    const args = ['validate', '--features', fixture('counter')];
    expect((await millrace(args)).stdout).toMatch(/^ {4}10k +\d+k .* [KM]iB/m);
    const { code, stdout } = await millrace([...args, '--rate', '5', '--rate', '1000000']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ {4}5 /m);
    expect(stdout).toMatch(/^ {2}! with 1.0M events a day a key takes .* past its maxStateBytes of 8MiB/m);
    expect((await millrace([...args, '--rate', '0'])).stderr).toContain('events per key and day');
  });

  it('names every problem and exits with 1', async () => {
    const { code, stderr } = await millrace(['validate', '--features', fixture('broken')]);
    expect(code).toBe(1);
    expect(stderr).toContain('service same: two different definitions have this name');
    expect(stderr).toContain('not a name');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('says where a feature repo fails to load', async () => {
    const { code, stderr } = await millrace(['validate', '--features', fixture('throws')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /throws\/features.ts cannot be loaded: no such table\n +at configure .*features.ts:3/,
    );
  });

  it('says that a directory is missing or is no feature repo', async () => {
    const empty = temporaryDirectory();
    expect((await millrace(['validate', '--features', empty])).stderr).toContain('has no features.ts');
    expect((await millrace(['validate', '--features', join(empty, 'x')])).stderr).toContain('does not exist');
  });
});

describe('a feature repo', () => {
  it('imports the very modules that the CLI runs on', async () => {
    const { code, stderr } = await millrace(['validate', '--features', fixture('own-error')]);
    expect(code).toBe(1);
    expect(stderr).toBe('millrace: 1 problem in the definitions:\n  fixture: the very class\n');
  });

  it('may lie anywhere, without a package.json or node_modules', async () => {
    const directory = join(temporaryDirectory(), 'my features');
    cpSync(fixture('counter'), directory, { recursive: true });
    writeFileSync(join(directory, 'helper.ts'), 'export const answer: number = 42;\n');
    const features = join(directory, 'features.ts');
    const text = readFileSync(features, 'utf8');
    writeFileSync(
      features,
      `import { answer } from './helper.ts';\nif (answer !== 42) throw new Error();\n${text}`,
    );
    const { code, stdout, stderr } = await millrace(['validate', '--features', directory], {
      cwd: directory,
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain('view clicks_by_key');
  });
});

describe('the command line', () => {
  it('prints version and help', async () => {
    const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect((await millrace(['--version'])).stdout).toBe(`${version}\n`);
    const { code, stdout } = await millrace(['--help']);
    expect(code).toBe(0);
    for (const command of ['up', 'replay', 'get', 'validate']) expect(stdout).toContain(` ${command} `);
    expect((await millrace(['up', '--help'])).stdout).toMatch(
      /--port <n>[\s\S]*default: 8787[\s\S]*MILLRACE_PORT/,
    );
  });
});
