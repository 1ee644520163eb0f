import { rfc3339 } from '../../common/clock.ts';
import { collectorAuthor, type Entry, parseEntry } from '../../common/entry.ts';
import { type Kind, kinds } from '../../common/kinds.ts';
import type { StoredEvent } from './ports.ts';
import { isAtLeast, kindsAtLeast, type Severity, severityOf, worstOf } from './severity.ts';
import { type Lookup, nodesOf, orderSpokenOf } from './subject.ts';

/** One entry that was appended, ready for everybody who follows. */
export interface LiveEvent {
  readonly index: number;
  readonly kind: string;
  readonly severity: Severity;
  readonly nodes: readonly string[];
  /** The message, made once: JSON on one line. */
  readonly json: Buffer;
}

/** What somebody wants to hear; a member that is undefined does not filter. */
export interface EventFilter {
  readonly node?: string | undefined;
  readonly kinds?: readonly Kind[] | undefined;
  /** The least severity. */
  readonly severity?: Severity | undefined;
}

/** An entry of the store with its body as far as it can be read. */
export interface ReadEvent {
  readonly stored: StoredEvent;
  /** Undefined where the body is gone, of a kind that is not known here, or not what was signed. */
  readonly entry: Entry | undefined;
}

const kindNames: ReadonlySet<string> = new Set(kinds);

/** Of a kind that only a newer collector knows. */
const unknownSeverity: Severity = 'warning';

export function matches({ node, kinds: wanted, severity }: EventFilter, event: LiveEvent): boolean {
  if (severity !== undefined && !isAtLeast(event.severity, severity)) return false;
  if (wanted !== undefined && !wanted.some((kind) => kind === event.kind)) return false;
  return node === undefined || event.nodes.includes(node);
}

/** Kinds that can match at all; undefined when any can. Of unknown ones nothing is asked of the store. */
export function kindsFor({ kinds: wanted, severity }: EventFilter): readonly Kind[] | undefined {
  if (severity === undefined || isAtLeast(unknownSeverity, severity)) {
    // An unknown kind may matter as much; it is only left out by a filter that names others.
    return wanted;
  }
  const grave = kindsAtLeast(severity);
  return wanted === undefined ? grave : grave.filter((kind) => wanted.includes(kind));
}

/** Who can say something that matches: of a node speaks the node itself, or the collector. */
export function authorsFor({ node }: EventFilter): readonly string[] | undefined {
  return node === undefined ? undefined : [node, collectorAuthor];
}

/** Nobody else's bytes go out under our name: what is not the canonical form of an entry is left out. */
export function readEvent(stored: StoredEvent): ReadEvent {
  if (stored.bytes === null) return { stored, entry: undefined };
  try {
    return { stored, entry: parseEntry(stored.bytes) };
  } catch {
    return { stored, entry: undefined };
  }
}

/** Orders whose nodes have to be looked up before {@link liveEvent}. */
export function ordersSpokenOf(events: readonly ReadEvent[]): readonly string[] {
  const spoken = events.flatMap(({ entry }) => (entry === undefined ? [] : [orderSpokenOf(entry)]));
  return [...new Set(spoken.filter((hash) => hash !== undefined))];
}

export function liveEvent(read: ReadEvent, lookup: Lookup): LiveEvent {
  const { stored, entry } = read;
  const { index, kind, author } = stored;
  const severity = entry === undefined ? severityWithout(kind) : severityOf(entry);
  const nodes = entry === undefined ? authorOnly(author) : nodesOf(entry, lookup);
  return { index, kind, severity, nodes, json: messageOf(read, severity, nodes) };
}

function severityWithout(kind: string): Severity {
  return isKind(kind) ? worstOf(kind) : unknownSeverity;
}

function isKind(name: string): name is Kind {
  return kindNames.has(name);
}

function authorOnly(author: string): readonly string[] {
  return author === collectorAuthor ? [] : [author];
}

/** Named as in the list of entries. The entry goes out as the bytes that were signed, not as something made of them. */
function messageOf({ stored, entry }: ReadEvent, severity: Severity, nodes: readonly string[]): Buffer {
  const { index, author, seq, kind, at, received_at, entry_hash, leaf_hash, bytes, signature } = stored;
  const head = JSON.stringify({
    type: 'event',
    ...{ index, author, seq, kind },
    node: nodes.length === 1 ? nodes[0] : null,
    severity,
    at: rfc3339(at.getTime()),
    received_at: received_at === null ? null : rfc3339(received_at.getTime()),
    entry_hash: entry_hash.toString('hex'),
    leaf_hash: leaf_hash.toString('base64'),
    signature: signature?.toString('base64') ?? null,
  });
  const signed = entry === undefined || bytes === null ? nothing : bytes;
  return Buffer.concat([Buffer.from(`${head.slice(0, -1)},"entry":`), signed, end]);
}

const nothing = Buffer.from('null');
const end = Buffer.from('}');
