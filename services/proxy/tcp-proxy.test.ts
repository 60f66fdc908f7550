import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HOST } from '../process/free-port.ts';
import { waitUntil } from '../process/wait-until.ts';
import { TcpProxy } from './tcp-proxy.ts';

/** Answers every byte with the same byte, and remembers what came. */
let server: Server;
let arrived = '';
let proxy: TcpProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  arrived = '';
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      arrived += bytes.toString();
      socket.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  proxy = await TcpProxy.open((server.address() as AddressInfo).port);
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  proxy.close();
  server.close();
});

interface Client {
  readonly socket: Socket;
  answered: string;
  ended: boolean;
}

/** Connected: its `a` was answered. */
async function client(): Promise<Client> {
  const socket = connect({ host: HOST, port: proxy.port });
  clients.push(socket);
  const state: Client = { socket, answered: '', ended: false };
  socket.on('error', () => {});
  socket.on('close', () => {
    state.ended = true;
  });
  socket.on('data', (bytes) => {
    state.answered += bytes.toString();
  });
  socket.write('a');
  await until(() => state.answered === 'a');
  return state;
}

const until = (condition: () => boolean): Promise<void> =>
  waitUntil(condition, { what: 'the proxy does what it should', timeoutMs: 30_000 });

test('a request whose reply is lost was executed, and later ones are answered again', async () => {
  const it = await client();
  proxy.loseReplies();
  it.socket.write('b');
  await until(() => arrived === 'ab');
  proxy.heal();
  it.socket.write('c');
  await until(() => it.answered === 'ac');
});

test('a connection is cut in the middle of a message, once', async () => {
  const it = await client();
  proxy.cutAfter('requests', 3);
  it.socket.write('bcdef');
  await until(() => it.ended && arrived === 'abcd');
  const other = await client();
  other.socket.write('bcdef');
  await until(() => other.answered === 'abcdef');
});

test('a connection is cut in the middle of a reply', async () => {
  const it = await client();
  proxy.cutAfter('replies', 2);
  it.socket.write('bcdef');
  await until(() => it.ended);
  expect([it.answered, arrived]).toEqual(['abc', 'abcdef']);
});

test('what was held is delivered in order', async () => {
  const it = await client();
  proxy.hold();
  for (const byte of 'bcdefghi') it.socket.write(byte);
  const other = connect({ host: HOST, port: proxy.port });
  clients.push(other);
  other.on('error', () => {});
  other.write('A');
  expect(arrived).toBe('a');
  proxy.heal();
  await until(() => it.answered === 'abcdefghi' && arrived.includes('A'));
});

test('what was held arrives although its client has gone', async () => {
  const it = await client();
  proxy.hold();
  it.socket.end('b');
  it.socket.destroySoon();
  await until(() => it.ended);
  expect(arrived).toBe('a');
  proxy.heal();
  await until(() => arrived === 'ab');
});

test('what is late comes in order, also what comes behind it in time', async () => {
  const it = await client();
  proxy.delay(100);
  for (const byte of 'bcd') it.socket.write(byte);
  proxy.delay(1);
  for (const byte of 'efg') it.socket.write(byte);
  await until(() => it.answered === 'abcdefg');
});

test('connections are led elsewhere', async () => {
  const it = await client();
  let elsewhere = '';
  const other = createServer((socket) => {
    socket.on('data', (bytes) => {
      elsewhere += bytes.toString();
      socket.write(bytes);
    });
  });
  await new Promise<void>((resolve) => other.listen(0, HOST, resolve));
  try {
    proxy.leadTo((other.address() as AddressInfo).port);
    await until(() => it.ended);
    await client();
    expect([arrived, elsewhere]).toEqual(['a', 'a']);
  } finally {
    other.close();
  }
});
