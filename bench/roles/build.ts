/** Builds the checkout; what is measured is what ships. Never installs: that would be done to whoever shares node_modules. */
import { spawnSync } from 'node:child_process';
import { buildIsStale, installIsStale, root } from '../../scripts/checkout-state.mjs';

/** @throws where dependencies are not those of the lockfile, or the build fails */
export function buildCheckout({ always }: { readonly always: boolean }): void {
  if (installIsStale())
    throw new Error('node_modules is missing or older than package-lock.json: run npm ci');
  if (!always && !buildIsStale()) return;
  const script = "import { build } from './scripts/prepare-checkout.mjs'; build();";
  const { status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('the build failed');
}
