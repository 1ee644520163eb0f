import { hash, type KeyObject } from 'node:crypto';
import { decodeBase64 } from '../../common/encoding.ts';
import { verifyBytes } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { exactMembers, isCount, isMatch, isText, type Members, membersOf, parseJson } from './plain-json.ts';
import { type Refused, refused } from './refused.ts';
import { orderHeaderName } from './request-head.ts';

/** An entry as it travels: its canonical text and the base64 of the Ed25519 signature over it. */
export interface OrderEntry {
  readonly text: string;
  readonly signature: string;
}

/** The header that a call needs which changes something: `order.issued`, or `order.local` where the executor takes it. */
export function orderHeader({ text, signature }: OrderEntry): Readonly<Record<string, string>> {
  return { [orderHeaderName]: Buffer.from(JSON.stringify({ text, signature })).toString('base64') };
}

export type OrderAction = 'terminate' | 'restore' | 'rollback' | 'quarantine' | 'release';

/** How an order stands to the time: in force; over, but what it has begun may be brought to an end; over for good. */
export type Stage = 'valid' | 'finishing' | 'over';

/** An order whose signature and form hold, for this node, and that has been in force. */
export interface VerifiedOrder {
  /** As `orderHash` of `common/order.ts`. */
  readonly hash: string;
  readonly action: OrderAction;
  readonly container: string;
  readonly containerId: string | null;
  readonly expiresMs: number;
  /** As `Order.wanted`. */
  readonly wanted: string | undefined;
  readonly stage: Stage;
}

/** Whose signature counts here. */
export interface OrderTrust {
  readonly node: string;
  /** Several while the collector changes its key. */
  readonly collectorKeys: readonly KeyObject[];
  /** Makes orders count that the node decided by itself while it was cut off; undefined: none of them does. */
  readonly nodeKey: KeyObject | undefined;
}

const hex64 = /^[0-9a-f]{64}$/;
const timestamp = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;
const actions: ReadonlySet<unknown> = new Set(['terminate', 'restore', 'rollback', 'quarantine', 'release']);

/** In the order of the canonical form (RFC 8785), which the text must have. */
const entryMembers = ['at', 'author', 'body', 'kind', 'prev', 'seq', 'v'];
const orderMembers = [
  ...['action', 'approvals', 'by', 'commit', 'container', 'containerId', 'drift', 'expiresAt'],
  ...['issuedAt', 'node', 'nonce', 'origin', 'reason'],
];
/** Orders that make a container commit to it. */
const makingMembers = [...orderMembers, 'wanted'];
const driftMembers = ['digest', 'id', 'kind'];

/**
 * Reads the header and checks everything that can be known without the engine. The executor believes nobody but the key: what the
 * manifest permits, and whether the order is in the ledger, is for the agent.
 * @param value of the header, undefined where there was none
 */
export function verifyOrder(
  value: string | undefined,
  { node, collectorKeys, nodeKey }: OrderTrust,
  nowMs: number,
): VerifiedOrder | Refused {
  if (value === undefined) return refused('order.missing', `this call needs the header ${orderHeaderName}`);
  const entry = readHeader(value);
  if (entry === undefined) return refused('order.form', 'the header is not the base64 of a text and its signature');
  // Before anything in it is looked at: of what nobody vouches for, only the length is known.
  const signer = signerOf(entry, collectorKeys, nodeKey);
  if (signer === undefined) return refused('order.signature', 'the order is not signed by a key that counts here');
  const order = readOrder(entry.text, signer, node);
  if (order === undefined) return refused('order.form', 'what is signed is not an order');
  return order.node === node ? withinTime(order, nowMs) : refused('order.misdirected', 'the order is for another node');
}

interface SignedText {
  readonly text: string;
  readonly bytes: Buffer;
  readonly signature: Buffer;
}

type Signer = 'collector' | 'node';

function readHeader(value: string): SignedText | undefined {
  if (value.length > limits.executorMaxOrderHeaderChars) return undefined;
  const json = decodeBase64(value)?.toString('utf8');
  const members = json === undefined ? undefined : membersOf(parseJson(json));
  if (members === undefined || Object.keys(members).length !== 2 || !isText(members.text, limits.maxEntryBytes))
    return undefined;
  const signature = isText(members.signature, 88) ? decodeBase64(members.signature) : undefined;
  const bytes = Buffer.from(members.text, 'utf8');
  if (signature === undefined || bytes.length > limits.maxEntryBytes) return undefined;
  return { text: members.text, bytes, signature };
}

function signerOf(
  { bytes, signature }: SignedText,
  collectorKeys: readonly KeyObject[],
  nodeKey: KeyObject | undefined,
): Signer | undefined {
  if (collectorKeys.some((key) => verifyBytes(key, bytes, signature))) return 'collector';
  return nodeKey !== undefined && verifyBytes(nodeKey, bytes, signature) ? 'node' : undefined;
}

interface ReadOrder extends Omit<VerifiedOrder, 'stage'> {
  readonly node: string;
  readonly issuedMs: number;
}

/** Both speak by one kind each: a key that may say much else must not be taken for saying this. */
function readOrder(text: string, signer: Signer, node: string): ReadOrder | undefined {
  const json = parseJson(text);
  // The canonical form is this one, when the members stand in order as well; and then the order's own is a part of it.
  if (JSON.stringify(json) !== text || /\\ud/i.test(text)) return undefined;
  const entry = exactMembers(json, entryMembers);
  const body = exactMembers(entry?.body, ['order']);
  const order = exactMembers(body?.order, orderMembers) ?? exactMembers(body?.order, makingMembers);
  if (entry === undefined || order === undefined || entry.v !== 1) return undefined;
  const [author, kind] = signer === 'collector' ? ['collector', 'order.issued'] : [node, 'order.local'];
  if (entry.author !== author || entry.kind !== kind) return undefined;
  if ((order.origin === 'local') !== (signer === 'node')) return undefined;
  return readMembers(order);
}

function readMembers(order: Members): ReadOrder | undefined {
  const { action, container, containerId, node, issuedAt, expiresAt, wanted } = order;
  if (!isAction(action) || !isText(container, limits.maxForeignTextChars) || container === '') return undefined;
  if (containerId !== null && !isMatch(containerId, hex64)) return undefined;
  if (wanted !== undefined && !isMatch(wanted, hex64)) return undefined;
  // Whatever is to be done to a container is done to one that was seen.
  if (containerId === null && action !== 'restore') return undefined;
  if (!isMatch(issuedAt, timestamp) || !isMatch(expiresAt, timestamp) || typeof node !== 'string') return undefined;
  const [issuedMs, expiresMs] = [Date.parse(issuedAt), Date.parse(expiresAt)];
  if (Number.isNaN(issuedMs) || Number.isNaN(expiresMs) || !hasTheRest(order)) return undefined;
  return { hash: hashOf(order), action, container, containerId, node, issuedMs, expiresMs, wanted };
}

/** What is not needed here has its form all the same: what cannot be an order is none. */
function hasTheRest({ approvals, by, commit, drift, nonce, origin, reason }: Members): boolean {
  if (!isCount(approvals, limits.maxApprovals) || !isMatch(nonce, /^[0-9a-f]{32}$/)) return false;
  if (!isMatch(origin, /^(rule|operator|local)$/)) return false;
  if (![by, commit, reason].every((text) => isText(text, limits.maxOwnTextChars))) return false;
  if (drift === null) return true;
  const { digest, id, kind } = exactMembers(drift, driftMembers) ?? {};
  return isMatch(digest, hex64) && isText(id, limits.maxForeignTextChars) && isMatch(kind, /^[A-Z_]{1,64}$/);
}

function isAction(value: unknown): value is OrderAction {
  return actions.has(value);
}

function hashOf(order: Members): string {
  return hash('sha256', JSON.stringify(order), 'hex');
}

/** The same bounds that the agent keeps; an order that is valid for years would be a key kept in a drawer. */
function withinTime({ issuedMs, node: _, ...order }: ReadOrder, nowMs: number): VerifiedOrder | Refused {
  if (order.expiresMs - issuedMs > limits.maxOrderLifetimeMs) {
    return refused('order.expired', 'the order is valid for longer than an order may be');
  }
  if (issuedMs > nowMs + limits.maxOrderAheadMs) return refused('order.expired', 'the order is from the future');
  const lateMs = nowMs - order.expiresMs;
  return { ...order, stage: lateMs < 0 ? 'valid' : lateMs < limits.executorFinishMs ? 'finishing' : 'over' };
}
