// npm run services, services:stop: installs dependencies where they are missing, then runs main.ts.
import { existsSync } from 'node:fs';
import { install } from '../scripts/prepare-checkout.mjs';

// `npm run services | head` closes our output: the servers are started, or ended, all the same.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
});
const tsx = new URL('../node_modules/tsx', import.meta.url);
if (!existsSync(tsx)) install();
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('./main.ts');
process.exitCode = await main(process.argv.slice(2));
