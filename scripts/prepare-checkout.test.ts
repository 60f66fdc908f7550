import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const checkout = fileURLToPath(new URL('../', import.meta.url));

/** A checkout whose only source has this text. */
function smallCheckout(source: string): string {
  const root = mkdtempSync(join(tmpdir(), 'millrace-checkout-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const name of [
    'scripts',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
  ]) {
    cpSync(join(checkout, name), join(root, name), { recursive: true });
  }
  mkdirSync(join(root, 'node_modules'));
  for (const name of ['typescript', '@types']) {
    symlinkSync(join(checkout, 'node_modules', name), join(root, 'node_modules', name));
  }
  // As after an installation.
  writeFileSync(join(root, 'node_modules/.package-lock.json'), '');
  writeFileSync(join(root, 'index.ts'), source);
  mkdirSync(join(root, 'dist'));
  writeFileSync(join(root, 'dist/index.js'), 'of before');
  return root;
}

test('a build that fails leaves dist as it was, and nothing beside it, also not of builds that were killed', () => {
  const root = smallCheckout("export const wrong: number = 'a text';\n");
  const killed = spawnSync(process.execPath, ['--version']).pid;
  for (const name of [`dist.next-${killed}`, `dist.old-${killed}`, `dist.next-${process.pid}`]) {
    mkdirSync(join(root, name));
  }
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build.mjs'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/index\.ts.*TS2322/);
  expect(status).toBe(1);
  // That of a process which lives is its own.
  expect(readdirSync(root).filter((name) => name.startsWith('dist'))).toEqual([
    'dist',
    `dist.next-${process.pid}`,
  ]);
  expect(readFileSync(join(root, 'dist/index.js'), 'utf8')).toBe('of before');
});
