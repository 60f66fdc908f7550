/** The module of the thread that writes tiles, for `millrace up`: see embedded/write-thread.ts. */
import { writeRows } from '../embedded/write-rows.ts';
import { loadFeatureRepo } from './load-features.ts';

await writeRows((features) => loadFeatureRepo(features as string));
