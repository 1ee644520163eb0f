import { hash } from 'node:crypto';
import { z } from 'zod';
import { canonicalText } from '../../common/canonical.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { Kind, Statement, StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';

const count = z.int().nonnegative();

/** What was not numbered since the last `outbox.dropped` entry. Times are Unix milliseconds. */
export const dropsSchema = z.strictObject({
  count: count.positive(),
  from: z.int(),
  to: z.int(),
  kinds: z.record(z.string(), count),
  /**
   * Digests of the statements that were handed back to the agent, so that its retries are counted once. Bounded by
   * `limits.outboxRefusedRemembered`; past that the one that was not tried for longest is forgotten.
   */
  refused: z.array(z.string()),
});
export type Drops = Readonly<z.infer<typeof dropsSchema>>;

/** Kinds that come again by themselves, so that missing one costs a stretch of coverage and no fact. */
const periodicKinds: ReadonlySet<Kind> = new Set(['report', 'sigil.scan']);

export function isPeriodic(statement: Statement): boolean {
  return periodicKinds.has(statement.kind);
}

/** Periodic statements that are gone for good. */
export function countDropped(drops: Drops | null, statements: readonly Statement[], at: number): Drops | null {
  return statements.reduce<Drops | null>((sum, { kind }) => add(sum, kind, at), drops);
}

/** Statements the caller keeps: each counts once however often it is tried. */
export function countRefused(drops: Drops | null, statements: readonly Statement[], at: number): Drops | null {
  return statements.reduce<Drops | null>((sum, statement) => {
    const digest = statementDigest(statement);
    const known = sum?.refused.includes(digest) ?? false;
    const counted = sum !== null && known ? sum : add(sum, statement.kind, at);
    // As long as nothing is forgotten their order means nothing, and a retry changes nothing that would have to be written.
    if (known && counted.refused.length < limits.outboxRefusedRemembered) return counted;
    const others = counted.refused.filter((other) => other !== digest);
    return { ...counted, refused: [...others, digest].slice(-limits.outboxRefusedRemembered) };
  }, drops);
}

/** Takes back the count of statements that were refused before and are being numbered now. */
export function forgive(drops: Drops | null, statements: readonly Statement[]): Drops | null {
  let left = drops;
  for (const statement of statements) {
    if (left === null || left.refused.length === 0) return left;
    const digest = statementDigest(statement);
    if (left.refused.includes(digest)) left = remove(left, statement.kind, digest);
  }
  return left;
}

/** The signed account of what was not said. */
export function accountOf(drops: Drops): StatementOf<'outbox.dropped'> {
  const { count: total, from, to, kinds } = drops;
  return { kind: 'outbox.dropped', body: { count: total, from: rfc3339(from), to: rfc3339(to), kinds } };
}

function add(drops: Drops | null, kind: Kind, at: number): Drops {
  const before: Drops = drops ?? { count: 0, from: at, to: at, kinds: {}, refused: [] };
  return {
    count: before.count + 1,
    // The wall clock can step back between two drops.
    from: Math.min(before.from, at),
    to: Math.max(before.to, at),
    kinds: { ...before.kinds, [kind]: (before.kinds[kind] ?? 0) + 1 },
    refused: before.refused,
  };
}

function remove(drops: Drops, kind: Kind, digest: string): Drops | null {
  if (drops.count === 1) return null;
  const { [kind]: counted = 0, ...others } = drops.kinds;
  return {
    ...drops,
    count: drops.count - 1,
    kinds: counted > 1 ? { ...others, [kind]: counted - 1 } : others,
    refused: drops.refused.filter((other) => other !== digest),
  };
}

function statementDigest(statement: Statement): string {
  return hash('sha256', canonicalText(statement), 'base64url').slice(0, 22);
}
