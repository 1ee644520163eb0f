import { stat } from 'node:fs/promises';
import { NotChecked } from '../../common/checkup.ts';

export const enrolCommand = 'sigilwatch-agent enroll --collector URL --token TOKEN';

/** @throws NotChecked for everything that is read from there, where it is not there or not ours. */
export async function requireOwnDataDir(dataDir: string): Promise<void> {
  const found = await stat(dataDir).catch(() => undefined);
  if (found === undefined) throw new NotChecked('there is no data directory yet', 'see data directory');
  const self = process.geteuid?.() ?? found.uid;
  if (found.uid !== self) throw new NotChecked('the data directory is not ours', 'see data directory');
}
