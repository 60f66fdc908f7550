import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { integerOption, listOption, numberOption, runDevCommand, UsageError } from './dev-command.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

let printed: string;
let complained: string;
beforeEach(() => {
  printed = '';
  complained = '';
  vi.spyOn(console, 'log').mockImplementation((text) => {
    printed += text;
  });
  vi.spyOn(console, 'error').mockImplementation((text) => {
    complained += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** @returns the exit code */
async function run(...args: string[]): Promise<typeof process.exitCode> {
  process.exitCode = undefined;
  complained = '';
  await runDevCommand(
    {
      name: 'npm run it',
      help: 'what it does',
      options: { times: { type: 'string', default: '3' }, broken: { type: 'boolean' } },
      run: async ({ times, broken }) => {
        printed += integerOption('times', times, { min: 1 });
        return broken !== true;
      },
    },
    args,
  );
  return process.exitCode;
}

test('the exit code tells what was found from what was mistyped', async () => {
  expect(await run()).toBe(0);
  expect(printed).toBe('3');
  expect(await run('--broken')).toBe(1);
  expect(await run('--bogus')).toBe(2);
  expect(complained).toMatch(/^Unknown option '--bogus'.*\n\nnpm run it -- --help$/s);
  for (const args of [['--times'], ['--times', 'x'], ['--times='], ['more']]) {
    expect(await run(...args), args.join(' ')).toBe(2);
  }
  expect(await run('--help')).toBeUndefined();
  expect(printed).toContain('what it does');
});

test('values out of range are refused by name', () => {
  expect(integerOption('n', '7', { min: 7, max: 7 })).toBe(7);
  expect(numberOption('n', '0.5', { min: 0 })).toBe(0.5);
  expect(() => integerOption('n', '0.5', { min: 0 })).toThrow(UsageError);
  expect(() => integerOption('n', '8', { min: 1, max: 7 })).toThrow(
    "--n must be an integer from 1 to 7, not '8'",
  );
  for (const text of ['', ' ', 'x', '-1', 'Infinity', 'NaN']) {
    expect(() => numberOption('n', text, { min: 0 })).toThrow('--n must be a number of at least 0');
  }
  expect(listOption('only', undefined, ['a', 'b'])).toEqual(['a', 'b']);
  expect(listOption('only', 'b', ['a', 'b'])).toEqual(['b']);
  expect(() => listOption('only', 'a,c', ['a', 'b'])).toThrow('--only: c is none of a, b');
});

test.each(['sim', 'mutations', 'power-loss', 'kills', 'faults', 'bench', 'test:matrix'])(
  'npm run %s refuses what it does not know, and tries nothing',
  async (name) => {
    const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
    const [program, ...args] = (scripts[name] as string).split(' ');
    expect(program).toBe('node');
    const { code, stderr } = await ended([...args, '--bogus']);
    expect(stderr).toContain(`npm run ${name} -- --help`);
    expect(code).toBe(2);
  },
);

function ended(args: readonly string[]): Promise<{ readonly code: unknown; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (error, _, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stderr });
    });
  });
}
