import { fork } from 'node:child_process';
import { AppError } from '../../common/errors.ts';
import { rawPublicKey } from '../../common/keys.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';
import { limits } from '../../common/limits.ts';
import type { CheckedLedger } from './check.ts';
import { type CheckTask, checkMessage } from './messages.ts';

/** Beside this file in the source, which Node needs help to read, and beside the program in the build. */
const [programFile, options] = import.meta.url.endsWith('.ts')
  ? [new URL('./check-program.ts', import.meta.url), ['--import', 'tsx']]
  : [new URL('./ledger-check.js', import.meta.url), []];

export interface CheckProcess {
  readonly databaseUrl: string;
  /** Ends the check; the promise rejects with `state.conflict` then. */
  readonly signal: AbortSignal;
  /** Told when there is a process to look at. */
  readonly onBegun?: (pid: number | undefined) => void;
}

/**
 * Has the ledger checked by a process of its own, at a low priority and for a share of the time.
 * @throws AppError `state.conflict` when it was stopped; `internal.error` when the process broke, ran out of memory, or hung
 */
export function checkInProcess(ledger: CheckedLedger, needs: CheckProcess): Promise<LedgerCheck> {
  const { databaseUrl, signal, onBegun } = needs;
  const heap = [`--max-old-space-size=${limits.ledgerCheckHeapMb}`, '--max-semi-space-size=2'];
  // What it writes is nobody's to read: its answer is a message. What breaks it is.
  const child = fork(programFile, [], {
    execArgv: [...options, ...heap],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    let patience: NodeJS.Timeout | undefined;
    const settle = (how: () => void) => {
      clearTimeout(patience);
      signal.removeEventListener('abort', stop);
      child.kill('SIGKILL');
      how();
    };
    const fail = (error: AppError) => settle(() => reject(error));
    const stop = () => fail(new AppError('state.conflict', 'the check of the ledger was stopped', { retryable: true }));
    const wait = () => {
      clearTimeout(patience);
      patience = setTimeout(() => fail(broken('did not get on any more')), limits.ledgerCheckStallMs);
    };
    child.on('message', (said) => {
      const message = checkMessage.safeParse(said);
      if (!message.success) return fail(broken('said what nobody understands'));
      if (message.data.type === 'progress') return wait();
      const { check } = message.data;
      settle(() => resolve(check));
    });
    child.once('error', (cause) => fail(broken(`could not be begun: ${cause.message}`, cause)));
    child.once('exit', (code, by) => fail(broken(`ended by itself (${by ?? `exit code ${code}`})`)));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    wait();
    child.send(taskOf(ledger, databaseUrl), (cause) => {
      if (cause !== null) fail(broken('could not be told what to check', cause));
    });
    onBegun?.(child.pid);
  });
}

function taskOf({ origin, collectorKey, checkpoints }: CheckedLedger, databaseUrl: string): CheckTask {
  return {
    ...{ databaseUrl, origin, share: limits.ledgerCheckShare },
    collectorKey: rawPublicKey(collectorKey).toString('base64'),
    checkpoints: checkpoints.map(({ name, size, root }) => ({ name, size, root: root.toString('base64') })),
  };
}

function broken(how: string, cause?: unknown): AppError {
  return new AppError('internal.error', `the process that checks the ledger ${how}`, { cause });
}
