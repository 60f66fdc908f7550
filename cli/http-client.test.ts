import { expect, test } from 'vitest';
import { describeReply } from './http-client.ts';

const said = (body: unknown): string => describeReply({ status: 404, body, retryAfterSeconds: null });
const error = { code: 'unknown_view', message: 'there is no view' };

test('details are on a line of their own, where there are any', () => {
  expect(said({ error: { ...error, details: { expected: ['spend'] } } })).toBe(
    'there is no view (unknown_view, HTTP 404)\n  {"expected":["spend"]}',
  );
  for (const details of [{}, null, undefined]) {
    expect(said({ error: { ...error, details } })).toBe('there is no view (unknown_view, HTTP 404)');
  }
  for (const body of [undefined, null, {}, { error: {} }]) expect(said(body)).toBe('HTTP 404');
});
