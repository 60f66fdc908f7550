import { describe, expect, it } from 'vitest';
import { SharedRequest } from './shared-request.ts';

describe('a shared request', () => {
  it('gives a caller only what was asked for after its call, and asks no more often than needed', async () => {
    const runs: { resolve: (value: string) => void; reject: (error: Error) => void }[] = [];
    const request = new SharedRequest(
      () => new Promise<string>((resolve, reject) => runs.push({ resolve, reject })),
    );
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const first = request.get();
    const second = request.get();
    const third = request.get();
    expect(runs).toHaveLength(1);
    runs[0]!.resolve('one');
    expect(await first).toBe('one');
    await turn();
    expect(runs).toHaveLength(2);
    const fourth = request.get();
    runs[1]!.reject(new Error('two'));
    await expect(second).rejects.toThrow('two');
    await expect(third).rejects.toThrow('two');
    await turn();
    expect(runs).toHaveLength(3);
    runs[2]!.resolve('three');
    expect(await fourth).toBe('three');
    const fifth = request.get();
    expect(runs).toHaveLength(4);
    runs[3]!.resolve('four');
    expect(await fifth).toBe('four');
  });
});
