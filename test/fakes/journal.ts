import type { Journal, StateChange } from '../../agent/ports.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import type { Kind, Statement, StatementOf } from '../../common/kinds.ts';
import { testAuthor } from '../authors.ts';

/** What happens to the next calls of `append`: as it should, nothing at all, or a full outbox. */
export type JournalMood = 'well' | 'write_failed' | 'full';

export interface FakeJournal extends Journal {
  mood: JournalMood;
  /** Everything ever said, in order. */
  readonly said: readonly Statement[];
  saidOf<K extends Kind>(kind: K): StatementOf<K>[];
  /** Loses the state, as an outbox that was damaged does. What was said is said. */
  loseState(): void;
  /** Holds every append back until the returned function is called. */
  hold(): () => void;
}

/** The agent's journal in memory, which can be made to refuse. Values pass through JSON, as on disk. */
export function fakeJournal(): FakeJournal {
  const author = testAuthor('node1');
  const said: Statement[] = [];
  const state = new Map<string, string>();
  let held = Promise.resolve();
  const apply = ({ key, value }: StateChange): void => {
    if (value === undefined) state.delete(key);
    else state.set(key, JSON.stringify(value));
  };
  const journal: FakeJournal = {
    mood: 'well',
    said,
    saidOf: (kind) => said.filter((statement): statement is StatementOf<typeof kind> => statement.kind === kind),
    loseState: () => state.clear(),
    hold: () => {
      let release = () => {};
      held = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
    append: async (statements, changes = []): Promise<readonly SignedEntry[]> => {
      await held;
      if (journal.mood === 'write_failed') throw new AppError('outbox.write_failed', 'broken', { retryable: true });
      const periodic = statements.length > 0 && statements.every(({ kind }) => /^(report|sigil\.scan)$/.test(kind));
      if (journal.mood === 'full' && periodic) return [];
      if (journal.mood === 'full' && statements.length > 0) {
        throw new AppError('outbox.full', 'no room', { retryable: true });
      }
      const entries = statements.map((statement) => author.next(statement));
      for (const change of changes) apply(change);
      said.push(...statements);
      return entries;
    },
    state: async (prefix = '') =>
      new Map(
        [...state].flatMap(([key, text]): [string, unknown][] =>
          key.startsWith(prefix) ? [[key, JSON.parse(text)]] : [],
        ),
      ),
  };
  return journal;
}
