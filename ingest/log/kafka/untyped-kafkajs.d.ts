/** Of parts of kafkajs that it does not export: what `repairKafkajs` and its tests need of them. */
declare module 'kafkajs/src/network/connection.js' {
  import type { Socket } from 'node:net';

  export default class Connection {
    socket?: Socket;
    chunks: Buffer[];
    bytesBuffered: number;
    bytesNeeded: number;
    isConnected(): boolean;
    connect(): Promise<unknown>;
  }
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  interface Pushed {
    readonly entry: { readonly correlationId: number; readonly resolve: () => void };
    readonly expectResponse: boolean;
    readonly sendRequest: () => void;
  }

  export default class RequestQueue {
    constructor(options: {
      readonly maxInFlightRequests: number | null;
      readonly requestTimeout: number;
      readonly enforceRequestTimeout: boolean;
      readonly clientId: string;
      readonly broker: string;
      readonly logger: { debug(): void; warn(): void };
    });
    readonly pending: readonly unknown[];
    throttleCheckTimeoutId: NodeJS.Timeout | null;
    maybeThrottle(ms: number): void;
    push(request: Pushed): void;
    fulfillRequest(response: { correlationId: number; payload: Buffer; size: number }): void;
    scheduleCheckPendingRequests(): void;
    destroy(): void;
  }
}
