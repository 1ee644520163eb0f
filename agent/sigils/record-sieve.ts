import type { FailedCheck, SigilChecker } from '../../common/sigil.ts';
import type { TableRecord } from './table-scan.ts';

/** A stored version that fails a check, not yet known to be its key's current one. */
export interface Suspect {
  readonly key: Buffer;
  readonly sequence: number;
  readonly failures: readonly FailedCheck[];
}

/** Counts stored records, and keeps those that fail a check. */
export class RecordSieve {
  records = 0;
  sigils = 0;
  private readonly checker: SigilChecker;
  private suspects: Suspect[] = [];

  constructor(checker: SigilChecker) {
    this.checker = checker;
  }

  /** How many are kept. */
  get kept(): number {
    return this.suspects.length;
  }

  take(): readonly Suspect[] {
    const suspects = this.suspects;
    this.suspects = [];
    return suspects;
  }

  look(record: TableRecord): void {
    if (this.checker.isSound(record)) {
      this.records++;
      this.sigils++;
    } else this.check(record.userKey(), record.value(), record.sequence);
  }

  /** Key and value are views that live only during the call. */
  check(key: Buffer, value: Buffer, sequence: number): void {
    this.records++;
    if (this.checker.kindOf(key) === 'other') return;
    this.sigils++;
    const failures = this.checker.check(key, value);
    if (failures.length > 0) this.suspects.push({ key: Buffer.from(key), sequence, failures });
  }
}
