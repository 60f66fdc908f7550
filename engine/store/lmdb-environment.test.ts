import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openEnvironment } from './lmdb-environment.ts';

test('a process killed while it made an environment leaves nothing that hinders the next', async () => {
  const path = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  // The first pages are not on the disk yet: opening such a file ends the process.
  mkdirSync(join(path, 'new'));
  writeFileSync(join(path, 'new/data.mdb'), new Uint8Array(8192));
  const environment = await openEnvironment({ path, overlappingSync: true });
  await environment.close();
  expect(existsSync(join(path, 'data.mdb'))).toBe(true);
  expect(existsSync(join(path, 'new'))).toBe(false);
});
