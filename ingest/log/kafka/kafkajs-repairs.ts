/**
 * What kafkajs 2.2.4 does wrong, and would be waited for in vain: it is not released any more.
 *
 * 1. When a connection ends in the middle of an answer, it keeps the part that came, and takes it for the beginning of the
 *    first answer on the next connection to that broker. From then on nothing that comes makes sense: the process ends with a
 *    RangeError, or that broker is never heard again.
 * 2. From its first answer on, every connection looks a thousand times a second whether requests wait that were held back,
 *    although there are none (kafkajs issues 1556, 1604 and 1704).
 */
import Connection from 'kafkajs/src/network/connection.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/** Bytes of the length in front of every answer. */
const LENGTH_BYTES = 4;

let repaired = false;

/** Mends both for every connection of this process. Idempotent. */
export function repairKafkajs(): void {
  if (repaired) return;
  repaired = true;
  beginWithEmptyBuffers();
  lookOnlyWhereRequestsWait();
}

function beginWithEmptyBuffers(): void {
  const { connect } = Connection.prototype;
  Connection.prototype.connect = function (this: Connection): Promise<unknown> {
    if (!this.isConnected()) {
      this.socket?.removeAllListeners('data');
      this.chunks = [];
      this.bytesBuffered = 0;
      this.bytesNeeded = LENGTH_BYTES;
    }
    return connect.call(this);
  };
}

/** A request that has to wait is put into the queue before this is called, and every answer looks at the queue by itself. */
function lookOnlyWhereRequestsWait(): void {
  const { scheduleCheckPendingRequests } = RequestQueue.prototype;
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length > 0) scheduleCheckPendingRequests.call(this);
  };
}
