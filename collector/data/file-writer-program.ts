import { toAppError } from '../../common/errors.ts';
import { type WriterAnswer, wholeMessage } from './named-files.ts';
import { writeNewFile } from './new-file.ts';

/*
 * Writes one new file, named on the command line, of what comes over standard input, for a command that has given up the right to do so
 * (named-files.ts). The file gets its name once the command has said that this was all of it; when the command is gone before, however
 * that came about, nothing is left.
 */

/** A terminal tells all processes to stop; here the command does, which knows what becomes of the file. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

const isWhole = new Promise<boolean>((resolve) => {
  process.on('message', (said) => resolve(said === wholeMessage));
  process.on('disconnect', () => resolve(false));
  // It may be gone before anybody could hear of it.
  if (!process.connected) resolve(false);
});

async function* pieces(): AsyncGenerator<string> {
  yield* process.stdin.setEncoding('utf8');
  if (!(await isWhole)) throw new Error('the command has ended');
}

const [path = ''] = process.argv.slice(2);
const answer: WriterAnswer = await writeNewFile(path, pieces()).then(
  () => ({ written: true }),
  (thrown: unknown) => {
    const { code, message } = toAppError(thrown);
    return { code, message };
  },
);
if (process.connected) process.send?.(answer, () => process.exit(0));
else process.exit(0);
