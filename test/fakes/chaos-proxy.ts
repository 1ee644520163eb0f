import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What happens to one connection. Bytes are counted over both directions. */
export interface ConnectionFate {
  /** Cut (reset) after this many bytes; never when absent. */
  readonly cutAfterBytes?: number;
  /** From this many bytes on nothing is passed on any more, while both sides stay connected. */
  readonly muteAfterBytes?: number;
  /** Chunks are split into pieces of at most this many bytes. */
  readonly maxChunkBytes?: number;
  /** Wait before each piece. */
  readonly delayMs?: number;
}

export interface ChaosProxy {
  readonly port: number;
  /** Connections taken so far. */
  readonly connections: number;
  /** Cuts every connection there is. */
  cutAll(): void;
  /** Refuses new connections (they are reset at once) until told otherwise. */
  refuse(refused: boolean): void;
  /** Keeps back what the target sends until told otherwise; what is sent to it passes all the while. */
  hold(held: boolean): void;
  close(): Promise<void>;
}

/** A TCP proxy to `targetPort` on loopback that treats each connection as `fateOf` says (by number, from 0). */
export async function chaosProxy(
  targetPort: () => number,
  fateOf: (connection: number) => ConnectionFate,
): Promise<ChaosProxy> {
  const pairs = new Set<() => void>();
  let connections = 0;
  let refused = false;
  let letGo = (): void => {};
  let passable = Promise.resolve();
  const server = net.createServer({ pauseOnConnect: true }, (near) => {
    near.on('error', () => {});
    if (refused) return void near.resetAndDestroy();
    const far = net.connect(targetPort(), '127.0.0.1');
    far.on('error', () => {});
    const cut = (): void => {
      pairs.delete(cut);
      near.resetAndDestroy();
      far.resetAndDestroy();
    };
    pairs.add(cut);
    const pass = passage(fateOf(connections), cut);
    connections += 1;
    void pass(near, far);
    void pass(far, near, () => passable);
    near.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const cutAll = (): void => {
    for (const cut of pairs) cut();
  };
  return {
    port: address.port,
    get connections() {
      return connections;
    },
    cutAll,
    refuse: (value) => {
      refused = value;
    },
    hold: (held) => {
      letGo();
      if (!held) return;
      passable = new Promise((resolve) => {
        letGo = resolve;
      });
    },
    close: async () => {
      server.close();
      cutAll();
      await once(server, 'close');
    },
  };
}

function passage(fate: ConnectionFate, cut: () => void) {
  let bytes = 0;
  const atOnce = async (): Promise<void> => {};
  return async (from: net.Socket, to: net.Socket, passable: () => Promise<void> = atOnce): Promise<void> => {
    try {
      for await (const chunk of from) {
        if (!Buffer.isBuffer(chunk)) continue;
        for (const piece of pieces(chunk, fate.maxChunkBytes ?? chunk.length)) {
          if (fate.delayMs !== undefined) await delay(fate.delayMs);
          bytes += piece.length;
          if (bytes > (fate.cutAfterBytes ?? Infinity)) return cut();
          if (bytes > (fate.muteAfterBytes ?? Infinity)) continue;
          await passable();
          if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        }
      }
      to.end();
    } catch {
      cut();
    }
  };
}

function* pieces(chunk: Buffer, maxBytes: number): Generator<Buffer> {
  for (let at = 0; at < chunk.length; at += maxBytes) yield chunk.subarray(at, at + maxBytes);
}
