import { readFileSync, writeSync } from 'node:fs';
import { toAppError } from '../../common/errors.ts';
import { exitCodeOf, exitCodes } from '../../common/exit-codes.ts';
import { version } from '../../common/version.ts';
import { startExecutor } from './executor.ts';
import { lineLog } from './log.ts';
import { readOptions, usage } from './options.ts';

/** A log that nobody takes must not stop anything, and there is nobody to be told. */
function say(file: 1 | 2, text: string): void {
  try {
    writeSync(file, text);
  } catch {}
}

async function main(): Promise<number> {
  const asked = readOptions(process.argv.slice(2), (path) => readFileSync(path, 'utf8'));
  if (asked.kind === 'help') say(1, usage);
  if (asked.kind === 'version') say(1, `${version}\n`);
  if (asked.kind !== 'run') return exitCodes.done;
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  const now = (): number => Date.now();
  const executor = await startExecutor(asked.settings, { now, log: lineLog((line) => say(1, line), now) });
  await stopped;
  await executor.stop();
  return exitCodes.done;
}

/** Not awaited here: this program is built as a script, not as a module, which takes 2 MB less of Node.js. */
void main().then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (thrown: unknown) => {
    const error = toAppError(thrown);
    say(2, `${error.message}\n`);
    process.exitCode = exitCodeOf(error);
  },
);
