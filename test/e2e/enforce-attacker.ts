import { once } from 'node:events';
import { cpSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { openLedger } from '../../collector/app.ts';
import { systemClock } from '../../collector/clock.ts';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { openDatabase } from '../../collector/database.ts';
import type { OrderDispatch } from '../../collector/enforcement/ports.ts';
import type { Ledger } from '../../collector/ledger/ledger.ts';
import { postgresNodeKeys } from '../../collector/postgres/node-keys.ts';
import type { SessionLedger, Witnessing } from '../../collector/ws/ports.ts';
import { attachSockets, type Sockets } from '../../collector/ws/server.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { type Approval, type Order, orderHash } from '../../common/order.ts';
import { createTeardown } from '../../common/teardown.ts';
import { settingsFor } from '../integration/collector/collectors.ts';
import { quietLogger } from '../quiet-logger.ts';
import { runTool } from '../system/program.ts';
import { asServices, takeCareOf } from '../system.ts';
import { portOf } from '../wire.ts';

/** Whoever has the collector's key and database: speaks for it as it does itself, and says whatever it likes. */
export interface Attacker {
  readonly port: number;
  readonly sockets: Sockets;
  readonly ledger: Ledger;
  /** Puts an order on record and sends it. @returns its hash */
  order(order: Order, approvals?: readonly Approval[]): Promise<string>;
  /** Puts an order on record and sends it to nobody. */
  record(order: Order): Promise<OrderDispatch>;
  /** Sends an order under the index of another entry: it is not in the ledger. */
  unlogged(order: Order, signed: Pick<SignedEntry, 'bytes' | 'signature'>): Promise<string>;
  close(): Promise<void>;
}

export interface AttackerOptions {
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** Of the database that knows the nodes' keys. */
  readonly nodesUrl?: string;
  /** Has no scruples to serve a history that is not the one it served before. */
  readonly shameless?: boolean;
  /** Hears what its nodes cosign. */
  readonly rounds?: Witnessing;
}

export async function openAttacker(options: AttackerOptions): Promise<Attacker> {
  const { dataDir, databaseUrl, nodesUrl, shameless, rounds } = options;
  // What was a service's is ours now.
  if (asServices) runTool('chown', ['-R', 'root:root', dataDir]);
  const teardown = createTeardown(quietLogger);
  const open = (url: string) => openDatabase({ settings: settingsFor(dataDir, url), logger: quietLogger, teardown });
  const settings = settingsFor(dataDir, databaseUrl);
  const database = await open(databaseUrl);
  const keys = await loadCollectorKey(collectorKeyPath(dataDir));
  const parts = { clock: systemClock, logger: quietLogger };
  const ledger = await openLedger(settings, { ...parts, database, keys, teardown });
  const nodes = postgresNodeKeys((nodesUrl === undefined ? database : await open(nodesUrl)).db);
  const server = http.createServer((_request, response) => response.writeHead(404).end());
  const served = shameless === true ? unconfronted(ledger) : ledger;
  const sockets = attachSockets(server, { ...parts, ledger: served, nodes, ...(rounds && { rounds }) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  let closed: Promise<void> | undefined;
  const end = async () => {
    await sockets.close();
    server.close();
    await teardown.run();
  };
  const close = () => {
    closed ??= end();
    return closed;
  };
  takeCareOf({ remove: close, removeNow: () => {} });
  const send = (
    order: Order,
    index: number,
    leaf: Pick<SignedEntry, 'bytes' | 'signature'>,
    approvals: readonly Approval[],
  ) => {
    const hash = orderHash(order);
    sockets.orders.send('lyra', { hash, index, approvals, leaf });
    return hash;
  };
  const record = async (order: Order) => {
    const { index, bytes, signature } = await ledger.record({ kind: 'order.issued', body: { order } });
    return { hash: orderHash(order), index, approvals: [], leaf: { bytes, signature } };
  };
  return {
    ...{ port: portOf(server), sockets, ledger, record, close },
    order: async (order, approvals = []) => {
      const { index, leaf } = await record(order);
      return send(order, index, leaf, approvals);
    },
    unlogged: async (order, signed) => {
      const { index } = await ledger.record({ kind: 'alert.resolved', body: { key: 'nothing', reason: 'nothing' } });
      return send(order, index, signed, []);
    },
  };
}

/** The same, but whatever checkpoint somebody holds, it is told to be part of this ledger. */
function unconfronted(ledger: Ledger): SessionLedger {
  return {
    origin: ledger.origin,
    append: (entries, signedWith) => ledger.append(entries, signedWith),
    authorHead: (author) => ledger.authorHead(author),
    entryOf: (author, seq) => ledger.entryOf(author, seq),
    leafAt: (index) => ledger.leafAt(index),
    checkpoint: (enough) => ledger.checkpoint(enough),
    inclusion: (indexes, size) => ledger.inclusion(indexes, size),
    consistency: (oldSize, newSize) => ledger.consistency(oldSize, newSize),
    confront: async () => {},
  };
}

/** A data directory with the same key and no memory. */
export function keyAlone(from: string, to: string): string {
  mkdirSync(to, { recursive: true, mode: 0o711 });
  cpSync(collectorKeyPath(from), collectorKeyPath(to));
  return join(to);
}
