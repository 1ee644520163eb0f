import pLimit from 'p-limit';
import type { SignedEntry } from '../../common/entry.ts';
import type { Statement } from '../../common/kinds.ts';
import type { Journal, StateChange } from '../ports.ts';

/** Key prefixes of what the ledger has been told and still believes; a new account begins without any of it. */
export const toldPrefixes = {
  container: 'container/',
  drift: 'drift/',
  since: 'since/',
  ended: 'ended/',
  finding: 'finding/',
  scan: 'scan/',
} as const;

/** Set in the same write as the entry that says where this node's account begins. */
const baselineKey = 'baseline';

/** The first thing a node ever says: whatever the ledger believed of it before no longer holds. */
const baseline: Statement = { kind: 'observed', body: { baseline: true, upserted: [], removed: [] } };

/**
 * The journal, with the promise that everything told in it stands after a baseline. The baseline goes with the first
 * statement, in one write; after the journal has been replaced, with the first one since.
 *
 * Crash points: before that write nothing counts as told; what a call under way at the replacement still wrote into the
 * new journal stands before its baseline, means nothing any more, and is forgotten with it.
 */
export class Account implements Journal {
  readonly #journal: Journal;
  readonly #oneAtATime = pLimit(1);
  /** Counts replacements, so that what was learned of an earlier journal is not taken for the present one's. */
  #replaced = 0;
  #begun = false;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** The journal was replaced: whether its account has begun is not known. */
  forget(): void {
    this.#replaced += 1;
    this.#begun = false;
  }

  append(statements: readonly Statement[], changes: readonly StateChange[] = []): Promise<readonly SignedEntry[]> {
    if (this.#begun) return this.#journal.append(statements, changes);
    return this.#oneAtATime(() => this.#appendFirst(statements, changes));
  }

  /** What was told before a baseline that is still to be said is void, and not shown. */
  async state(prefix = ''): Promise<ReadonlyMap<string, unknown>> {
    if (this.#begun) return this.#journal.state(prefix);
    const all = await this.#journal.state();
    const valid = all.has(baselineKey) ? () => true : (key: string) => !isTold(key);
    return new Map([...all].filter(([key]) => key.startsWith(prefix) && valid(key)));
  }

  async #appendFirst(
    statements: readonly Statement[],
    changes: readonly StateChange[],
  ): Promise<readonly SignedEntry[]> {
    if (this.#begun) return this.#journal.append(statements, changes);
    const replaced = this.#replaced;
    const state = await this.#journal.state();
    const begun = state.has(baselineKey);
    const beginning: StateChange[] = [...state.keys()].filter(isTold).map((key) => ({ key, value: undefined }));
    const said = begun
      ? await this.#journal.append(statements, changes)
      : await this.#journal.append(
          [baseline, ...statements],
          [...beginning, { key: baselineKey, value: true }, ...changes],
        );
    this.#begun = replaced === this.#replaced;
    return begun ? said : said.slice(1);
  }
}

/**
 * Says something periodic whose changes of state hold even when a full outbox drops and counts it.
 * @throws AppError as `Journal.append`
 */
export async function appendPeriodic(
  journal: Journal,
  statement: Statement,
  changes: readonly StateChange[],
): Promise<void> {
  const said = await journal.append([statement], changes);
  if (said.length === 0) await journal.append([], changes);
}

function isTold(key: string): boolean {
  return Object.values(toldPrefixes).some((prefix) => key.startsWith(prefix));
}
