import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { signatureTypes, type VerifierKey, verifierKey } from '../../common/note.ts';
import { applicationName } from '../database.ts';
import { checkpointPath } from '../ledger/fs-checkpoint-file.ts';
import { newestKept, openKept } from '../ledger/verify/kept.ts';
import {
  readVerifiedPart,
  removeVerifiedPart,
  verifyStatePath,
  writeVerifiedPart,
} from '../ledger/verify/state-file.ts';
import { type KeptTree, type VerifiedPart, type VerifyReport, verifyLedger } from '../ledger/verify/verify.ts';
import { undisturbed } from '../postgres/erasure-run-store.ts';
import { damageOf, postgresStoredLedger } from '../postgres/stored-ledger.ts';
import { openSignatureThreads } from '../signatures/threads.ts';
import { type CommandContext, type CommandOutput, show, stderrLogger, withCollectorData } from './context.ts';
import { type Progress, progressBar, progressLines } from './progress.ts';

export interface VerifyOptions {
  readonly checkpoint?: string;
  readonly signatures: boolean;
  readonly resume?: boolean;
  readonly progress?: boolean;
}

interface VerifyResult {
  /** Everything is in order, signatures included unless they were not asked for. */
  readonly verified: boolean;
  /** Why there is no verdict: the program was asked to stop. */
  readonly interrupted: string | null;
  readonly origin: string;
  /** In order, from the first one on. */
  readonly entries: number;
  /** Of these entries, base64; null when something is wrong. */
  readonly root: string | null;
  readonly authors: number;
  readonly batches: number;
  readonly tiles: number;
  /** Entries without a body, which retention dropped. */
  readonly erased: number;
  readonly signatures_checked: boolean;
  /** Entries that an interrupted run had verified before. */
  readonly resumed_from: number;
  readonly checkpoints: readonly { readonly file: string; readonly size: number }[];
  /** Size of the first of them. */
  readonly checkpoint_size: number | null;
  readonly seconds: number;
  /** Entries per second of this run. */
  readonly rate: number | null;
  readonly fault: { readonly fault: string; readonly index: number | null; readonly message: string } | null;
}

/** How often an unfinished run leaves word of how far it is. */
const keepEveryMs = 3_000;

/** Verifies the ledger as it lies in the database. */
export async function ledgerVerify(context: CommandContext, options: VerifyOptions): Promise<number> {
  const { origin } = context.settings.ledger;
  const result = await withCollectorData(context, async ({ database, keys }): Promise<VerifyResult> => {
    // Before the database is looked at, which then has at least what these say unless something is wrong.
    const checkpoints = await readCheckpoints(
      context,
      options,
      verifierKey(origin, signatureTypes.ed25519, keys.publicKey),
    );
    const state = await openState(context, options);
    const bar = progressOf(context, options, state.part?.size ?? 0);
    const stop = stopSignal(context);
    const startedMs = performance.now();
    const threads = openSignatureThreads(availableParallelism());
    const verify = () =>
      verifyLedger(postgresStoredLedger(database.db), {
        origin,
        collectorKey: keys.publicKey,
        checkpoints,
        signatures: options.signatures && threads.verify,
        continue: state.part,
        keep: state.keep,
        stop: stop.signal,
        onProgress: bar,
      }).catch((thrown: unknown) => {
        throw damageOf(thrown) ?? thrown;
      });
    // Bodies that are erased meanwhile would look lost.
    const waiting = () => context.stderr.write('waiting for an erasure or a repair that is under way\n');
    const report = await undisturbed({ url: database.url, applicationName }, verify, waiting).finally(async () => {
      bar(1, 1);
      await threads.close();
    });
    await state.close(report);
    const resumedFrom = state.part?.size ?? 0;
    const seconds = Math.round(performance.now() - startedMs) / 1000;
    return resultOf(report, { origin, checkpoints, options, seconds, resumedFrom, stoppedBy: stop.reason() });
  });
  show(context, result, formatResult);
  if (result.interrupted !== null) return exitCodes.unfinished;
  return result.verified ? exitCodes.done : exitCodes.findings;
}

interface About {
  readonly origin: string;
  readonly checkpoints: readonly KeptTree[];
  readonly options: VerifyOptions;
  readonly seconds: number;
  readonly resumedFrom: number;
  readonly stoppedBy: string | undefined;
}

function resultOf(report: VerifyReport, about: About): VerifyResult {
  const { size, root, fault, interrupted, ...counts } = report;
  const { origin, checkpoints, options, seconds, resumedFrom, stoppedBy } = about;
  return {
    verified: fault === undefined && !interrupted,
    interrupted: fault === undefined && interrupted ? (stoppedBy ?? 'a signal') : null,
    origin,
    // What is wrong with an entry may show only at a later one.
    entries: Math.min(size, fault?.index ?? size),
    root: fault === undefined ? root.toString('base64') : null,
    ...counts,
    signatures_checked: options.signatures,
    resumed_from: resumedFrom,
    checkpoints: checkpoints.map((kept) => ({ file: kept.name, size: kept.size })),
    checkpoint_size: checkpoints[0]?.size ?? null,
    seconds,
    rate: seconds > 0 ? Math.round((size - resumedFrom) / seconds) : null,
    fault: fault ?? null,
  };
}

/** The one that was asked for, and the newest one that was published from here. */
async function readCheckpoints(
  { settings, stderr }: CommandContext,
  { checkpoint }: VerifyOptions,
  key: VerifierKey,
): Promise<readonly KeptTree[]> {
  const newest = checkpointPath(settings.dataDir);
  const kept: KeptTree[] = [];
  if (checkpoint !== undefined) {
    const note = await readFile(checkpoint, 'utf8').catch((cause: unknown) => {
      const why = errnoOf(cause) ?? toAppError(cause).message;
      throw new AppError('validation.request', `cannot read the checkpoint ${checkpoint}: ${why}`, { cause });
    });
    kept.push(openKept(checkpoint, note, key));
  }
  if (checkpoint === undefined || resolve(checkpoint) !== resolve(newest)) {
    const last = await newestKept(settings.dataDir, key, stderrLogger(stderr));
    if (last !== undefined) kept.push(last);
  }
  return kept;
}

/** Where an interrupted run is gone on with, and where this one leaves word. */
async function openState({ settings, stderr }: CommandContext, { resume = false }: VerifyOptions) {
  const path = verifyStatePath(settings.dataDir);
  const part = resume ? await readVerifiedPart(path) : undefined;
  if (resume && part === undefined) stderr.write('no verification was interrupted; starting with the first entry\n');
  let latest: VerifiedPart | undefined;
  let writtenMs = performance.now();
  const write = async () => {
    if (latest !== undefined) await writeVerifiedPart(path, latest);
    writtenMs = performance.now();
  };
  return {
    part,
    keep: async (now: VerifiedPart) => {
      latest = now;
      if (performance.now() - writtenMs >= keepEveryMs) await write();
    },
    /** A run that has come to a verdict leaves nothing to be gone on with. */
    close: async ({ interrupted, fault }: VerifyReport) => {
      if (interrupted && fault === undefined) await write();
      else await removeVerifiedPart(path);
    },
  };
}

function stopSignal({ stopRequested }: CommandContext) {
  const stop = new AbortController();
  let reason: string | undefined;
  void stopRequested.then((by) => {
    reason = by;
    stop.abort();
  });
  return { signal: stop.signal, reason: () => reason };
}

function progressOf({ stderr }: CommandContext, options: VerifyOptions, already: number): Progress {
  const asked: (output: CommandOutput, unit: string, already: number) => Progress =
    stderr.isTTY !== true && options.progress === true ? progressLines : progressBar;
  return asked(stderr, 'entries', already);
}

const withoutCheckpoint =
  'NO CHECKPOINT FROM EARLIER was at hand: entries cut off at the end would not be missed; give one with --checkpoint';

function formatResult(result: VerifyResult): string {
  const { fault, interrupted, entries } = result;
  const unchecked = result.signatures_checked
    ? ''
    : 'SIGNATURES WERE NOT CHECKED: leave out --no-signatures for that\n';
  if (fault !== null) {
    const where = fault.index === null ? 'the ledger' : `entry ${fault.index}`;
    // Some things are found before the first entry is read.
    const looked = entries > 0 || fault.index === 0;
    const rest = looked ? `${entries} entries from the first one on are in order` : 'no entry was looked at';
    return `NOT IN ORDER (${fault.fault}): ${where}: ${fault.message}\n${rest}\n${unchecked}`;
  }
  if (interrupted !== null) {
    return `stopped by ${interrupted} after ${entries} entries, which are in order\ngo on with "ledger verify --resume"\n${unchecked}`;
  }
  const { authors, batches, tiles, erased, root, seconds, rate, resumed_from } = result;
  const speed = rate === null ? '' : `, ${rate}/s`;
  const said = [
    `in order: ${entries} entries of ${authors} authors, ${batches} batches, ${tiles} tiles (${seconds} s${speed})`,
    `root ${root}`,
    ...(erased > 0 ? [`of ${erased} entries retention has dropped the bodies; their hashes are in order`] : []),
    ...(resumed_from > 0 ? [`the first ${resumed_from} entries were verified by the run before`] : []),
    ...result.checkpoints.map(({ file, size }) => `contains the checkpoint of size ${size} in ${file}`),
    ...(result.checkpoints.length > 0 ? [] : [withoutCheckpoint]),
  ];
  return `${said.join('\n')}\n${unchecked}`;
}
