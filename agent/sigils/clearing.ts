import type { SigilFinding } from '../../common/sigil.ts';
import { compareTimes, inventoryChecks } from '../../common/sigil-inventory.ts';
import { foreignBytes, foreignText } from '../../common/sigil-text.ts';
import { isFileFinding } from './findings.ts';
import type { FoundRecord, RecordLookUp } from './look-up.ts';

export interface ClearingOptions {
  /** Open findings that the scan did not come by again. */
  readonly unseen: readonly SigilFinding[];
  /** Whether what a finding of a file was made of is well now. */
  readonly fileIsFine: (finding: SigilFinding) => boolean;
  /** Whether everything was read, and nothing was left out of the findings. */
  readonly sawEverything: boolean;
  /** Whether all of it was compared with an inventory. */
  readonly compared: boolean;
  /** Findings that the comparison has settled. */
  readonly settled: readonly string[];
  readonly current: () => RecordLookUp;
}

/** Ids of the open findings that are no longer true. @throws AppError as {@link RecordLookUp.lookUp} */
export async function clearedFindings(options: ClearingOptions): Promise<string[]> {
  const { unseen, fileIsFine, settled } = options;
  const files = unseen.filter(isFileFinding).filter(fileIsFine);
  const records = unseen.filter((finding) => !isFileFinding(finding) && !settled.includes(finding.id));
  // The key of a cut text cannot be looked up; only a scan that read everything and did not see it again can tell.
  const gone = records.filter((finding) => keyOf(finding) === null && sawAllOf(finding, options));
  const mended = await mendedRecords(records, options);
  return [...[...files, ...mended, ...gone].map(({ id }) => id), ...settled];
}

async function mendedRecords(records: readonly SigilFinding[], options: ClearingOptions): Promise<SigilFinding[]> {
  const byKey = new Map<string, SigilFinding[]>();
  for (const finding of records) {
    const name = keyOf(finding)?.toString('latin1');
    if (name !== undefined) byKey.set(name, [...(byKey.get(name) ?? []), finding]);
  }
  if (byKey.size === 0) return [];
  const current = await options.current().lookUp([...byKey.keys()].map((name) => Buffer.from(name, 'latin1')));
  return [...byKey].flatMap(([name, findings]) => {
    const found = current.get(name);
    if (found === undefined || found.uncertain) return [];
    return findings.filter(
      (finding) => isMended(finding, found) || (isDuplicate(finding) && sawAllOf(finding, options)),
    );
  });
}

function isMended({ check, expected }: SigilFinding, found: FoundRecord): boolean {
  switch (check) {
    case 'vanished':
      return found.isPresent;
    case 'duplicate':
      return !found.isPresent;
    case 'rolled_back':
      return !found.isPresent || isAtLeast(found.updatedAt, expected ?? '');
    default:
      return !found.failures.some((failed) => failed.check === check);
  }
}

function isAtLeast(updatedAt: string, expected: string): boolean {
  // As the finding shows it.
  const shown = foreignText(Buffer.from(updatedAt));
  return (compareTimes(shown, expected) ?? -1) >= 0;
}

function isDuplicate({ check }: SigilFinding): boolean {
  return check === 'duplicate';
}

function sawAllOf({ check }: SigilFinding, { sawEverything, compared }: ClearingOptions): boolean {
  return sawEverything && (compared || !inventoryChecks.some((one) => one === check));
}

/** Null when it was too long to be shown. */
function keyOf({ key }: SigilFinding): Buffer | null {
  return key === null ? null : foreignBytes(key);
}
