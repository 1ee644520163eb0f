import { readFileSync } from 'node:fs';
import { exitCodes } from '../common/exit-codes.ts';
import { flushed, lostOutput } from '../common/lost-output.ts';
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

process.stdout.on('error', (error) => {
  const { exitCode, message } = lostOutput(error);
  process.stderr.write(message);
  process.exit(exitCode);
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
process.exit(exitCode);
