import { connect } from 'node:net';
import { HOST } from '../process/free-port.ts';

const LEAVE_GROUP_KEY = 13;
const TIMEOUT_MS = 2_000;

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

/**
 * Takes a member out of its group, as the broker itself does when the member's session ends. One that is alive hears of
 * it with its next heartbeat and joins again. Resolves whatever the broker answers, also that it is not the coordinator.
 */
export function leaveGroup(port: number, groupId: string, memberId: string): Promise<void> {
  const header = Buffer.alloc(10);
  header.writeInt16BE(LEAVE_GROUP_KEY, 0);
  header.writeInt16BE(0, 2); // version
  header.writeInt32BE(1, 4); // correlation id
  header.writeInt16BE(-1, 8); // no client id
  const body = Buffer.concat([header, text(groupId), text(memberId)]);
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.on('data', () => socket.destroy());
    socket.write(Buffer.concat([length, body]));
  });
}
