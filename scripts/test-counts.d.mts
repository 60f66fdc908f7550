export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Of a vitest TestModule only what is counted. */
export interface CountedModule {
  readonly moduleId: string;
  readonly relativeModuleId?: string;
  state(): string;
  readonly children: {
    allTests(): Iterable<{ readonly fullName: string; result(): { readonly state: string } }>;
  };
}

export const countsFile: string;
export function countsLine(counts: Counts): string;
export function countTests(
  modules: Iterable<CountedModule>,
  unhandledErrors: readonly unknown[],
): { counts: Counts; skipped: string[] };
export function ciCounts(tests: Counts | null, failedSteps: readonly string[]): Counts;
