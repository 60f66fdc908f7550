// npm run build
import { installIsStale } from './checkout-state.mjs';
import { build, install } from './prepare-checkout.mjs';

if (installIsStale()) install();
build();
