/** The Kafka protocol as far as one question needs it. */
import { connect } from 'node:net';

const METADATA_KEY = 3;
const METADATA_VERSION = 1;
const TIMEOUT_MS = 2_000;

/** Metadata request, version 1, about no topic; the length comes first. */
function metadataRequest(): Buffer {
  const request = Buffer.alloc(18);
  request.writeInt32BE(request.length - 4, 0);
  request.writeInt16BE(METADATA_KEY, 4);
  request.writeInt16BE(METADATA_VERSION, 6);
  request.writeInt32BE(1, 8); // correlation id
  request.writeInt16BE(-1, 12); // no client id
  request.writeInt32BE(0, 14); // topics
  return request;
}

/** Whether a broker answers that names at least one broker and a controller: from then on topics can be made. */
export function brokerAnswers(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    let received = Buffer.alloc(0);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no metadata within ${TIMEOUT_MS} ms`)));
    socket.on('error', reject);
    socket.on('close', () => resolve(false));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return;
      socket.destroy();
      resolve(namesController(received));
    });
    socket.write(metadataRequest());
  });
}

/** The answer: length, correlation id, brokers (id, host, port, rack), controller id, topics. */
function namesController(answer: Buffer): boolean {
  const brokers = answer.readInt32BE(8);
  let at = 12;
  const skipText = (): void => {
    at += 2 + Math.max(0, answer.readInt16BE(at));
  };
  for (let i = 0; i < brokers; i += 1) {
    at += 4;
    skipText();
    at += 4;
    skipText();
  }
  return brokers > 0 && answer.readInt32BE(at) >= 0;
}
