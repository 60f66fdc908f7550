// The module of the killed engine's write thread.
import { writeRows } from '../../dist/embedded/write-rows.js';
import { killRepo } from './kill-repo.mjs';

await writeRows(async () => killRepo);
