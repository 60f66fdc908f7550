/**
 * When V8 collects the whole heap. By itself it does when what lives has grown by 30 %, or by 8 MB: in a process whose answers
 * are made of Buffers, whose bytes it adds before they are collected with the young generation, that is soon after each collection.
 * `serve` then spent 15 % of its time on two of them a second, each 25 ms of work on one core and 6 ms of standstill
 * (docs/performance.md).
 */
import { setFlagsFromString } from 'node:v8';

/** Of what lives. V8 itself never lets it pass the middle between that and the heap's limit (`--max-old-space-size`). */
const GROWTH_PERCENT = 400;

/** For this process, from the next collection on. Memory for time: up to four times what lives, as garbage. */
export function letHeapGrow(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
