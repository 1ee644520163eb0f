import assert from 'node:assert/strict';
import type { BacktestResult } from '../../../collector/backtest/backtest.ts';

/** What was ordered of whom. */
function deeds(actions: BacktestResult['actions']): readonly string[] {
  return actions.map(
    ({ at, node, action, container, container_id }) => `${at} ${node} ${action} ${container} ${container_id}`,
  );
}

/** How long a node of these takes to obey. A backtest supposes that it takes no time, and what follows upon it comes sooner there. */
export const obeyedWithinMs = 5;

export interface Issued {
  readonly at: string;
  readonly deed: string;
}

/** The times in between differ by what obeying takes. */
export function assertSameDeeds(actions: BacktestResult['actions'], issued: readonly Issued[]): void {
  const timeless = (deed: string) => deed.slice(deed.indexOf(' ') + 1);
  assert.deepEqual(
    deeds(actions).map(timeless),
    issued.map(({ deed }) => timeless(deed)),
  );
  for (const [nth, { at, deed }] of issued.entries()) {
    const earlyMs = Date.parse(at) - Date.parse(actions[nth]?.at ?? '');
    assert.ok(earlyMs >= 0 && earlyMs <= 2 * obeyedWithinMs, `${deed}: ${earlyMs} ms earlier`);
  }
}
