import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { exportBundle } from '../agent/airgap/export.ts';
import { bringReturn, carriedFolder, findReturn, readReturn } from '../agent/airgap/returned.ts';
import type { ExportSource } from '../agent/airgap/source.ts';
import { type CarriedReceiver, handOn, rehearse, type Taken, takeIn } from '../agent/airgap/take.ts';
import { createWitness, type ForkStatement } from '../agent/link/witness.ts';
import { dockerEngine } from '../collector/airgap/engine.ts';
import type { ExchangePorts } from '../collector/airgap/exchange.ts';
import { bundleFolders } from '../collector/airgap/found.ts';
import type { AskedImage } from '../collector/airgap/images.ts';
import { importAll } from '../collector/airgap/import-all.ts';
import { fsReturned } from '../collector/airgap/returned.ts';
import { createVerifier } from '../collector/ws/verify.ts';
import { generateKeyPair, type KeyPair, verifyBytesAsync } from '../common/keys.ts';
import type { Statement } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import { parseVerifierKey } from '../common/note.ts';
import { type MemoryLedger, memoryLedger } from './fakes/ledger.ts';
import { type MemoryOutbox, memoryOutbox } from './fakes/outbox.ts';
import { quietLogger } from './quiet-logger.ts';
import { nodeTable, statement, systemClock } from './wire.ts';

/** A collector's side and a node's, with a folder between them that is carried. Everything is real but the ledger and the outbox. */

export interface CarriedCollector {
  readonly keys: KeyPair;
  readonly ledger: MemoryLedger;
  readonly nodes: ReturnType<typeof nodeTable>;
  readonly ports: ExchangePorts;
  /** What goes on record beside the entries of nodes. */
  readonly recorded: readonly Statement[];
}

export function carriedCollector(
  dir: string,
  { keys = generateKeyPair(), ledger = memoryLedger({ keys }), nodes = nodeTable() }: Partial<CarriedCollector> = {},
): CarriedCollector {
  const dataDir = mkdtempSync(join(dir, 'collector-'));
  const recorded: Statement[] = [];
  const ports: ExchangePorts = {
    ...{ ledger, keys, nodes, clock: systemClock, random: () => 0.5, sleep: async () => {} },
    engine: dockerEngine,
    maxPartBytes: 256 * 1024,
    askedImages: async () => ({ images: [], lacking: [] }),
    recorder: { record: async (statement) => void recorded.push(statement) },
    verify: createVerifier(verifyBytesAsync),
    returned: fsReturned(dataDir),
    telling: {
      orders: noOrders,
      measures: {
        measuresFor: async () => ({ rows: [], areAll: true }),
        measuresAfter: async () => [],
        lastMeasure: async () => -1,
      },
      ...{ follower: undefined, manifest: undefined, clock: systemClock, logger: quietLogger },
      vouchers: { newest: async () => undefined },
      verifyAnnouncement: async () => false,
    },
    onProgress: () => {},
  };
  return { keys, ledger, nodes, ports, recorded };
}

const noOrders: ExchangePorts['telling']['orders'] = {
  dispatchable: async () => [],
  measures: async () => ({ frozen: [], silences: [], announcements: [] }),
  openDrifts: async () => [],
  imageId: async () => undefined,
  replicas: async () => [],
  requestedOn: async () => [],
};

export interface CarriedNode {
  readonly name: string;
  readonly keys: KeyPair;
  readonly dataDir: string;
  readonly outbox: MemoryOutbox;
  readonly source: ExportSource;
  readonly forks: ForkStatement[];
  /** What was handed on, in order. */
  readonly received: string[];
  say(count: number, bytes?: number): void;
  exportTo(
    stick: string,
    options?: { maxPartBytes?: number; maxParts?: number; source?: ExportSource },
  ): ReturnType<typeof exportBundle>;
  /** Takes in what the stick has for it, from the first check to the last effect. */
  importFrom(stick: string, options?: { keepFreeBytes?: number }): Promise<Taken>;
}

export function carriedNode(
  dir: string,
  collector: Pick<CarriedCollector, 'ledger' | 'nodes'>,
  { name = 'lyra', keys = generateKeyPair() }: { name?: string; keys?: KeyPair } = {},
): CarriedNode {
  const dataDir = mkdtempSync(join(dir, `${name}-`));
  const outbox = memoryOutbox(name, keys.privateKey);
  const { origin, vkey } = collector.ledger;
  const logKey = parseVerifierKey(vkey);
  const forks: ForkStatement[] = [];
  const received: string[] = [];
  const receiver: CarriedReceiver = {
    desired: async ({ commit }) => void received.push(`commit ${commit}`),
    heed: ({ type }) => void received.push(type),
    obey: async ({ hash }) => void received.push(`order ${hash}`),
  };
  collector.nodes.enrol(name, keys);
  const witness = createWitness(logKey, undefined);
  const source = sourceOf(outbox);
  let said = 0;
  return {
    ...{ name, keys, dataDir, outbox, source, forks, received },
    say: (count, bytes) => {
      for (let at = 0; at < count; at += 1) outbox.append(statement(++said, bytes));
    },
    exportTo: (
      to,
      { maxPartBytes = limits.bundlePartBytes, maxParts = limits.maxBundleParts, source: other = source } = {},
    ) =>
      exportBundle({
        ...{ dataDir, node: name, keys, origin, version: '0.1.0', to, maxPartBytes, clock: systemClock },
        ...{ source: other, maxParts, onProgress: () => {} },
      }),
    importFrom: async (stick, { keepFreeBytes = 0 } = {}) => {
      const folder = await findReturn(stick, name);
      const parties = { node: name, keys, logKey };
      const brought = { folder, manifest: await readReturn(folder, parties), keepFreeBytes, onCopied: () => {} };
      await bringReturn(dataDir, brought);
      const keepFork = async (fork: ForkStatement) => void forks.push(fork);
      const options = { ...parties, version: '0.1.0', outbox, clock: systemClock, keepFork };
      const manifest = await rehearse(carriedFolder(dataDir), options);
      const imagesDir = join(dataDir, 'images');
      const { carried, taken } = await takeIn(carriedFolder(dataDir), manifest, { ...options, witness, imagesDir });
      await handOn(carried, receiver);
      return taken;
    },
  };
}

/** As the agent serves it. */
export function sourceOf(outbox: MemoryOutbox): ExportSource {
  return {
    look: async () => {
      const { head, acked, anchored } = outbox;
      return { head, acked, anchored, checkpoint: outbox.checkpoint() ?? null, holding: null, images: [] };
    },
    read: async (afterSeq) => {
      const bounds = { maxEntries: limits.maxAppendEntries, maxBytes: limits.maxAppendBytes };
      const entries = await outbox.read(afterSeq, bounds);
      return entries.map(({ entry, bytes, signature }) => ({ seq: entry.seq, bytes, signature }));
    },
    close: async () => {},
  };
}

/** Takes in every bundle of the stick, and answers the last one of each node. */
export async function importAt({ ports }: CarriedCollector, stick: string, images: readonly AskedImage[] = []) {
  const { taken } = await importAll(await bundleFolders(stick), images, ports);
  return taken.map(({ entries, fresh }) => ({ entries, fresh }));
}

export function newStick(dir: string): string {
  const stick = mkdtempSync(join(dir, 'stick-'));
  mkdirSync(stick, { recursive: true });
  return stick;
}
