/** Single commands to a Redis server, for starting and inspecting servers; the engine has its own client. */
import { connect } from 'node:net';

export type RedisReply = string | number | null | readonly RedisReply[];

const TIMEOUT_MS = 5_000;

/** One command over a connection of its own. Throws what the server answers as an error, and after 5 s. */
export function redisCommand(port: number, ...args: readonly (string | number)[]): Promise<RedisReply> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    let received = Buffer.alloc(0);
    const finish = (settle: () => void): void => {
      socket.destroy();
      settle();
    };
    socket.setTimeout(TIMEOUT_MS, () =>
      finish(() => reject(new Error(`no answer to ${args[0]} within ${TIMEOUT_MS} ms`))),
    );
    socket.on('error', (error) => finish(() => reject(error)));
    socket.on('close', () => reject(new Error(`connection closed before the answer to ${args[0]}`)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      try {
        const parsed = parseReply(received, 0);
        if (parsed !== null) finish(() => resolve(parsed.reply));
      } catch (error) {
        finish(() => reject(error));
      }
    });
    const parts = args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`);
    socket.write(`*${args.length}\r\n${parts.join('')}`);
  });
}

interface Parsed {
  readonly reply: RedisReply;
  readonly end: number;
}

/** RESP2; null while the reply is not complete. */
function parseReply(bytes: Buffer, start: number): Parsed | null {
  const lineEnd = bytes.indexOf('\r\n', start);
  if (lineEnd < 0) return null;
  const line = bytes.toString('utf8', start + 1, lineEnd);
  const next = lineEnd + 2;
  switch (String.fromCharCode(bytes[start]!)) {
    case '+':
      return { reply: line, end: next };
    case '-':
      throw new Error(line);
    case ':':
      return { reply: Number(line), end: next };
    case '$': {
      const length = Number(line);
      if (length < 0) return { reply: null, end: next };
      if (bytes.length < next + length + 2) return null;
      return { reply: bytes.toString('utf8', next, next + length), end: next + length + 2 };
    }
    case '*': {
      const replies: RedisReply[] = [];
      let end = next;
      for (let i = 0; i < Number(line); i += 1) {
        const parsed = parseReply(bytes, end);
        if (parsed === null) return null;
        replies.push(parsed.reply);
        end = parsed.end;
      }
      return { reply: replies, end };
    }
    default:
      throw new Error(`no RESP2 reply: ${bytes.toString('latin1', start, start + 40)}`);
  }
}
