import type { TcpProxy } from '../../services/proxy/tcp-proxy.ts';
import { Deck } from './deck.ts';
import type { World } from './world.ts';

export interface ConnectionFaultOptions {
  /** For the names of faults. */
  readonly server: string;
  /** How long nothing passes: shorter and longer than what clients wait. */
  readonly silenceMs: { readonly least: number; readonly most: number };
  /** Where connections are cut: within so many bytes. */
  readonly requestBytes: number;
}

const KINDS = ['lost replies', 'cut request', 'cut reply', 'cut', 'late', 'silent'] as const;

/** @returns injects one fault of a network, from its beginning to its end */
export function connectionFaults(
  proxy: TcpProxy,
  options: ConnectionFaultOptions,
): (world: World) => Promise<void> {
  const kinds = new Deck(KINDS);
  return (world) => disturb(world, proxy, { ...options, kind: kinds.draw(world.random) });
}

async function disturb(
  world: World,
  proxy: TcpProxy,
  { kind, server, silenceMs, requestBytes }: ConnectionFaultOptions & { kind: (typeof KINDS)[number] },
): Promise<void> {
  const { random } = world;
  switch (kind) {
    case 'lost replies':
      world.fault(`${server} replies lost`);
      proxy.loseReplies();
      await world.pause(random.between(50, 1_500));
      proxy.heal();
      proxy.cut();
      return;
    case 'cut request':
      world.fault(`${server} connection cut within a request`);
      proxy.cutAfter('requests', random.between(1, requestBytes));
      return;
    case 'cut reply':
      world.fault(`${server} connection cut within a reply`);
      proxy.cutAfter('replies', random.between(1, requestBytes));
      return;
    case 'cut':
      world.fault(`${server} connections cut`);
      proxy.cut();
      return;
    case 'late':
      world.fault(`${server} late`);
      proxy.delay(random.between(20, 400));
      await world.pause(random.between(500, 3_000));
      proxy.heal();
      return;
    case 'silent':
      world.fault(`${server} silent, then all at once`);
      proxy.hold();
      await world.pause(random.between(silenceMs.least, silenceMs.most));
      proxy.heal();
      return;
  }
}
