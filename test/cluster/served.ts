import { expect } from 'vitest';
import { postJson } from '../millrace-process.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import { CARDS } from './events.ts';
import type { Truth } from './truth.ts';

export interface ServedRow {
  readonly features: Record<string, unknown>;
  readonly metadata: {
    readonly features: Record<string, { readonly status: string; readonly missing?: object }>;
  };
}

/** Features of keys, `at` a time, as one server answers them. */
export async function served(
  server: SupervisedProcess,
  service: string,
  keys: readonly string[],
  atMs: number,
): Promise<ServedRow[]> {
  const rows = keys.map((key) => ({ entities: { [service]: key }, at: atMs }));
  const { status, body } = await postJson(`${server.url}/v1/services/${service}/features/batch`, {
    rows,
    metadata: true,
  });
  expect(status, JSON.stringify(body)).toBe(200);
  const answers = (body as { rows: ServedRow[] }).rows;
  for (const answer of answers) if (answer.features === undefined) throw new Error(JSON.stringify(answer));
  return answers;
}

/**
 * Every feature of every key at two times, as each server answers it: `present` or `empty`, and the oracle's value.
 * @returns how many values were compared
 */
export async function expectServedAsTrue(
  servers: readonly SupervisedProcess[],
  truth: Truth,
  /** For messages. */
  run: string,
): Promise<number> {
  let compared = 0;
  for (const [s, server] of servers.entries()) {
    for (const atMs of [truth.lastMs, truth.lastMs - 17 * 60_000 - s]) {
      for (const [service, keys] of [
        ['card', [...CARDS, 'last', 'nobody']],
        ['shop', ['corner', 'mall', 'kiosk', 'nowhere']],
      ] as const) {
        const rows = await served(server, service, keys, atMs);
        for (const [i, key] of keys.entries()) {
          const { features, metadata } = rows[i]!;
          expect(features, `${service} ${key} at ${atMs}, ${run}`).toEqual(
            truth.features(service, key, atMs),
          );
          for (const { status } of Object.values(metadata.features)) {
            expect(['present', 'empty']).toContain(status);
          }
          compared += Object.keys(features).length;
        }
      }
    }
  }
  return compared;
}
