import type { FailedCheck, SigilChecker } from '../../common/sigil.ts';
import { type VersionSink, VersionTaker } from './inventory/versions.ts';
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
  private readonly versions: VersionTaker | null;
  private suspects: Suspect[] = [];

  /** @param versions where every version of a sigil goes; null when nobody wants to know */
  constructor(checker: SigilChecker, versions: VersionSink | null) {
    this.checker = checker;
    this.versions = versions && new VersionTaker(versions);
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
      const { versions } = this;
      if (versions !== null && this.checker.soundShape !== null) versions.sound(record, this.checker.soundShape);
    } else this.check(record.userKey(), record.value(), record.sequence);
  }

  /** The key is a view that lives only during the call. */
  deletion(key: Buffer, sequence: number): void {
    if (this.versions !== null && this.checker.kindOf(key) !== 'other') this.versions.deleted(key, sequence);
  }

  private check(key: Buffer, value: Buffer, sequence: number): void {
    this.records++;
    const kind = this.checker.kindOf(key);
    if (kind === 'other') return;
    this.sigils++;
    const failures = this.checker.check(key, value);
    this.versions?.put(key, value, { sequence, isTenant: kind === 'tenant', passes: failures.length === 0 });
    if (failures.length > 0) this.suspects.push({ key: Buffer.from(key), sequence, failures });
  }
}
