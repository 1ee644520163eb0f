import type { FileHandle } from 'node:fs/promises';
import { toAppError } from '../../../common/errors.ts';
import { type ExportEnd, isExportEnd, parseExportEnd } from '../../../common/export-line.ts';
import type { JudgedCheckpoint } from '../../../common/judgement.ts';
import { limits } from '../../../common/limits.ts';
import type { Policy } from '../../../common/policy.ts';
import { judgeNote } from './proof-verify.ts';
import { readLastLine, readLines } from './read.ts';
import { type ExportCounts, type ExportFault, ExportVerifier } from './verify.ts';

export interface ExportFileNeeds {
  readonly policy: Policy;
  /** An author whose key is not known is a fault, too. */
  readonly requireSignatures: boolean;
  readonly onProgress?: (done: number, of: number) => void;
}

export interface ExportReport {
  readonly judged: JudgedCheckpoint | undefined;
  readonly end: ExportEnd | undefined;
  readonly counts: ExportCounts;
  /** How much is wrong. */
  readonly faults: number;
  /** What comes first in the file; what is wrong with the checkpoint counts as before everything. */
  readonly first: ExportFault | undefined;
  /** The next few after it. */
  readonly more: readonly ExportFault[];
}

/** Lines whose signatures may be under way before more are read. */
const linesPerTurn = 512;

/** Verifies an exported file from its first line to its last, in bounded memory. Rejects only when it cannot be read. */
export async function verifyExportFile(file: FileHandle, needs: ExportFileNeeds): Promise<ExportReport> {
  const faults = collectFaults();
  const last = await readLastLine(file);
  const end = readEnd(last, faults.add);
  const found = end === undefined ? undefined : judgeNote(end.checkpoint, needs.policy);
  for (const fault of found?.faults ?? []) faults.add(fault);
  if (end === undefined || found?.judged === undefined) {
    const counts = {
      entries: 0,
      dropped: 0,
      unaccounted: 0,
      signed: 0,
      unverifiable: new Map(),
      firstAt: undefined,
      lastAt: undefined,
    };
    return { judged: found?.judged, end, counts, ...faults.told() };
  }
  const { judged } = found;
  const verifier = new ExportVerifier({ ...needs, end, judged, onFault: faults.add });
  const line = await takeLines(file, last, verifier, (done) => {
    needs.onProgress?.(done, end.context.length + end.to - end.from);
  });
  verifier.finish(line);
  return { judged, end, counts: verifier.counts, ...faults.told() };
}

/** @returns the number of the last line. */
async function takeLines(
  file: FileHandle,
  last: string | undefined,
  verifier: ExportVerifier,
  onProgress: (done: number) => void,
): Promise<number> {
  let number = 0;
  let before: Promise<unknown> = Promise.resolve();
  let held: string | undefined;
  let holding = false;
  for await (const { lines } of readLines(file)) {
    for (let start = 0; start < lines.length; start += linesPerTurn) {
      const signatures: Promise<void>[] = [];
      for (const line of lines.slice(start, start + linesPerTurn)) {
        // One behind, since only when there is nothing more is a line known to be the last one.
        if (holding) signatures.push(verifier.take(held, ++number));
        [held, holding] = [line, true];
      }
      // While those of this turn are checked, the next one is read and hashed.
      await before;
      before = Promise.all(signatures);
      onProgress(number);
    }
  }
  // Read first, so it is what everything was held against; if it is another one now, the file changed meanwhile.
  if (held !== last) await verifier.take(held, ++number);
  await before;
  return number + 1;
}

function readEnd(last: string | undefined, add: (fault: ExportFault) => void): ExportEnd | undefined {
  const refuse = (message: string) => add({ fault: 'checkpoint', index: null, line: null, message });
  if (last === undefined || !isExportEnd(last)) {
    refuse('the file is cut off, or was added to: its last line is not the end of an export');
    return undefined;
  }
  try {
    return parseExportEnd(last);
  } catch (thrown) {
    refuse(`the last line is damaged: ${toAppError(thrown).message}`);
    return undefined;
  }
}

/** Signatures answer in any order; the faults that are told are the first ones in the file. */
function collectFaults() {
  let faults = 0;
  const kept: ExportFault[] = [];
  return {
    add: (fault: ExportFault) => {
      faults += 1;
      const after = kept.findIndex(({ line }) => (line ?? 0) > (fault.line ?? 0));
      if (after >= 0) kept.splice(after, 0, fault);
      else kept.push(fault);
      if (kept.length > limits.shownFaults) kept.pop();
    },
    told: () => ({ faults, first: kept[0], more: kept.slice(1) }),
  };
}
