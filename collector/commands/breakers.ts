import { exitCodes } from '../../common/exit-codes.ts';
import { breakerList, breakerReset } from '../api/breakers-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { showList } from './list.ts';

type Breaker = AnswerOf<typeof breakerList>['items'][number];

/** The circuit breakers of outside services: all of them, there is one for each service that was ever tried. */
export function breakersList(context: CommandContext): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(breakerList, {}),
      heading: ['SERVICE', 'STATE', 'UNTIL', 'IN A ROW', 'FAILURES', 'SUCCESSES', 'NOT TRIED', 'LAST FAILURE'],
      cells: breakerCells,
      none: 'no service was tried yet',
    },
  );
}

function breakerCells(breaker: Breaker): readonly string[] {
  const { service, state, open_until, failures_in_a_row, failures, successes, refused, last_failure } = breaker;
  const counts = [failures_in_a_row, failures, successes, refused].map(String);
  return [shownCell(service), state, open_until ?? '-', ...counts, shownCell(last_failure ?? '-')];
}

/** Closes a breaker, for all collectors. */
export function breakersReset(context: CommandContext, service: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const breaker = await api.call(breakerReset, { params: { service } });
    show(context, { ...breaker, ...contradictedField() }, () => `${shownCell(breaker.service)}: ${breaker.state}\n`);
    return exitCodes.done;
  });
}
