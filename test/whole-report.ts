/*
 * Comes first in each test file that `run.ts` has built. The runner ends a file by `process.exit()` as soon as its last test is
 * over (`forceExit`), whether or not what it has reported has left: what the pipe has not taken by then is lost, and the more a
 * version of Node.js reports, the more often. So the exit waits for the pipe, and a mark behind everything else shows that it has all arrived.
 */

/** The last that a file writes. In ASCII: the runner takes other bytes behind a result for another result. */
export const endOfReport = '=== end of the report of this file ===\n';

/** Runs in the process of one test file; others only want to know the mark. */
if (process.env.NODE_TEST_CONTEXT === 'child-v8') {
  const exit = process.exit;
  let leaving = false;
  // The runner, which calls it, expects no more of it than that the process ends.
  const exitWhenTold = (code?: number): void => {
    if (leaving) return;
    leaving = true;
    process.stdout.write(endOfReport, () => exit(code));
  };
  Object.defineProperty(process, 'exit', { value: exitWhenTold, configurable: true, writable: true });
}
