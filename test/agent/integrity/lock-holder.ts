import { takeRunLock } from '../../../agent/data/run-lock.ts';

/** Takes the lock of the folder given, says so, and keeps it until it is killed. */
const [folder = ''] = process.argv.slice(2);
try {
  await takeRunLock(folder, 'integrity run');
  process.stdout.write('held\n');
  setInterval(() => {}, 1_000);
} catch (thrown) {
  process.stdout.write(`${thrown instanceof Error && 'code' in thrown ? thrown.code : thrown}\n`);
}
