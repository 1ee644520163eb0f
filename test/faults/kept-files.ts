import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBook, writeBook } from '../../agent/airgap/book.ts';
import { claimDataDir as claimAgentDir } from '../../agent/data/data-version.ts';
import { DesiredFolder } from '../../agent/desired/folder.ts';
import { adoptIdentity, ensureDataDir, identityPaths, loadIdentity, makeKeys } from '../../agent/identity.ts';
import { openForkDesk, unreleasedForks } from '../../agent/link/fork-desk.ts';
import { fsEvidence } from '../../agent/orders/evidence.ts';
import { claimDataDir as claimCollectorDir } from '../../collector/data/data-version.ts';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { fsManifestStore } from '../../collector/desired/fs-manifest-store.ts';
import { checkpointPath, fsCheckpointFile } from '../../collector/ledger/fs-checkpoint-file.ts';
import { evidencePath, fsEvidenceFolder } from '../../collector/ledger/fs-evidence-folder.ts';
import { openOwn } from '../../collector/ledger/guard.ts';
import {
  type Cluster,
  ensurePassword,
  initialiseCluster,
  ownerLogin,
  writerLogin,
} from '../../collector/postgres/cluster.ts';
import { signCheckpoint } from '../../common/checkpoint.ts';
import { rfc3339 } from '../../common/clock.ts';
import { dataVersionFile } from '../../common/data-version.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint } from '../../common/keys.ts';
import { emptyRoot } from '../../common/merkle.ts';
import { formatVerifierKey, noteSigner, signatureTypes, verifierKey } from '../../common/note.ts';
import { collectorKeys, testOrigin } from '../ledgers.ts';
import { quietLogger } from '../quiet-logger.ts';
import { agentIn, type Keeper, type Kept, only } from './keeper.ts';
import { checkKeepers } from './kept-checks.ts';
import { commitKeepers } from './kept-commits.ts';

const signer = noteSigner(testOrigin, signatureTypes.ed25519, collectorKeys);
const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);
const noteOf = (size: number) => signCheckpoint({ origin: testOrigin, size, root: emptyRoot, extensions: [] }, signer);

const collectorIn = (root: string) => join(root, 'collector');
const clusterIn = (root: string): Cluster => ({
  dir: join(collectorIn(root), 'postgres'),
  // Nothing that initdb does is ours to make durable.
  binaries: { initdb: '/bin/true', postgres: '/bin/true' },
  account: undefined,
});

/** Both take the place of what is there as often as they are asked. */
const agentKeepers: readonly Keeper[] = [
  {
    name: 'enrolment',
    keep: async (root, number) => {
      const dir = agentIn(root);
      const paths = identityPaths(dir);
      await ensureDataDir(dir);
      const keys = await makeKeys(paths.pendingKey);
      const pin = {
        node: 'lyra',
        url: `http://127.0.0.1/${number}`,
        origin: testOrigin,
        vkey: formatVerifierKey(logKey),
      };
      await adoptIdentity(paths, pin, 'pendingKey');
      return { number, detail: fingerprint(keys.publicKey) };
    },
    find: async (root) => {
      const identity = await loadIdentity(agentIn(root)).catch((thrown: unknown) => {
        // A command makes up for that, which a node that was never enrolled needs anyway.
        if (thrown instanceof AppError && thrown.code === 'auth.required') return undefined;
        throw thrown;
      });
      if (identity === undefined) return undefined;
      return { number: Number(identity.collector.url.split('/').at(-1)), detail: fingerprint(identity.keys.publicKey) };
    },
  },
  versionKeeper('version of the agent', agentIn, claimAgentDir),
  {
    name: 'evidence of an order',
    keep: async (root, number) => {
      await fsEvidence(join(agentIn(root), 'orders')).keep('an-order', String(number));
      return only(number);
    },
    find: async (root) => numbered(await fsEvidence(join(agentIn(root), 'orders')).read('an-order')),
  },
  {
    name: 'fork',
    keep: async (root) => {
      const journal = { append: async () => [], state: async () => new Map() };
      const clock = { now: () => 0, monotonicMs: () => 0 };
      const desk = await openForkDesk({ dataDir: agentIn(root), journal, clock, logger: quietLogger });
      await desk.keep({ kind: 'witness.fork', body: { held: noteOf(2), offered: noteOf(1), reason: 'smaller' } });
      return only(1);
    },
    find: async (root) =>
      (await unreleasedForks(agentIn(root))).some(({ held }) => held !== '') ? only(1) : undefined,
  },
  {
    name: 'commit that was released by hand',
    keep: async (root, number) => {
      const release = { id: crypto.randomUUID(), commit: String(number), at: rfc3339(0), reason: 'looked' };
      await new DesiredFolder(agentIn(root)).writeRelease(release);
      return only(number);
    },
    find: async (root) => numbered((await new DesiredFolder(agentIn(root)).release(null))?.commit),
  },
  {
    name: 'bundles that were brought',
    keep: async (root, number) => {
      const folder = new DesiredFolder(agentIn(root));
      const source = join(tmpdir(), `sigilwatch-brought-${process.pid}`);
      writeFileSync(source, 'a bundle');
      if ((await folder.waiting()).length < 3) await folder.bring(source, number);
      return only((await folder.waiting()).length);
    },
    find: async (root) => {
      const waiting = await new DesiredFolder(agentIn(root)).waiting();
      for (const path of waiting) {
        if ((await readFile(path, 'utf8')) !== 'a bundle') throw new Error(`${path} is not what was brought`);
      }
      return only(waiting.length);
    },
  },
  {
    name: 'book of exports',
    keep: async (root, number) => {
      await writeBook(agentIn(root), { v: 1, begun: number, last: null });
      return only(number);
    },
    find: async (root) => numbered((await readBook(agentIn(root))).begun ?? undefined),
  },
];

const collectorKeepers: readonly Keeper[] = [
  versionKeeper('version of the collector', collectorIn, claimCollectorDir),
  {
    name: 'key of the collector',
    keep: async (root) => ({ number: 1, detail: fingerprint((await loadCollectorKey(keyIn(root))).publicKey) }),
    find: async (root) => {
      if (!existsSync(keyIn(root))) return undefined;
      return { number: 1, detail: fingerprint((await loadCollectorKey(keyIn(root))).publicKey) };
    },
  },
  {
    name: 'checkpoint',
    keep: async (root, number) => {
      const file = fsCheckpointFile(checkpointPath(collectorIn(root)), quietLogger);
      for (let size = number * 10; size < number * 10 + 5; size += 1) await file.write({ size, note: noteOf(size) });
      await file.close();
      const busy = fsCheckpointFile(checkpointPath(collectorIn(root)), quietLogger);
      // Nobody was told that these are safe.
      for (let size = number * 10 + 5; size < number * 10 + 9; size += 1)
        await busy.write({ size, note: noteOf(size) });
      return only(number * 10 + 4);
    },
    find: async (root) => {
      const note = await fsCheckpointFile(checkpointPath(collectorIn(root)), quietLogger).read();
      return note === undefined ? undefined : only(openOwn(note, logKey).size);
    },
  },
  {
    name: 'contradiction',
    keep: async (root, number) => {
      await contradictions(root, number).keep({ reason: 'rolled back', notes: [noteOf(number)], found: undefined });
      return only(number);
    },
    find: async (root) => {
      const sizes = (await contradictions(root, 0).notes()).map((note) => openOwn(note, logKey).size);
      return sizes.length === 0 ? undefined : only(Math.max(...sizes));
    },
  },
  {
    name: 'manifest in force',
    keep: async (root, number) => {
      await fsManifestStore(collectorIn(root), quietLogger).save({ adopted: null, rejected: String(number) });
      return only(number);
    },
    find: async (root) =>
      numbered((await fsManifestStore(collectorIn(root), quietLogger).load())?.rejected ?? undefined),
  },
  {
    name: 'database, and the password of its owner',
    keep: async (root) => {
      const cluster = clusterIn(root);
      if (!existsSync(cluster.dir)) await initialiseCluster(cluster, randomBytes(8).toString('hex'));
      return { number: 1, detail: await ensurePassword(cluster, ownerLogin, () => 'made anew') };
    },
    find: async (root) => passwordIn(root, ownerLogin.passwordFile),
  },
  {
    name: 'password of the writer',
    keep: async (root) => {
      await mkdir(clusterIn(root).dir, { recursive: true });
      const password = await ensurePassword(clusterIn(root), writerLogin, () => randomBytes(8).toString('hex'));
      return { number: 1, detail: password };
    },
    find: async (root) => passwordIn(root, writerLogin.passwordFile),
  },
];

export const keepers: readonly Keeper[] = [...agentKeepers, ...checkKeepers, ...commitKeepers, ...collectorKeepers];

const keyIn = (root: string) => collectorKeyPath(collectorIn(root));

function contradictions(root: string, atMs: number) {
  const clock = { now: () => atMs, monotonicMs: () => 0 };
  return fsEvidenceFolder(evidencePath(collectorIn(root)), testOrigin, clock);
}

async function passwordIn(root: string, file: string): Promise<Kept | undefined> {
  const path = join(clusterIn(root).dir, file);
  return existsSync(path) ? { number: 1, detail: (await readFile(path, 'utf8')).trim() } : undefined;
}

function versionKeeper(
  name: string,
  folder: (root: string) => string,
  claim: (dir: string, running: string) => Promise<void>,
): Keeper {
  return {
    name,
    keep: async (root, number) => {
      await claim(folder(root), `0.1.${number}`);
      return only(number);
    },
    find: async (root) => {
      const path = join(folder(root), dataVersionFile);
      return existsSync(path) ? numbered((await readFile(path, 'utf8')).trim().split('.').at(-1)) : undefined;
    },
  };
}

/** @throws for what is no number that was kept */
function numbered(text: string | number | undefined): Kept | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (text === '' || !Number.isSafeInteger(number)) throw new Error(`"${text}" is not what was kept`);
  return only(number);
}
