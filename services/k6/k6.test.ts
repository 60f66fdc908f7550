import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ensureK6, findK6, GO_VERSION_MIN, goProblem, isRecentGo } from './k6.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-k6-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

function program(name: string): string {
  const path = join(directory, name);
  writeFileSync(path, '#!/bin/sh\n');
  chmodSync(path, 0o755);
  return path;
}

test('the k6 that the environment names goes before that of PATH', async () => {
  const onPath = program('k6');
  vi.stubEnv('PATH', directory);
  vi.stubEnv('K6', '');
  expect(findK6()).toMatchObject({ program: onPath, args: [] });
  const named = program('another');
  vi.stubEnv('K6', named);
  expect(findK6()).toMatchObject({ program: named, args: [] });
  expect(await ensureK6({ report: () => {} })).toMatchObject({ program: named });
});

test('a name that leads nowhere is an error, not another k6', () => {
  program('k6');
  vi.stubEnv('PATH', directory);
  vi.stubEnv('K6', join(directory, 'missing'));
  expect(() => findK6()).toThrow(`K6 in the environment names no program: ${join(directory, 'missing')}`);
});

test('Go is asked for its version, and may be missing', () => {
  vi.stubEnv('PATH', directory);
  expect(goProblem()).toBe('go is not installed');
  writeFileSync(join(directory, 'go'), '#!/bin/sh\necho go1.19.8\n');
  chmodSync(join(directory, 'go'), 0o755);
  expect(goProblem()).toBe(`go is older than ${GO_VERSION_MIN.join('.')}`);
  writeFileSync(join(directory, 'go'), '#!/bin/sh\necho go1.24rc1\n');
  expect(goProblem()).toBeNull();
});

test.each([
  ['1.20.14', false],
  ['1.21.0', true],
  ['1.21', true],
  ['1.24rc1', true],
  ['2.0', true],
  ['0.99', false],
  ['devel', false],
])('go %s is recent: %s', (version, recent) => {
  expect(isRecentGo(version)).toBe(recent);
});
