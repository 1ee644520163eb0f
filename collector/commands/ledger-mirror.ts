import { exitCodes } from '../../common/exit-codes.ts';
import { createMirroring, noMirror } from '../wiring/mirroring.ts';
import { type CommandContext, show, stderrLogger, withLedger } from './context.ts';

/** Brings the git mirror of the ledger up to date; without `once`, again and again until it is stopped. */
export async function ledgerMirror(context: CommandContext, { once }: { once?: boolean }): Promise<number> {
  await withLedger(context, async ({ ledger, database }) => {
    const logger = stderrLogger(context.stderr);
    const mirroring = createMirroring(context.settings, { database, ledger, logger });
    if (mirroring === undefined) throw noMirror();
    if (once !== true) {
      const stopping = new AbortController();
      void context.stopRequested.then(() => stopping.abort());
      return mirroring.follow(stopping.signal);
    }
    const commits = (await mirroring.pass()).map(({ commit, from, to }) => ({ commit, from, to }));
    show(context, { commits }, () =>
      commits.length === 0
        ? 'nothing new\n'
        : commits.map(({ commit, from, to }) => `${commit} entries ${from} to ${to - 1}\n`).join(''),
    );
  });
  return exitCodes.done;
}
