import { once } from 'node:events';
import http from 'node:http';
import { Registry } from 'prom-client';
import { type Link, startLink } from '../../../agent/link/link.ts';
import type { ForkStatement } from '../../../agent/link/witness.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { listen } from '../../../collector/postgres/listen.ts';
import { postgresNodeKeys } from '../../../collector/postgres/node-keys.ts';
import { createPool, type Db } from '../../../collector/postgres/pool.ts';
import { postgresWitnessStore, witnessChannel } from '../../../collector/postgres/witness-store.ts';
import type { WitnessStore } from '../../../collector/witness/ports.ts';
import type { RoundBounds, WitnessedOrders } from '../../../collector/witness/rounds.ts';
import { createWitnessing, type RunningWitnessing } from '../../../collector/witness/start.ts';
import { attachSockets, type Sockets } from '../../../collector/ws/server.ts';
import type { Clock } from '../../../common/clock.ts';
import { fingerprint, generateKeyPair, type KeyPair, rawPublicKey } from '../../../common/keys.ts';
import { defaultWitnesses, type WitnessesWanted } from '../../../common/witnesses.ts';
import { type MemoryOutbox, memoryOutbox } from '../../fakes/outbox.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { type LoggedEvent, memoryForkDesk, portOf, quickBounds, recordingLogger, systemClock } from '../../wire.ts';

/** A collector's ledger, sockets and rounds on a real database, without what this has nothing to do with. */
export interface WitnessedCollector {
  readonly ledger: Ledger;
  readonly sockets: Sockets;
  readonly witnessing: RunningWitnessing;
  readonly store: WitnessStore;
  readonly db: Db;
  readonly events: LoggedEvent[];
  readonly registry: Registry;
  readonly port: number;
  stop(): Promise<void>;
}

/** Rounds so close that a test need not wait for them. */
export const quickRounds: Partial<RoundBounds> = { witnessRoundMs: 40, witnessGatherMs: 2, witnessNoticeMs: 5 };

export interface WitnessedOptions {
  readonly wanted?: WitnessesWanted;
  readonly orders?: WitnessedOrders;
  readonly bounds?: Partial<RoundBounds>;
  readonly clock?: Clock;
}

export async function startWitnessed(
  url: string,
  keys: KeyPair,
  { wanted = defaultWitnesses, orders, bounds = {}, clock = systemClock }: WitnessedOptions = {},
): Promise<WitnessedCollector> {
  const db = createPool({ url, applicationName: 'test', maxConnections: 8, onIdleError: () => {} });
  const ledger = new Ledger({
    store: postgresLedgerStore(db),
    origin: 'test.example/ledger',
    keys,
    clock,
  });
  await ledger.start();
  const events: LoggedEvent[] = [];
  const registry = new Registry();
  const store = postgresWitnessStore(db);
  const logger = recordingLogger(events);
  const witnessing = createWitnessing({
    ...{ ledger, store, registry, logger, clock, random: Math.random, wanted: () => wanted },
    ...(orders && { orders }),
    bounds: { ...quickRounds, ...bounds },
  });
  const listener = await listen({
    database: { url, applicationName: 'test' },
    channel: witnessChannel,
    onNotify: witnessing.heard,
    onListening: () => {},
    logger: quietLogger,
  });
  const server = http.createServer((_, response) => response.writeHead(404).end());
  const nodes = postgresNodeKeys(db);
  const { rounds } = witnessing;
  const sockets = attachSockets(server, { ledger, nodes, rounds, logger, clock });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  witnessing.start(sockets.offer);
  return {
    ...{ ledger, sockets, witnessing, store, db, events, registry, port: portOf(server) },
    stop: async () => {
      await sockets.close();
      server.close();
      server.closeAllConnections();
      await witnessing.stop();
      await listener.stop();
      await ledger.close();
      await db.end();
    },
  };
}

export interface WitnessNode {
  readonly node: string;
  readonly keys: KeyPair;
  readonly outbox: MemoryOutbox;
  readonly forks: ForkStatement[];
  link: Link;
  /** Ends its connection, and starts it anew. */
  leave(): Promise<void>;
  join(to: Pick<WitnessedCollector, 'ledger' | 'port'>): void;
}

/** Enrols a node, which does not connect yet. */
export async function enrolled(ledger: Ledger, node: string, keys = generateKeyPair()): Promise<WitnessNode> {
  const publicKey = rawPublicKey(keys.publicKey).toString('base64');
  const body = { node, publicKey, fingerprint: fingerprint(keys.publicKey), agentVersion: '0.1.0' };
  await ledger.record({ kind: 'node.enrolled', body });
  const outbox = memoryOutbox(node, keys.privateKey);
  const forks: ForkStatement[] = [];
  const connect = ({ ledger: { origin, vkey }, port }: Pick<WitnessedCollector, 'ledger' | 'port'>): Link =>
    startLink({
      ...{ node, keys, outbox, clock: systemClock, random: Math.random, logger: quietLogger, version: '0.1.0' },
      collector: { url: `http://127.0.0.1:${port}`, origin, vkey },
      forks: memoryForkDesk(forks),
      bounds: quickBounds,
    });
  const idle: Link = { status: () => never(), trusted: true, carry: async () => never(), stop: async () => {} };
  const made: WitnessNode = {
    ...{ node, keys, outbox, forks, link: idle },
    leave: () => made.link.stop(),
    join: (to) => {
      made.link = connect(to);
    },
  };
  return made;
}

function never(): never {
  throw new Error('not connected yet');
}
