import { hash } from 'node:crypto';
import fc from 'fast-check';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { parseEntry } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import { fingerprint, rawPublicKey } from '../../../common/keys.ts';
import { type Kind, nodeKinds, type Statement, statementSchema } from '../../../common/kinds.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { statements } from '../../arbitrary/statements.ts';
import { quietMinute, type TestAuthor, testAuthor } from '../../authors.ts';

/** Something said by somebody. What the collector says goes on record as its own. */
export interface Said {
  readonly author: string;
  readonly statement: Statement;
}

const authors = ['node1', 'node2', 'node3'] as const;

/** Kinds that leave rows, more often than the rest. */
const projected: readonly Kind[] = [
  'agent.started',
  'report',
  'observed',
  'drift.opened',
  'drift.changed',
  'drift.resolved',
  'sigil.finding',
  'sigil.cleared',
  'sigil.accepted',
  'coverage.gap',
  'order.local',
  'order.result',
  'desired.adopted',
];

/** What the collector says that leaves rows. */
const projectedOfCollector: readonly Kind[] = [
  'order.issued',
  'order.approved',
  'order.rejected',
  'enforcement.frozen',
  'enforcement.released',
  'drift.silenced',
  'drift.unsilenced',
  'artifact.registered',
  'artifact.scored',
  'enforcement.requested',
  'enforcement.result',
  'enforcement.resolved',
];

/** What only one particular procedure may say: made up, it would not be true. */
const never: ReadonlySet<Kind> = new Set(['ledger.created', 'ledger.erased', 'node.enrolled', 'node.revoked']);

const enrolment = fc
  .record({ node: fc.constantFrom(...authors), again: fc.boolean() })
  .map(({ node, again }) => enrolmentOf(node, again ? `${node}/again` : node));
const revocation = fc.constantFrom(...authors).map((node): Said => {
  return { author: 'collector', statement: { kind: 'node.revoked', body: { node, fingerprint: '', reason: 'test' } } };
});
const byNode = (kinds: readonly Kind[]) =>
  fc.record({ author: fc.constantFrom(...authors), statement: statements(kinds), nth: fc.nat() }).map(meeting);
const asCollector = (kinds: readonly Kind[]) =>
  fc.record({ author: fc.constant('collector'), statement: statements(kinds), nth: fc.nat() }).map(meeting);
const byCollector = asCollector(['auth.event', 'ledger.equivocation']);

/** The same about one of few drifts, findings or containers, so that what is said meets what was said before. */
function meeting({ author, statement, nth }: Said & { readonly nth: number }): Said {
  const { kind, body } = statement;
  const id = `n\0${nth % 3}`;
  switch (kind) {
    case 'drift.opened':
    case 'drift.changed':
      return { author, statement: { kind, body: { ...body, drift: { ...body.drift, id } } } };
    case 'drift.resolved':
      return { author, statement: { kind, body: { ...body, id } } };
    case 'sigil.finding':
      return { author, statement: { kind, body: { store: 'demo', finding: { ...body.finding, id: hex(32, nth) } } } };
    case 'sigil.cleared':
      return { author, statement: { kind, body: { store: 'demo', id: hex(32, nth) } } };
    case 'sigil.accepted':
      return { author, statement: { kind, body: { ...body, store: 'demo', finding: hex(32, nth) } } };
    case 'observed': {
      const upserted = body.upserted.map((container, at) => ({ ...container, id: hex(64, nth + at) }));
      const removed = body.removed.map((_, at) => hex(64, nth + at + 1));
      return { author, statement: { kind, body: { baseline: body.baseline && nth % 4 === 0, upserted, removed } } };
    }
    case 'artifact.registered':
      return { author, statement: { kind, body: { ...body, id: hex(64, nth) } } };
    case 'artifact.scored':
      return { author, statement: { kind, body: { ...body, artifact: hex(64, nth) } } };
    case 'order.issued':
      return { author, statement: { kind, body: { order: anOrder('rule', nth) } } };
    case 'order.local':
      return { author, statement: { kind, body: { order: anOrder('local', nth) } } };
    case 'order.approved':
    case 'order.rejected':
    case 'order.result': {
      const order = orderHash(anOrder(nth % 2 === 0 ? 'rule' : 'local', nth));
      return { author, statement: statementSchema.parse({ kind, body: { ...body, order } }) };
    }
    case 'enforcement.requested':
    case 'enforcement.result':
    case 'enforcement.resolved':
      return { author, statement: statementSchema.parse({ kind, body: { ...body, id: digest(nth % 60) } }) };
    default:
      return { author, statement };
  }
}

/** One of few orders, some of which expired long ago; whoever says it may not be who may. */
function anOrder(origin: Order['origin'], nth: number): Order {
  const year = 1970 + (nth % 3) * 50;
  return {
    node: authors[nth % authors.length] ?? 'node1',
    action: nth % 5 === 0 ? 'quarantine' : 'terminate',
    container: `n\0${nth % 3}`,
    containerId: hex(64, nth),
    drift: null,
    commit: 'c',
    origin,
    by: 'test',
    reason: '',
    approvals: 0,
    issuedAt: `${year}-01-01T00:00:00.000Z`,
    expiresAt: `${year + 1}-01-01T00:00:00.000Z`,
    nonce: hex(32, nth),
  };
}

/** One of some dozens of ids. */
function digest(nth: number): string {
  return hash('sha256', String(nth), 'hex');
}

/** One of a few ids. */
function hex(length: number, nth: number): string {
  return (nth % 5).toString().repeat(length);
}

const anySaid: fc.Arbitrary<Said> = fc.oneof(
  { weight: 20, arbitrary: byNode(projected) },
  { weight: 8, arbitrary: byNode(['observed', 'drift.opened', 'drift.changed']) },
  { weight: 2, arbitrary: byNode([...nodeKinds].filter((kind) => !never.has(kind))) },
  { weight: 3, arbitrary: enrolment },
  { weight: 2, arbitrary: revocation },
  { weight: 5, arbitrary: asCollector(projectedOfCollector) },
  { weight: 3, arbitrary: asCollector(['artifact.registered', 'artifact.scored']) },
  { weight: 1, arbitrary: byCollector },
);

/** Histories of a small fleet in which anything may be said at any time, by nodes enrolled or not. */
export function anyHistory(of: { minLength?: number; maxLength: number }): fc.Arbitrary<Said[]> {
  return fc.array(anySaid, { size: 'max', minLength: 1, ...of });
}

/**
 * The same, so that whoever verifies signatures has nothing to say: every node is enrolled from the beginning, and again after each
 * revocation, always with the key it signs with.
 */
export function asEnrolled(history: readonly Said[]): Said[] {
  const told = history.flatMap((said): Said[] => {
    const { kind, body } = said.statement;
    if (kind === 'node.enrolled') return [enrolmentOf(body.node)];
    return kind === 'node.revoked' ? [said, enrolmentOf(body.node)] : [said];
  });
  return [...authors.map((author) => enrolmentOf(author)), ...told];
}

/** The same with stretches in between in which one node says the same kind of thing again and again, so that entries share rows. */
export function withRuns(history: readonly Said[]): Said[] {
  return history.flatMap((said, at): Said[] => {
    // Before it is enrolled again, a node that was revoked may say nothing.
    if (at % 20 !== 0 || said.statement.kind === 'node.revoked') return [said];
    const author = authors[at % authors.length] ?? 'node1';
    const minutes = Array.from({ length: 2 + ((at * 7) % 45) }, (_, n) => quietMinute(at * 50 + n));
    return [said, ...minutes.map((statement) => ({ author, statement }))];
  });
}

function enrolmentOf(node: string, name = node): Said {
  const { publicKey } = testAuthor(name).keys;
  const key = rawPublicKey(publicKey).toString('base64');
  const body = { node, publicKey: key, fingerprint: fingerprint(publicKey), agentVersion: '0.1.0' };
  return { author: 'collector', statement: { kind: 'node.enrolled', body } };
}

/** What holds once only is refused the second time; the rest of the history goes on. */
function said(thrown: unknown): void {
  if (!(thrown instanceof AppError && thrown.code === 'state.conflict')) throw thrown;
}

export interface Narrator {
  /** Appends what was said, in order, cut into batches of up to `batch` entries. */
  tell(history: readonly Said[], batch?: number): Promise<void>;
}

/**
 * Says things in the names of nodes whose chains it goes on with.
 * @param known nodes that have said something in this ledger, or a copy of it; whoever comes to speak is added.
 */
export function narrator(ledger: Ledger, known = new Map<string, TestAuthor>()): Narrator {
  const authorOf = (name: string) => {
    const author = known.get(name) ?? testAuthor(name);
    known.set(name, author);
    return author;
  };
  const append = async ({ author, statement }: Said): Promise<unknown> => {
    if (author === 'collector') return ledger.record(statement).catch(said);
    const signed = authorOf(author).next(statement);
    return ledger.append([{ ...signed, entry: parseEntry(signed.bytes) }]);
  };
  return {
    tell: async (history, batch = 50) => {
      for (let at = 0; at < history.length; at += batch) await Promise.all(history.slice(at, at + batch).map(append));
    },
  };
}
