import { demand } from '../observe.ts';
import type { Step } from './step.ts';

/** Everything that happened is derived again from the signed entries alone. */
export const verify: Step = {
  name: 'verify',
  title: 'The whole history, verified',
  run: async ({ collector, api }, screen) => {
    const size = await api.ledgerSize();
    screen.cause('sigilwatch-collector ledger verify');
    const since = performance.now();
    const { exitCode, stdout, stderr } = await screen.during('verifying', collector.cli('ledger', 'verify'));
    const afterMs = Math.round(performance.now() - since);
    const said = `${stdout}${stderr}`.trim();
    const { entries, authors, perSecond } = figures(stdout);
    demand(`ledger verify ends with 0 after at least ${size} entries`, exitCode === 0 && entries >= size, said);
    for (const line of said.split('\n')) screen.detail(line);
    screen.seen('verified', afterMs, `${entries} entries of ${authors} authors, ${perSecond} entries/s`);
    return { seen_after_ms: afterMs, entries, authors, entries_per_second: perSecond, said };
  },
};

/** From what the command prints for people, which is what is shown here. */
function figures(text: string): { entries: number; authors: number; perSecond: number } {
  const [, entries, authors, seconds] = /(\d+) entries of (\d+) authors,.*\(([\d.]+) s/.exec(text) ?? [];
  const count = Number(entries ?? 0);
  return {
    entries: count,
    authors: Number(authors ?? 0),
    perSecond: Math.round(count / Math.max(Number(seconds), 0.001)),
  };
}
