import { readFileSync } from 'node:fs';
import { exitCodes } from '../common/exit-codes.ts';
import { flushed, type LostOutput, lostOutput } from '../common/lost-output.ts';
import { runCli } from './cli.ts';

/** The first signal asks to stop; a second one, from somebody who lost patience, ends the program where it stands. */
const stopRequested = new Promise<string>((resolve) => {
  let asked = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (asked) process.exit(exitCodes.internal);
      asked = true;
      resolve(signal);
    });
  }
});

// Node's own exit code for this is 1, which here means that a check found something.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack ?? String(error)}\n`);
  process.exit(exitCodes.internal);
});

const output: { lost?: LostOutput } = {};
// Not the end yet: a command may have started a database of its own, which is to be stopped.
process.stdout.on('error', (error) => {
  if (output.lost !== undefined) return;
  output.lost = lostOutput(error);
  process.stderr.write(output.lost.message);
});

// Everything is closed by now; Node taking itself apart could wait for ever for a request that never ends.
const exitCode = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: (path) => readFileSync(path, 'utf8'),
  stopRequested,
});
await flushed(process.stdout);
process.exit(output.lost?.exitCode ?? exitCode);
