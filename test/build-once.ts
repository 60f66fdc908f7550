import { prepareCheckout } from '../scripts/prepare-checkout.mjs';

/** Before any end-to-end test: dist is of the present sources. */
export default function setup(): void {
  prepareCheckout();
}
