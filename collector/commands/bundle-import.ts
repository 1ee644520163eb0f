import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { amount } from '../../common/amount.ts';
import type { WantedImage } from '../../common/bundle/manifest.ts';
import { announcementNamespace } from '../../common/enforcement/announcement.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodeOf, exitCodes } from '../../common/exit-codes.ts';
import { verifyBytesAsync } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { createTeardown, type Teardown } from '../../common/teardown.ts';
import type { ImageEngine } from '../airgap/engine.ts';
import { withImageEngine } from '../airgap/engine-process.ts';
import type { ExchangePorts, Step, WrittenReturn } from '../airgap/exchange.ts';
import { bundleFolders } from '../airgap/found.ts';
import { type Askable, type AskedImage, askable, type LackingImage, requireImages } from '../airgap/images.ts';
import { importAll, type TakenBundle } from '../airgap/import-all.ts';
import { fsReturned } from '../airgap/returned.ts';
import type { TellingPorts } from '../airgap/told.ts';
import { systemClock } from '../clock.ts';
import { applicationName } from '../database.ts';
import { openManifestFollower } from '../desired/follow.ts';
import { sshSignatures } from '../enforcement/ssh-keygen.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { aloneWith, bundlesLock } from '../postgres/alone.ts';
import { postgresPlanningStore } from '../postgres/enforcement-store.ts';
import { postgresMeasureStore } from '../postgres/measure-store.ts';
import { postgresNodeKeys } from '../postgres/node-keys.ts';
import { postgresWitnessStore } from '../postgres/witness-store.ts';
import { policyOf } from '../wiring/enforcing.ts';
import { createOrderQuorum } from '../witness/order-quorum.ts';
import { createVerifier } from '../ws/verify.ts';
import { type CommandContext, type OpenCollectorData, show, stderrLogger, withLedger } from './context.ts';
import { type Progress, progressBar } from './progress.ts';

export interface BundleImportOptions {
  readonly image?: readonly string[];
  readonly imageArchive?: readonly string[];
  /** False: those that nodes ask for are not carried along. */
  readonly askedImages: boolean;
  readonly maxPartBytes?: string;
}

/** What became of one bundle. */
interface Imported {
  readonly bundle: string;
  readonly node: string;
  readonly number: number;
  readonly entries: number;
  /** Of these, how many were not in the ledger before. */
  readonly fresh: number;
  readonly ledger_size: number;
  /** Null where a later bundle of the same node has the answer. */
  readonly return: Answer | null;
}

interface Answer {
  readonly folder: string;
  readonly receipts: number;
  readonly orders: number;
  readonly measures: number;
  readonly commit: string | null;
  readonly images: readonly string[];
  /** Asked for by the node, and not brought. */
  readonly lacking: readonly LackingImage[];
}

interface Refused {
  readonly bundle: string;
  readonly error_code: string;
  readonly message: string;
}

interface ImportResult {
  readonly imported: readonly Imported[];
  readonly refused: readonly Refused[];
}

/**
 * Takes in bundles of entries, as the nodes would send them, and writes a return bundle for each node. Bundles that cannot be taken in are
 * told, and do not keep others from it.
 * @throws AppError of the one bundle that there is; `resource.not_found`, `validation.request`, `database.*`.
 */
export function bundleImport(context: CommandContext, dir: string, options: BundleImportOptions): Promise<number> {
  return withImageEngine(context.settings.dataDir, (engine) => importFrom(dir, context, { ...options, engine }));
}

async function importFrom(
  dir: string,
  context: CommandContext,
  { engine, ...options }: BundleImportOptions & { readonly engine: ImageEngine },
): Promise<number> {
  return withLedger(context, async (data) => {
    const images = namedImages(options);
    await requireImages(images, engine);
    const folders = await bundleFolders(dir);
    if (images.length > 0 && folders.length > 1) {
      throw new AppError(
        'validation.request',
        `${dir} has ${folders.length} bundles: name the one that the images go with`,
      );
    }
    const teardown = createTeardown(stderrLogger(context.stderr));
    try {
      const ports = await portsOf(context, data, { teardown, engine, ...wishesOf(options) });
      const alone = aloneWith({ url: data.database.url, applicationName }, bundlesLock);
      const done = await alone(() => importAll(folders, images, ports));
      if (done === undefined) {
        throw new AppError('state.busy', 'another import of bundles is under way; wait for its end', {
          retryable: true,
        });
      }
      const { taken, failed } = done;
      const refused = failed.map(({ folder, error: { code, message } }) => ({
        ...{ bundle: basename(folder), error_code: code, message },
      }));
      show(context, { imported: taken.map(importedOf), refused }, formatImport);
      const [first] = failed;
      return first === undefined ? exitCodes.done : exitCodeOf(first.error);
    } finally {
      await teardown.run();
    }
  });
}

interface Wishes {
  /** Whether the images count that nodes ask for. */
  readonly asked: boolean;
  readonly maxPartBytes: number;
}

function wishesOf({ askedImages, maxPartBytes }: BundleImportOptions): Wishes {
  return { asked: askedImages, maxPartBytes: partBytes(maxPartBytes) };
}

const nothingAsked: Askable = { images: [], lacking: [] };

/** Images that the manifest has run on a node; none where none is in force. */
function wantedThere(node: string, { follower }: TellingPorts): readonly WantedImage[] {
  const manifest = follower?.adopted?.manifest;
  return manifest === undefined ? [] : compileDesired(manifest, node).containers;
}

function importedOf({ bundle, entries, fresh, ledgerSize, answer, lacking }: TakenBundle): Imported {
  const { node, number } = bundle.manifest;
  return {
    ...{ bundle: basename(bundle.folder), node, number, entries, fresh, ledger_size: ledgerSize },
    return: answer === undefined ? null : answerOf(answer, lacking),
  };
}

function answerOf({ returnFolder, answered, commit, images }: WrittenReturn, lacking: readonly LackingImage[]): Answer {
  const { receipts, orders, measures } = answered;
  return { folder: returnFolder, receipts, orders, measures, commit, images, lacking };
}

function partBytes(text: string | undefined): number {
  if (text === undefined) return limits.maxBundlePartBytes;
  const bytes = /^[0-9]{1,12}$/.test(text) ? Number(text) : 0;
  if (bytes >= limits.minImagePartBytes && bytes <= limits.maxBundlePartBytes) return bytes;
  const range = `${limits.minImagePartBytes} to ${limits.maxBundlePartBytes}`;
  throw new AppError('validation.request', `--max-part-bytes: ${range} are expected, and "${text}" is none of them`);
}

function namedImages({ image = [], imageArchive = [] }: BundleImportOptions): readonly AskedImage[] {
  return [
    ...image.map((reference) => ({ from: 'engine', reference }) as const),
    ...imageArchive.map((path) => ({ from: 'file', path }) as const),
  ];
}

interface OpenLedger extends OpenCollectorData {
  readonly ledger: Ledger;
}

async function portsOf(
  context: CommandContext,
  { database: { db }, keys, ledger }: OpenLedger,
  { teardown, engine, asked, maxPartBytes }: Wishes & { readonly teardown: Teardown; readonly engine: ImageEngine },
): Promise<ExchangePorts> {
  const { settings, stderr } = context;
  const telling = await tellingOf(context, { db, ledger, teardown });
  return {
    ...{ ledger, recorder: ledger, keys, clock: systemClock, random: Math.random, engine, maxPartBytes },
    sleep: async (ms) => {
      await delay(ms);
    },
    nodes: postgresNodeKeys(db),
    verify: createVerifier(verifyBytesAsync),
    returned: fsReturned(settings.dataDir),
    telling,
    askedImages: async ({ node, images = [] }) =>
      asked ? askable(images, wantedThere(node, telling), engine) : nothingAsked,
    onProgress: progressOf(context, stderr),
  };
}

interface TellingNeeds {
  readonly db: OpenCollectorData['database']['db'];
  readonly ledger: Ledger;
  readonly teardown: Teardown;
}

/** What waits for nodes, by the same sources as those of a collector that runs. Looks at no repository: what it has adopted counts. */
async function tellingOf(
  { settings, stderr }: CommandContext,
  { db, ledger, teardown }: TellingNeeds,
): Promise<TellingPorts> {
  const logger = stderrLogger(stderr);
  const unrecorded = { record: async () => {}, clock: systemClock, logger, teardown };
  const follower = await openManifestFollower(settings, unrecorded);
  const check = sshSignatures(settings.manifest, announcementNamespace);
  const quorum = createOrderQuorum({
    logKey: parseVerifierKey(ledger.vkey),
    store: postgresWitnessStore(db),
    confront: (note) => ledger.confront(note),
  });
  return {
    ...{ follower, clock: systemClock, logger },
    orders: postgresPlanningStore(db),
    measures: postgresMeasureStore(db),
    manifest: policyOf(follower)(),
    vouchers: { newest: (by) => quorum.newest(by, 0) },
    verifyAnnouncement: async (text, approval) => (await check(approval, text)).holds,
  };
}

const units: Readonly<Record<Step, string>> = {
  checked: 'bytes checked',
  ingested: 'bytes taken in',
  answered: 'receipts',
  images: 'bytes of images',
};

function progressOf({ stopRequested }: CommandContext, stderr: CommandContext['stderr']): ExchangePorts['onProgress'] {
  let shown: { readonly step: Step; readonly bar: Progress } | undefined;
  let stopped: string | undefined;
  void stopRequested.then((reason) => {
    stopped = reason;
  });
  return (step, done, of) => {
    if (shown?.step !== step) shown = { step, bar: progressBar(stderr, units[step]) };
    shown.bar(done, of);
    if (stopped === undefined) return;
    throw new AppError('state.conflict', `stopped by ${stopped}: run it again, and it goes on where it was`);
  };
}

function formatImport({ imported, refused }: ImportResult): string {
  const lines = [
    ...imported.flatMap(importedLines),
    ...refused.map(({ bundle, error_code, message }) => `REFUSED ${bundle}: ${message} (${error_code})`),
  ];
  return `${lines.join('\n')}\n`;
}

function importedLines({ bundle, node, entries, fresh, ledger_size, return: answer }: Imported): readonly string[] {
  const many = amount(entries, 'entry', 'entries');
  const news = fresh === 0 ? 'nothing new' : `${fresh} new`;
  const head = `${bundle}: ${many} of ${node}, ${news}; the ledger has ${amount(ledger_size, 'entry', 'entries')}`;
  if (answer === null) return [head];
  const { folder, receipts, orders, measures, commit, images, lacking } = answer;
  return [
    head,
    `  return bundle  ${folder}`,
    `  it brings      ${[
      amount(receipts, 'receipt'),
      amount(orders, 'order'),
      amount(measures, 'measure'),
      ...(commit === null ? [] : [`commit ${commit.slice(0, 12)}`]),
      ...images.map((image) => `image ${image}`),
    ].join(', ')}`,
    ...lacking.map(
      ({ image, reason }) =>
        `  NOT BROUGHT    image ${image}, which ${node} asks for: ${reason}; import once more when this engine has it, or with --image-archive FILE`,
    ),
    `  next           take it to ${node}: sigilwatch-agent bundle import FOLDER`,
  ];
}
