// The module of a write thread for the tests' repo, run from source. Its data says what is to go wrong.
import { parentPort, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();

switch (workerData.data) {
  case 'not loaded':
    throw new Error('the module cannot be loaded');
  case 'never loaded':
    setInterval(() => {}, 1_000);
    await new Promise(() => {});
    break;
  case 'hangs':
    parentPort.on('message', () => {
      for (;;);
    });
    parentPort.postMessage('ready');
    break;
  case 'ends':
    parentPort.on('message', () => process.exit(7));
    parentPort.postMessage('ready');
    break;
  case 'fails':
    parentPort.on('message', () => {
      throw new TypeError('secret-key-4711');
    });
    parentPort.postMessage('ready');
    break;
  case 'full':
    parentPort.on('message', (request) => {
      if (request === 'close') parentPort.close();
      else parentPort.postMessage({ call: request.call, error: { name: 'StoreFullError', message: 'full' } });
    });
    parentPort.postMessage('ready');
    break;
  default: {
    const [{ writeRows }, { testRepo }] = await Promise.all([
      import('../write-rows.ts'),
      import('./test-repo.ts'),
    ]);
    await writeRows(async () => testRepo);
  }
}
