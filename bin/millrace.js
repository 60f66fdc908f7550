#!/usr/bin/env node
// Runs the built CLI. In a checkout the build must be of the present sources: an old one is refused, never run.
import { existsSync } from 'node:fs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 6)) {
  console.error(`millrace needs Node 20.6 or later; this is ${process.version}`);
  process.exit(1);
}
if (existsSync(new URL('../cli/main.ts', import.meta.url))) {
  const { installIsStale, buildIsStale } = await import('../scripts/checkout-state.mjs');
  const todo = installIsStale() ? 'npm ci && npm run build' : buildIsStale() ? 'npm run build' : null;
  if (todo !== null) {
    console.error(`millrace: this checkout is not built, or was built from other sources. Run: ${todo}`);
    process.exit(1);
  }
}
const { main } = await import('../dist/cli/main.js');
await main(process.argv);
