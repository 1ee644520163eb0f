import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { amount } from '../../common/amount.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { printableJson, printableLines } from '../../common/printable.ts';
import { classifyKey } from '../../common/sigil.ts';
import { compareTimes } from '../../common/sigil-inventory.ts';
import { foreignBytes, foreignText } from '../../common/sigil-text.ts';
import { ownerOnlyMode, syncFolder } from '../data/durable-file.ts';
import { fsStoreFiles } from '../sigils/fs-store-files.ts';
import { heldSnapshots } from '../sigils/kept/keeper.ts';
import { type GoodRecord, goodRecord, recordIn, whyNotGood } from '../sigils/kept/last-good.ts';
import { heldBytes } from '../sigils/kept/retention.ts';
import { type KeptSnapshot, Shelf, snapshotIdAt } from '../sigils/kept/shelf.ts';
import { becomeOwner, copyAside, putBack } from '../sigils/put-back.ts';
import { chosenStores, type IntegrityWorld, orLost } from './integrity.ts';

export interface RestoreOptions {
  readonly store: string;
  /** As reports show it. */
  readonly key: string;
  readonly from?: string;
  readonly to?: string;
  readonly apply?: boolean;
  readonly yes?: boolean;
}

/** Snapshots of one store, or of all, newest first. @throws AppError `validation.request`, `validation.config` */
export async function integritySnapshots({ settings, json, stdout }: IntegrityWorld, only?: string): Promise<number> {
  const stores = [];
  for (const { name } of chosenStores(settings, only === undefined ? [] : [only])) {
    const held = await heldSnapshots(await new Shelf(settings.dataDir, name).list());
    const snapshots = held.map(({ id, atMs, files }) => {
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      const at = new Date(atMs).toISOString();
      return { id, at, files: files.length, bytes, heldBytes: heldBytes([{ id, atMs, files }], held) };
    });
    stores.push({ store: name, heldBytes: heldBytes(held, held), snapshots });
  }
  stdout(json ? printableJson({ stores }) : printableLines(stores.map(storeText).join('')));
  return exitCodes.done;
}

interface ShownSnapshot {
  readonly id: string;
  readonly at: string;
  readonly files: number;
  /** Of all its files, and of those that nothing but snapshots holds. */
  readonly bytes: number;
  readonly heldBytes: number;
}

function storeText(shown: { store: string; heldBytes: number; snapshots: readonly ShownSnapshot[] }): string {
  const { store, snapshots } = shown;
  if (snapshots.length === 0) return `store ${store}: no snapshots are kept\n`;
  const lines = snapshots.map(({ id, at, files, bytes, heldBytes: held }) => {
    return `  ${id}  ${at}  ${amount(files, 'file')}, ${amount(bytes, 'byte')}, ${held} of them held by snapshots alone`;
  });
  return `${[`store ${store}: ${amount(snapshots.length, 'snapshot')}, which ${snapshots.length === 1 ? 'holds' : 'hold'} ${amount(shown.heldBytes, 'byte')}`, ...lines].join('\n')}\n`;
}

/**
 * Writes a record out as it stands in a snapshot, once it has passed every check there is; with `apply`, puts it back.
 * @throws AppError `validation.request`, `resource.not_found` when no snapshot has it good, `state.conflict` when the file exists or the
 *   store has a good record already, `state.busy` while the store is open
 */
export async function integrityRestore(world: IntegrityWorld, options: RestoreOptions): Promise<number> {
  const { settings, clock, json, stdout, stderr } = world;
  const { to, apply = false } = options;
  if (to === undefined && !apply) throw new AppError('validation.request', 'give --to FILE, or --apply, or both');
  if (to === '-' && json) throw new AppError('validation.request', '--json and --to - both want standard output');
  const path = pathOf(world, options.store);
  const key = foreignBytes(options.key);
  if (key === null)
    throw new AppError('validation.request', 'the key was cut where it was shown: it is too long to be given');
  const shelf = new Shelf(settings.dataDir, options.store);
  const { secrets } = settings.sigils;
  const record = await chosenRecord(await shelf.list(), key, options, { secrets, clock });
  const vouched = vouching(key, secrets.length);
  if (vouched !== undefined) stderr(`${vouched}\n`);
  const { value, snapshot } = record;
  if (to === '-') stdout(textOf(value));
  else if (to !== undefined) await writeNew(to, value);
  const applied = apply && (await applyTo({ path, shelf }, key, record, world, options));
  const sha256 = createHash('sha256').update(value).digest('hex');
  const shown = { store: options.store, key: foreignText(key), snapshot: snapshot.id, at: snapshot.at };
  const done = { ...shown, bytes: value.length, sha256, to: to ?? null, applied };
  if (json) stdout(printableJson(done));
  else (to === '-' ? stderr : stdout)(printableLines(doneText(done, apply)));
  return exitCodes.done;
}

interface Restored {
  readonly store: string;
  readonly key: string;
  readonly snapshot: string;
  readonly at: string;
  readonly bytes: number;
  readonly to: string | null;
  readonly applied: boolean;
}

function doneText({ store, key, snapshot, at, bytes, to, applied }: Restored, wanted: boolean): string {
  const written = to === null || to === '-' ? [] : [`written to ${to}`];
  const into = applied ? [`put back into store ${store}`] : ['in the store already, byte for byte'];
  const what = [...written, ...(wanted ? into : [])].join(', and ');
  return `${key}, ${amount(bytes, 'byte')} as of ${at} (snapshot ${snapshot})${what === '' ? '' : `: ${what}`}\n`;
}

/** The folder of a LevelDB store. */
function pathOf({ settings }: IntegrityWorld, name: string): string {
  const [store] = chosenStores(settings, [name]);
  if (typeof store?.place === 'string') return store.place;
  throw new AppError('validation.request', `${name} is a table of PostgreSQL, of which no snapshots are kept`);
}

async function chosenRecord(
  kept: readonly KeptSnapshot[],
  key: Buffer,
  { store, from }: RestoreOptions,
  options: Parameters<typeof goodRecord>[2],
): Promise<GoodRecord> {
  const snapshots = from === undefined ? kept : kept.filter(({ id }) => id === from);
  if (snapshots.length === 0) {
    const which = from === undefined ? 'no snapshot' : `no snapshot ${JSON.stringify(from)}`;
    throw new AppError('resource.not_found', `${which} of store ${store} is kept; see "integrity snapshots"`);
  }
  const found = await goodRecord(snapshots, key, options);
  if ('value' in found) return found;
  const why = found.map(({ snapshot, reason }) => `\n  ${snapshot}: ${reason}`).join('');
  throw new AppError('resource.not_found', `no snapshot has a good record under ${foreignText(key)}${why}`, {
    details: { snapshots: found },
  });
}

/** What nobody has checked; undefined when everything was. */
function vouching(key: Buffer, secrets: number): string | undefined {
  if (classifyKey(key).kind === 'other') return 'this is no sigil: only the checksums of its block or log vouch for it';
  return secrets > 0 ? undefined : 'its signature was not verified: there is no event secret (sigils.secrets)';
}

function textOf(value: Buffer): string {
  if (isUtf8(value)) return value.toString('utf8');
  throw new AppError('validation.request', 'the record is not text; write it to a file');
}

async function writeNew(path: string, value: Buffer): Promise<void> {
  await orLost(path, async () => {
    const file = await open(path, 'wx', ownerOnlyMode).catch((cause: unknown) => {
      if (errnoOf(cause) !== 'EEXIST') throw cause;
      throw new AppError('state.conflict', `${path} exists already, and is not overwritten`, { cause });
    });
    try {
      await file.writeFile(value);
      await file.sync();
    } catch (thrown) {
      // A part of a record is none, and would be in the way of the next attempt.
      await rm(path, { force: true });
      throw thrown;
    } finally {
      await file.close();
    }
    await syncFolder(dirname(path));
  });
}

/** False when it is there already. */
async function applyTo(
  { path, shelf }: { readonly path: string; readonly shelf: Shelf },
  key: Buffer,
  { value, updatedAt, snapshot }: GoodRecord,
  world: IntegrityWorld,
  { store, yes = false }: RestoreOptions,
): Promise<boolean> {
  const { settings, clock, confirm } = world;
  const live = await recordIn(fsStoreFiles(path), key, { secrets: settings.sigils.secrets, clock });
  const reason = whyNotGood(live);
  if (live.value?.equals(value) === true && !live.uncertain) return false;
  if (reason === undefined && (compareTimes(live.updatedAt, updatedAt) ?? 0) >= 0) {
    throw new AppError(
      'state.conflict',
      `store ${store} has a good record under this key, which is not older; nothing was changed`,
    );
  }
  if (!yes) {
    if (confirm === undefined) throw new AppError('validation.request', 'there is no terminal to ask on; give --yes');
    const now = reason ?? `the record there is older, of ${live.updatedAt}`;
    if (!(await confirm(`Store ${store}: ${now}. Put back the one of ${snapshot.at}?`))) {
      throw new AppError('state.conflict', 'nothing was changed');
    }
  }
  await orLost(shelf.folder, () => copyAside(path, shelf.folder, snapshotIdAt(clock.now())));
  await becomeOwner(path);
  await putBack({ path, key, value, instead: live.uncertain ? undefined : live.value });
  const after = await recordIn(fsStoreFiles(path), key, { secrets: settings.sigils.secrets, clock });
  if (after.value?.equals(value) === true) return true;
  throw new AppError(
    'store.corrupt',
    `sigil store ${path} took the record, and does not have it: ${whyNotGood(after)}`,
  );
}
