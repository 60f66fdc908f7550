/** How a feature repo calls an operation: `exp_decay_sum` is made by `expDecaySum`. */
export function builderName(operation: string): string {
  return operation.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
