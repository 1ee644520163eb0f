import { z } from 'zod';
import type { Statement } from '../../common/kinds.ts';
import type { Logger } from '../../common/log.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import { acceptableChecks } from '../../common/sigil-inventory.ts';
import { foreignBytes } from '../../common/sigil-text.ts';
import type { Journal, StateChange } from '../ports.ts';
import type { AcceptedChange } from '../sigils/inventory/accepted.ts';
import type { AcceptanceFolder, WaitingAcceptance } from './acceptances.ts';

/** What is remembered of one until the inventory has forgotten the change. `file` is that of the acceptance. */
const remembered = z.strictObject({
  file: z.string(),
  check: z.enum(acceptableChecks),
  key: z.string(),
  actual: z.string().nullable(),
});

export interface AcceptingOptions {
  readonly store: string;
  readonly folder: AcceptanceFolder;
  readonly journal: Journal;
  readonly logger: Logger;
}

/**
 * Takes up what people have accepted of one store's findings: an entry says so with their reason, the finding is open no longer, and the next
 * inventory forgets the change. Only what the inventory has found can be accepted, and only while it is open.
 *
 * Crash points: entry and memory are one write, and the file goes after it; a file that is left then is known by its name. What is
 * remembered goes after the new inventory stands; a later comparison finds nothing to forget, and it goes then.
 */
export class Accepting {
  readonly #options: AcceptingOptions;

  constructor(options: AcceptingOptions) {
    this.#options = options;
  }

  /**
   * @param open the store's open findings
   * @param closes state that goes with a finding that is open no longer
   * @returns the ids of those. @throws AppError as `Journal.append`
   */
  async takeUp(open: Iterable<SigilFinding>, closes: (id: string) => StateChange): Promise<readonly string[]> {
    const { store, folder, journal, logger } = this.#options;
    const waiting = await folder.waiting(store);
    if (waiting.length === 0) return [];
    const findings = [...open].filter((finding) => acceptableCheck(finding) !== undefined);
    const known = new Set((await this.#remembered()).map(({ file }) => file));
    const closed: string[] = [];
    for (const acceptance of waiting) {
      const meant = findings.filter(({ id, key }) => key === acceptance.key && !closed.includes(id));
      if (meant.length > 0) {
        await journal.append(
          meant.flatMap((finding) => this.#statement(acceptance, finding)),
          meant.flatMap((finding) => [closes(finding.id), this.#memory(acceptance, finding)]),
        );
        closed.push(...meant.map(({ id }) => id));
        logger.warn('sigil.accepted', { store, key: acceptance.key, reason: acceptance.reason });
      } else if (!known.has(acceptance.file)) {
        logger.warn('sigil.acceptance_refused', { store, key: acceptance.key, reason: 'no such finding is open' });
      }
      await folder.remove(acceptance);
    }
    return closed;
  }

  /** What the next inventory is to forget. */
  async changes(): Promise<readonly AcceptedChange[]> {
    return (await this.#remembered()).flatMap(({ id, check, key, actual }): AcceptedChange[] => {
      const bytes = foreignBytes(key);
      return bytes === null ? [] : [{ id, check, key: bytes, actual }];
    });
  }

  /** The new inventory stands. */
  async forget(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#options.journal.append(
      [],
      ids.map((id): StateChange => ({ key: `${this.#prefix}${id}`, value: undefined })),
    );
  }

  #statement({ reason }: WaitingAcceptance, finding: SigilFinding): Statement[] {
    const check = acceptableCheck(finding);
    if (check === undefined || finding.key === null) return [];
    const body = { store: this.#options.store, key: finding.key, check, finding: finding.id, reason };
    return [{ kind: 'sigil.accepted', body }];
  }

  #memory({ file }: WaitingAcceptance, { id, check, key, actual }: SigilFinding): StateChange {
    return { key: `${this.#prefix}${id}`, value: { file, check, key, actual: check === 'vanished' ? null : actual } };
  }

  async #remembered() {
    const state = await this.#options.journal.state(this.#prefix);
    return [...state].flatMap(([key, value]) => {
      const parsed = remembered.safeParse(value);
      return parsed.success ? [{ ...parsed.data, id: key.slice(this.#prefix.length) }] : [];
    });
  }

  /** Outside of what is told: whatever the ledger believes, the inventory is to forget it. */
  get #prefix(): string {
    return `accepted/${this.#options.store}/`;
  }
}

function acceptableCheck({ check, key }: SigilFinding): (typeof acceptableChecks)[number] | undefined {
  // Which key it is cannot be told from one that was cut.
  if (key === null || foreignBytes(key) === null) return undefined;
  return acceptableChecks.find((acceptable) => acceptable === check);
}
