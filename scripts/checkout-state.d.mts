export const root: string;
export function installIsStale(): boolean;
export function sourcesHash(): string;
export function buildIsStale(): boolean;
export function stampFile(dist: string): string;
