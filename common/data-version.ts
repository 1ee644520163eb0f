import { AppError } from './errors.ts';

/** Name of the file in a data directory that says which version last wrote it: a line of text such as `0.1.0`. */
export const dataVersionFile = 'version';

/** Nothing that we wrote is longer. */
export const maxDataVersionBytes = 64;

const versionPattern = /^(\d{1,9})\.(\d{1,9})\.(\d{1,9})(-[0-9A-Za-z.-]{1,40})?$/;

/**
 * Whether the version `one` is later than `other`. Of versions with the same three numbers a pre-release is the earlier one; two
 * pre-releases of the same count as the same, and what is no version is never later. The packages' `install` compares alike.
 */
export function isLater(one: string, other: string): boolean {
  const [a, b] = [parts(one), parts(other)];
  if (a === undefined || b === undefined) return false;
  for (const [place, number] of a.numbers.entries()) {
    const difference = number - (b.numbers[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return b.preRelease && !a.preRelease;
}

/**
 * What to record at the start of `running`: undefined when it is recorded already. What is no version is taken for damage, which
 * is no reason to stay down, and is put right.
 * @param recorded contents of the file, undefined when there is none
 * @throws AppError `state.conflict` when a later version wrote the directory
 */
export function versionToRecord(dataDir: string, recorded: string | undefined, running: string): string | undefined {
  const written = recorded?.trim();
  if (written === running) return undefined;
  if (written !== undefined && isLater(written, running)) {
    throw new AppError(
      'state.conflict',
      `the data directory ${dataDir} was written by version ${written}, and this is ${running}, which may not understand it. ` +
        `Install ${written} or later, or start with another --data-dir`,
      { details: { dataDir, written, running } },
    );
  }
  return `${running}\n`;
}

interface Parts {
  readonly numbers: readonly number[];
  readonly preRelease: boolean;
}

function parts(version: string): Parts | undefined {
  const match = versionPattern.exec(version);
  return match === null ? undefined : { numbers: match.slice(1, 4).map(Number), preRelease: match[4] !== undefined };
}
