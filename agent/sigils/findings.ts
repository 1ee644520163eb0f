import { createHash } from 'node:crypto';
import { limits } from '../../common/limits.ts';
import { type FailedCheck, fileChecks, type SigilFinding } from '../../common/sigil.ts';
import type { InventoryCheck } from '../../common/sigil-inventory.ts';
import { cutText, foreignText } from '../../common/sigil-text.ts';
import type { KeyRange } from './table-scan.ts';

/** A bad place in a store file. */
export interface FileProblem {
  readonly check: (typeof fileChecks)[number];
  readonly file: string;
  readonly offset: number | null;
  readonly range: KeyRange | null;
  readonly detail: string;
}

/** What is wrong with the current record of a key, or with there being none. */
export type RecordProblem = Omit<FailedCheck, 'check'> & { readonly check: FailedCheck['check'] | InventoryCheck };

/** The finding for a check that the current record under `key` fails. It has no file: compaction moves records. */
export function recordFinding(store: string, key: Buffer, failed: RecordProblem): SigilFinding {
  return {
    id: findingId(store, failed.check, key, ''),
    check: failed.check,
    key: cutText(foreignText(key)),
    keyRange: null,
    file: null,
    offset: null,
    expected: failed.expected === null ? null : cutText(failed.expected),
    actual: failed.actual === null ? null : cutText(failed.actual),
    detail: cutText(failed.detail),
  };
}

export function fileFinding(store: string, problem: FileProblem): SigilFinding {
  const { range } = problem;
  return {
    id: findingId(store, problem.check, Buffer.from(problem.file), String(problem.offset ?? '')),
    check: problem.check,
    key: null,
    keyRange: range === null ? null : { from: cutText(foreignText(range.from)), to: cutText(foreignText(range.to)) },
    file: cutText(problem.file),
    offset: problem.offset,
    expected: null,
    actual: null,
    detail: cutText(problem.detail),
  };
}

export function isFileFinding(finding: SigilFinding): boolean {
  return fileChecks.some((check) => check === finding.check);
}

/** First 32 hex digits of SHA-256 over `store|check|file-or-key|offset`. */
function findingId(store: string, check: string, subject: Buffer, offset: string): string {
  const hash = createHash('sha256').update(`${store}|${check}|`).update(subject).update(`|${offset}`);
  return hash.digest('hex').slice(0, 32);
}

/**
 * Collects what one scan finds. Findings that are already open are only marked as seen again; new ones are kept up to
 * the bound and counted beyond it.
 */
export class FindingList {
  readonly fresh: SigilFinding[] = [];
  /** New findings beyond the bound. A record that compaction moves during the scan may be counted twice. */
  more = 0;
  private readonly open: ReadonlySet<string>;
  private readonly seen = new Set<string>();

  constructor(open: readonly SigilFinding[]) {
    this.open = new Set(open.map((finding) => finding.id));
  }

  add(finding: SigilFinding): void {
    if (this.seen.has(finding.id)) return;
    const isOpen = this.open.has(finding.id);
    if (!isOpen && this.isFull) {
      this.more++;
      return;
    }
    this.seen.add(finding.id);
    if (!isOpen) this.fresh.push(finding);
  }

  /** Whether new ones are only counted. */
  get isFull(): boolean {
    return this.open.size + this.fresh.length >= limits.maxOpenFindingsPerStore;
  }

  /** Whether it was told before, and not cleared since. */
  isOpen(id: string): boolean {
    return this.open.has(id);
  }

  wasSeen(finding: SigilFinding): boolean {
    return this.seen.has(finding.id);
  }
}
