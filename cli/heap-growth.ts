/**
 * When V8 collects the whole heap. By itself, where the old generation fills slowly, it was seen to do so again after 1 to 2 MB on 34 MB
 * that live, if answers are made of Buffers: their bytes count before the young generation is collected. `serve` then spent 15 % of its
 * time on two collections a second, each 25 ms of work on one core and 6 ms of standstill (docs/performance.md).
 */
import { setFlagsFromString } from 'node:v8';

/** Of what lives. V8 itself never lets it pass the middle between that and the heap's limit (`--max-old-space-size`). */
const GROWTH_PERCENT = 400;

/** For this process, from the next collection on. Memory for time: up to four times what lives, as garbage. */
export function letHeapGrow(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
