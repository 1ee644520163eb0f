import type { SigilFinding } from '../../../common/sigil.ts';
import { compareTimes } from '../../../common/sigil-inventory.ts';
import { foreignText } from '../../../common/sigil-text.ts';
import { type FindingList, recordFinding } from '../findings.ts';
import type { FoundRecord, RecordLookUp } from '../look-up.ts';
import type { Candidate, ComparisonSink } from './comparison.ts';
import type { Doubts } from './doubts.ts';

export interface JudgeOptions {
  readonly store: string;
  /** Whether the scan read all that the store consisted of. */
  readonly settled: boolean;
  readonly doubts: Doubts;
  readonly findings: FindingList;
  readonly current: RecordLookUp;
}

/** Looks once more at what a comparison with the inventory suspects, and adds what is true to the findings. */
export class Judge implements ComparisonSink {
  /** Open findings of vanished keys whose sigils stand under new ones. */
  readonly movedFindings: string[] = [];
  private readonly options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.options = options;
  }

  isSeen(key: Buffer): boolean {
    return this.options.settled && !this.options.doubts.covers(key);
  }

  moved(key: Buffer): void {
    const { store, findings } = this.options;
    const { id } = recordFinding(store, key, { check: 'vanished', expected: null, actual: null, detail: '' });
    if (findings.isOpen(id)) this.movedFindings.push(id);
  }

  async suspect(candidates: readonly Candidate[]): Promise<void> {
    const { findings } = this.options;
    const unsure: Candidate[] = [];
    for (const candidate of candidates) {
      if (candidate.check !== 'duplicate' && !this.isSeen(candidate.key)) continue;
      const finding = this.findingOf(candidate);
      // What is open is looked up when the next scan would clear it; what finds no room is only counted.
      if (findings.isOpen(finding.id) || findings.isFull) findings.add(finding);
      else unsure.push(candidate);
    }
    await this.lookAgain(unsure);
  }

  /** The store goes on being written to while it is read, and damage may hide what is newer. */
  private async lookAgain(candidates: readonly Candidate[]): Promise<void> {
    if (candidates.length === 0) return;
    const keys = candidates.flatMap(({ key, other }) => (other === null ? [key] : [key, other]));
    const current = await this.options.current.lookUp(keys);
    const found = (key: Buffer) => current.get(key.toString('latin1'));
    for (const candidate of candidates) {
      const isTrue = stands(
        candidate,
        found(candidate.key),
        candidate.other === null ? undefined : found(candidate.other),
      );
      if (isTrue) this.options.findings.add(this.findingOf(candidate));
    }
  }

  private findingOf({ check, key, before, now, other }: Candidate): SigilFinding {
    const shown = (text: string) => (text === '' ? null : foreignText(Buffer.from(text, 'latin1')));
    const [expected, actual] = [shown(before), other === null ? shown(now) : foreignText(other)];
    return recordFinding(this.options.store, key, { check, expected, actual, detail: details[check] });
  }
}

const details = {
  vanished: 'the sigil is gone; expected is when it was updated last',
  rolled_back: 'updatedAt is older than it was under this key before',
  duplicate: 'the sigil with this id stands under a new key, too',
} as const;

function stands({ check, before }: Candidate, found?: FoundRecord, other?: FoundRecord): boolean {
  if (found === undefined || found.uncertain) return false;
  switch (check) {
    case 'vanished':
      return !found.isPresent;
    case 'rolled_back':
      return found.isPresent && (compareTimes(found.updatedAt, before) ?? 0) < 0;
    case 'duplicate':
      return found.isPresent && other?.isPresent === true;
  }
}
