/**
 * Where Redis is: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or `host[:port]`. Several nodes of a
 * cluster are told apart by commas or given as a list; they share user, password and TLS.
 *
 * `unix:///path/of/socket[?db=N]` is one Redis on this machine. User and password are then given elsewhere.
 */
import { StoreSetupError } from '../store-errors.ts';

/** As ioredis and sockets take it. */
export type RedisPlace = { readonly host: string; readonly port: number } | { readonly path: string };

export interface RedisAddress {
  readonly place: RedisPlace;
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: string | null;
}

const DEFAULT_PORT = 6379;

/** @throws StoreSetupError that names the place in the list, never the address: it may hold a password */
export function parseRedisAddresses(nodes: string | readonly string[]): RedisAddress[] {
  const texts = (typeof nodes === 'string' ? nodes.split(',') : nodes).map((text) => text.trim());
  if (texts.length === 0) throw new StoreSetupError('no Redis address was given');
  const addresses = texts.map((text, i) => {
    const address = parse(text);
    if (address === null) {
      throw new StoreSetupError(
        `Redis address ${i + 1} of ${texts.length} is not of the form redis://[user:password@]host[:port][/db] or ` +
          'unix:///path[?db=N], where user and password have %, @, / and : as %25, %40, %2F and %3A',
      );
    }
    return address;
  });
  const [first] = addresses;
  for (const [i, { db, tls }] of addresses.entries()) {
    if (db !== first!.db || tls !== first!.tls) {
      throw new StoreSetupError(`Redis address ${i + 1} differs from the first one in TLS or database`);
    }
  }
  return addresses;
}

const SOCKET = /^unix:\/\/(\/[^?#]+)(?:\?db=(\d{1,4}))?$/;

function parse(text: string): RedisAddress | null {
  const socket = SOCKET.exec(text);
  if (socket !== null) {
    const [, path, db = '0'] = socket;
    return { place: { path: path! }, db: Number(db), tls: false, username: null, password: null };
  }
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `redis://${text}`);
  } catch {
    return null;
  }
  const db = /^(?:\/(\d{1,4})?)?$/.exec(url.pathname);
  if (db === null || url.hostname === '' || url.search !== '' || url.hash !== '') return null;
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') return null;
  let credentials: (string | null)[];
  try {
    credentials = [url.username, url.password].map((text) => (text === '' ? null : decodeURIComponent(text)));
  } catch {
    return null;
  }
  return {
    place: {
      // A URL keeps the brackets of an IPv6 address; a socket does not take them.
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    },
    db: Number(db[1] ?? 0),
    tls: url.protocol === 'rediss:',
    username: credentials[0]!,
    password: credentials[1]!,
  };
}

/** For messages, and as a cluster's table of slots says it but for IPv6: HOST:PORT, or the path of a socket. */
export function placeText(place: RedisPlace): string {
  if ('path' in place) return place.path;
  const { host, port } = place;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
