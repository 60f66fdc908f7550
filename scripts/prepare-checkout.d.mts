export function prepareCheckout(): void;
