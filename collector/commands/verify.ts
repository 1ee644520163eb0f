import { isUtf8 } from 'node:buffer';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { amount } from '../../common/amount.ts';
import { rfc3339 } from '../../common/clock.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { isExportEnd } from '../../common/export-line.ts';
import type { JudgedCheckpoint } from '../../common/judgement.ts';
import { limits } from '../../common/limits.ts';
import { noQuorum, type Policy, parsePolicy } from '../../common/policy.ts';
import { printable, printableJson } from '../../common/printable.ts';
import { cutText } from '../../common/sigil-text.ts';
import { verifyExportFile } from '../ledger/export/file.ts';
import { judgeNote, verifyProofFile } from '../ledger/export/proof-verify.ts';
import { readLastLine } from '../ledger/export/read.ts';
import type { ExportFault } from '../ledger/export/verify.ts';
import type { CommandOutput } from './context.ts';
import { progressBar } from './progress.ts';

export interface VerifyWorld {
  readonly json: boolean;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
}

export interface VerifyOptions {
  readonly policy: string;
  readonly requireSignatures?: boolean;
}

/** What was found, as `--json` shows it. */
interface VerifyResult {
  readonly verified: boolean;
  readonly kind: 'proof' | 'export' | 'checkpoint';
  readonly file: string;
  readonly checkpoint: CheckpointResult | null;
  /** The entry of a proof file, as far as it is proved. */
  readonly entry?: Readonly<Record<string, unknown>> | null;
  /** What an export holds. */
  readonly entries?: Readonly<Record<string, unknown>>;
  /** How much is wrong, what comes first, and the next few. */
  readonly faults: number;
  readonly fault: ExportFault | null;
  readonly more: readonly ExportFault[];
}

type CheckpointResult = ReturnType<typeof checkpointResult>;

interface Shown {
  readonly result: VerifyResult;
  /** What it proves, for people; nothing about faults. */
  readonly lines: readonly string[];
}

const proofHeader = /^c2sp\.org\/tlog-proof@/;

/**
 * Checks a proof file, an export or a checkpoint against a policy: with nothing but the two files, no settings, no
 * database and no network. Exit code 1 when something is wrong with the file, 2 when it or the policy cannot be read.
 */
export async function verifyFile(world: VerifyWorld, path: string, options: VerifyOptions): Promise<number> {
  const policy = parsePolicy(await readAll(options.policy, limits.maxPolicyBytes), options.policy);
  const file = await openRegular(path);
  try {
    const needs = { policy, requireSignatures: options.requireSignatures === true };
    const { result, lines } = await verifyKind(file, path, { ...needs, world });
    if (world.json) world.stdout.write(printableJson(result));
    else world.stdout.write([...faultLines(result), ...lines].map((line) => `${printable(line)}\n`).join(''));
    return result.verified ? exitCodes.done : exitCodes.findings;
  } finally {
    await file.close();
  }
}

interface Needs {
  readonly policy: Policy;
  readonly requireSignatures: boolean;
  readonly world: VerifyWorld;
}

async function verifyKind(file: FileHandle, path: string, needs: Needs): Promise<Shown> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(64), 0, 64, 0);
  const start = buffer.subarray(0, bytesRead).toString('latin1');
  // One of the two ends may be what is damaged.
  if (start.startsWith('{"') || isExportEnd((await readLastLine(file)) ?? '')) return verifyExport(file, path, needs);
  const bytes = await readAll(path, limits.maxNoteChars + limits.maxProofFileBytes);
  const kind = proofHeader.test(start) ? 'proof' : 'checkpoint';
  if (!isUtf8(bytes)) return { result: { kind, file: path, checkpoint: null, ...summary([notText]) }, lines: [] };
  const text = bytes.toString('utf8');
  if (isPolicy(text)) throw refused(path, `is a policy, which says whom to believe: give it as --policy, and ${what}`);
  return kind === 'proof' ? verifyProof(text, path, needs) : verifyCheckpoint(text, path, needs);
}

const what = 'as the file a proof file, an export or a checkpoint';

/** Nothing that was ever signed: that has an empty line before its signatures. */
function isPolicy(text: string): boolean {
  return policyStart.test(text) && !text.includes('\n\n\u2014 ');
}

const policyStart = /^(?:[ \t]*(?:#.*)?\n)*[ \t]*(?:log|witness|group|quorum)[ \t]/;

const notText: ExportFault = { fault: 'line', index: null, line: null, message: 'the file is not UTF-8' };

function verifyCheckpoint(text: string, path: string, { policy }: Needs): Shown {
  const { judged, faults } = judgeNote(text, policy);
  const result = { kind: 'checkpoint' as const, file: path, checkpoint: checkpointResult(judged, policy) };
  const verdict = faults.length === 0 ? ['in order: the policy accepts this checkpoint'] : [];
  return { result: { ...result, ...summary(faults) }, lines: [...verdict, ...checkpointLines(judged, policy)] };
}

function verifyProof(text: string, path: string, needs: Needs): Shown {
  const { judged, faults, index, outline, signed } = verifyProofFile(text, needs);
  const entry = index === undefined || outline === undefined ? null : { index, ...outline, signature_verified: signed };
  const result = { kind: 'proof' as const, file: path, checkpoint: checkpointResult(judged, needs.policy), entry };
  const by = signed ? 'signature verified' : 'signature not verified: no key of this author is known here';
  const proved =
    outline === undefined
      ? []
      : [
          `proved: entry ${index} is in the ledger`,
          `  ${outline.kind} by ${outline.author} (its entry ${outline.seq}) of ${outline.at}; ${by}`,
        ];
  return { result: { ...result, ...summary(faults) }, lines: [...proved, ...checkpointLines(judged, needs.policy)] };
}

async function verifyExport(file: FileHandle, path: string, needs: Needs): Promise<Shown> {
  const bar = progressBar(needs.world.stderr, 'entries');
  const startedMs = performance.now();
  const report = await verifyExportFile(file, { ...needs, onProgress: bar });
  bar(1, 1);
  const { judged, end, counts, faults, first, more } = report;
  const seconds = Math.round(performance.now() - startedMs) / 1000;
  const unverifiable = Object.fromEntries(counts.unverifiable);
  const erased = counts.dropped - counts.unaccounted;
  const unsigned = [...counts.unverifiable.values()].reduce((sum, count) => sum + count, 0);
  const entries = {
    from: end?.from ?? null,
    to: end?.to ?? null,
    proved: counts.entries,
    without_body: counts.dropped,
    without_body_unaccounted: counts.unaccounted,
    signatures_verified: counts.signed,
    signatures_unverifiable: unverifiable,
    first_at: counts.firstAt ?? null,
    last_at: counts.lastAt ?? null,
    seconds,
  };
  const result = { kind: 'export' as const, file: path, checkpoint: checkpointResult(judged, needs.policy), entries };
  const rate = seconds > 0 ? `, ${Math.round(counts.entries / seconds)}/s` : '';
  const span = counts.firstAt === undefined ? '' : `, written from ${counts.firstAt} to ${counts.lastAt}`;
  const lines = [
    `proved: ${amount(counts.entries, 'entry', 'entries')}${end === undefined ? '' : ` of ${end.from} to ${end.to - 1}`}${span} (${seconds} s${rate})`,
    `  ${amount(counts.signed, 'signature')} of authors verified`,
    ...(unsigned === 0
      ? []
      : [`  ${unsigned} not verified, since no key is known of ${Object.keys(unverifiable).join(', ')}`]),
    ...(erased === 0
      ? []
      : [
          `  ${amount(erased, 'entry', 'entries')} without body, which was erased, as entries ledger.erased in this file say`,
        ]),
  ];
  const found = { verified: faults === 0, faults, fault: first ?? null, more };
  return { result: { ...result, ...found }, lines: [...lines, ...checkpointLines(judged, needs.policy)] };
}

function checkpointResult(judged: JudgedCheckpoint | undefined, { quorum }: Policy) {
  if (judged === undefined) return null;
  const { checkpoint, cosignatures, timeless, quorumReached, unknownSignatures } = judged;
  return {
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: checkpoint.root.toString('base64'),
    quorum,
    quorum_reached: quorumReached,
    witnesses: cosignatures.map(({ name, timestampSeconds }) => ({ name, at: rfc3339(timestampSeconds * 1_000) })),
    timeless_witnesses: timeless,
    unknown_signatures: unknownSignatures,
  };
}

function checkpointLines(judged: JudgedCheckpoint | undefined, { quorum }: Policy): readonly string[] {
  if (judged === undefined) return [];
  const { checkpoint, cosignatures, timeless, quorumReached, unknownSignatures } = judged;
  const by = cosignatures.map(({ name, timestampSeconds }) => `${name} (${rfc3339(timestampSeconds * 1_000)})`);
  const reached = quorumReached ? 'reached' : 'NOT reached';
  return [
    `checkpoint of ${checkpoint.origin}, size ${checkpoint.size}, root ${checkpoint.root.toString('base64')}`,
    `  cosigned by ${by.length === 0 ? 'no witness of the policy' : by.join(', ')}`,
    quorum === noQuorum ? '  the policy asks for no quorum' : `  quorum "${quorum}" ${reached}`,
    ...timeless.map((name) => `  a cosignature by ${name} does not count: it is of a time that no clock shows`),
    ...(unknownSignatures === 0 ? [] : [`  ${unknownSignatures} more signatures, by keys the policy does not name`]),
  ];
}

function summary(faults: readonly ExportFault[]) {
  return { verified: faults.length === 0, faults: faults.length, fault: faults[0] ?? null, more: faults.slice(1) };
}

function faultLines({ fault, faults, more }: VerifyResult): readonly string[] {
  if (fault === null) return [];
  const others = faults - 1 - more.length;
  return [
    `NOT IN ORDER ${faultText(fault)}`,
    ...more.map((next) => `  also ${faultText(next)}`),
    ...(others === 0 ? [] : [`  and ${others} more ${others === 1 ? 'fault' : 'faults'}`]),
  ];
}

function faultText({ fault, index, line, message }: ExportFault): string {
  const entry = index === null ? '' : ` entry ${index}:`;
  return `(${fault}):${entry} ${cutText(message)}${line === null ? '' : ` (line ${line})`}`;
}

async function openRegular(path: string): Promise<FileHandle> {
  const refuse = (cause: unknown) => Promise.reject(unreadable(path, cause));
  // Not waiting for the other end of a pipe, which may never come.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(refuse);
  const found = await file.stat();
  if (found.isFile()) return file;
  await file.close();
  throw refused(path, `is ${kindOf(found)}: give ${what}`);
}

function kindOf(found: Stats): string {
  return found.isDirectory() ? 'a folder' : 'not a regular file';
}

async function readAll(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const found = await stat(path);
    // From a pipe a policy is as good; a device may go on for ever.
    if (!found.isFile() && !found.isFIFO()) throw refused(path, `is ${kindOf(found)}`);
    if (found.size <= maxBytes) return await readFile(path);
  } catch (cause) {
    throw cause instanceof AppError ? cause : unreadable(path, cause);
  }
  throw refused(path, `is longer than anything it could be (${maxBytes} bytes)`);
}

function refused(path: string, why: string): AppError {
  return new AppError('validation.request', `${path} ${why}`);
}

function unreadable(path: string, cause: unknown): AppError {
  return new AppError('validation.request', `cannot read ${path}: ${errnoOf(cause) ?? String(cause)}`, { cause });
}
