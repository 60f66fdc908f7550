import type { CompiledSource } from '../../engine/definitions/compiled.ts';

export const tapsSource: CompiledSource | undefined;
export const PARTITIONS: number;
export function eventOf(n: number): { at: number; n: number; text: string };
