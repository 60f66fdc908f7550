import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { describeWithServices } from '../testing/describe-with-services.ts';
import { sharedServices } from '../testing/shared-services.ts';
import { startRegistry } from './registry-server.ts';

const TIMEOUT_MS = 240_000;

async function register(url: string, subject: string, field: string): Promise<number> {
  const schema = { type: 'record', name: 'Row', fields: [{ name: field, type: 'long' }] };
  const response = await fetch(`${url}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  return ((await response.json()) as { id: number }).id;
}

describeWithServices(['registry'], 'startRegistry', () => {
  test('no id is handed out twice, not even after a crash', { timeout: TIMEOUT_MS }, async () => {
    const registry = await startRegistry();
    try {
      const id = await register(registry.url, 'rows-value', 'a');
      await registry.kill();
      await registry.restart();
      expect(await register(registry.url, 'rows-value', 'a')).toBe(id);
      expect(await register(registry.url, 'rows-value', 'b')).not.toBe(id);
    } finally {
      await registry.stop();
    }
  });

  test('is shared by all who ask', { timeout: TIMEOUT_MS }, async () => {
    const url = await sharedServices().registry();
    expect(
      await register(url, randomUUID(), randomUUID().replaceAll('-', '_').replace(/^/, 'f')),
    ).toBeGreaterThan(0);
    expect(await sharedServices().registry()).toBe(url);
  });
});
