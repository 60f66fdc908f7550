/**
 * What kafkajs 2.2.4 does wrong when a connection ends in the middle of an answer: it keeps the part that came, and takes it
 * for the beginning of the first answer on the next connection to that broker. From then on nothing that comes makes
 * sense: the process ends with a RangeError, or that broker is never heard again.
 */
import Connection from 'kafkajs/src/network/connection.js';

/** Bytes of the length in front of every answer. */
const LENGTH_BYTES = 4;

let repaired = false;

/** Every connection of this process begins with an empty buffer. */
export function repairConnections(): void {
  if (repaired) return;
  repaired = true;
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
