// npm start: prepares the checkout, then is `millrace up` on the card-fraud example with its simulator, in this
// very process, so that signals reach it. More flags: npm start -- --no-simulate --port 9000
import { prepareCheckout } from './prepare-checkout.mjs';

prepareCheckout();

const given = process.argv.slice(2);
const has = (...flags) => given.some((argument) => flags.includes(argument.split('=')[0]));
const args = ['up'];
// Flags are the strongest setting: add ours only where nothing else is said.
if (!has('--features') && !process.env.MILLRACE_FEATURES) args.push('--features', 'examples/card-fraud');
if (!has('--simulate', '--no-simulate') && !process.env.MILLRACE_SIMULATE) args.push('--simulate');
process.argv = [process.argv[0], 'millrace', ...args, ...given];
await import('../bin/millrace.js');
