import type { WriteThreadModule } from '../write-thread.ts';

/** What the thread is to do instead of its work. */
export type Defect = 'not loaded' | 'never loaded' | 'ends' | 'fails' | 'full' | 'hangs';

const url = new URL('./write-thread-module.mjs', import.meta.url);

/** The write thread of an engine over the tests' repo. */
export const WRITE_THREAD: WriteThreadModule = { url, data: null };

export const defectiveThread = (defect: Defect): WriteThreadModule => ({ url, data: defect });
