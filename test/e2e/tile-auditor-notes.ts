import { isUtf8 } from 'node:buffer';
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';

/**
 * The signed half of the auditor in `tile-auditor.ts`: notes, checkpoints, cosignatures and policies, from C2SP signed-note,
 * tlog-checkpoint, tlog-cosignature and tlog-policy alone.
 */

/** Something is not as the specifications, the keys or an earlier checkpoint want it. */
export class Rejected extends Error {}

export interface Head {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

export interface Key {
  readonly name: string;
  /** Eight hex digits. */
  readonly id: string;
  /** 1: Ed25519; 4: cosignature/v1. */
  readonly type: number;
  readonly raw: Buffer;
  readonly publicKey: KeyObject;
}

interface Signature {
  readonly name: string;
  readonly id: string;
  readonly bytes: Buffer;
}

interface Note {
  readonly text: string;
  readonly signatures: readonly Signature[];
}

export interface Policy {
  readonly logs: readonly Key[];
  readonly witnesses: ReadonlyMap<string, Key>;
  readonly groups: ReadonlyMap<string, { readonly threshold: number; readonly members: readonly string[] }>;
  readonly quorum: string;
}

/** DER head of an Ed25519 public key (RFC 8410). */
const spkiHead = Buffer.from('302a300506032b6570032100', 'hex');

/** `<name>+<id>+<base64 of type and key>`, id checked. */
export function parseKey(vkey: string): Key {
  const [, name = '', id = '', material = ''] = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/u.exec(vkey) ?? [];
  const bytes = strictBase64(material, `the key ${vkey}`);
  const raw = bytes.subarray(1);
  demand(bytes.length === 33, `the key ${vkey} is not one of Ed25519`);
  const derived = createHash('sha256').update(`${name}\n`).update(bytes).digest('hex').slice(0, 8);
  demand(derived === id, `the id of the key ${name} is not that of its name and bytes`);
  const publicKey = createPublicKey({ key: Buffer.concat([spkiHead, raw]), format: 'der', type: 'spki' });
  return { name, id, type: bytes.readUInt8(0), raw, publicKey };
}

/** The parts of a signed note, nothing verified yet. */
export function parseNote(bytes: Buffer): Note {
  demand(isUtf8(bytes), 'the note is not UTF-8');
  const note = bytes.toString('utf8');
  const split = note.lastIndexOf('\n\n') + 1;
  demand(split > 0 && note.endsWith('\n'), 'not a note: no empty line, or no newline at the end');
  for (const letter of note) demand(letter === '\n' || letter >= ' ', 'a control character in the note');
  const lines = note.slice(split + 1, -1).split('\n');
  const signatures = lines.map((line) => {
    const [, name = '', encoded = ''] = /^\u2014 ([^\s+]+) (\S+)$/u.exec(line) ?? [];
    const signed = strictBase64(encoded, `the signature line "${line}"`);
    demand(signed.length > 4, `the signature line "${line}" is too short`);
    return { name, id: signed.toString('hex', 0, 4), bytes: signed.subarray(4) };
  });
  return { text: note.slice(0, split), signatures };
}

export function parseHead(text: string): Head {
  const lines = text.split('\n');
  const [origin = '', size = '', encodedRoot = ''] = lines;
  demand(
    lines.pop() === '' && lines.length >= 3 && !lines.includes(''),
    'a checkpoint has three lines or more, none empty',
  );
  demand(/^(0|[1-9][0-9]{0,15})$/.test(size) && Number.isSafeInteger(Number(size)), `"${size}" is no tree size`);
  const root = strictBase64(encodedRoot, 'the root hash');
  demand(root.length === 32, 'the root hash is not one of SHA-256');
  return { origin, size: Number(size), root };
}

/** The tree head of a checkpoint that the policy finds valid. */
export function openCheckpoint(bytes: Buffer, policy: Policy): Head {
  const note = parseNote(bytes);
  const head = parseHead(note.text);
  const logs = policy.logs.filter((key) => key.name === head.origin && hasSigned(note, key));
  demand(logs.length > 0, `not signed by a log of the policy for the origin ${head.origin}`);
  const cosigners = [...policy.witnesses].filter(([, key]) => hasSigned(note, key)).map(([name]) => name);
  demand(reached(policy, policy.quorum, new Set(cosigners)), `no quorum: only [${cosigners.join(', ')}] cosigned`);
  return head;
}

/** Whether the key signed. @throws Rejected when there is a signature under its name and id that is wrong. */
function hasSigned(note: Note, key: Key): boolean {
  const own = note.signatures.filter(({ name, id }) => name === key.name && id === key.id);
  for (const { bytes } of own) {
    demand(
      key.type === 4
        ? isCosignature(note.text, bytes, key)
        : verify(null, Buffer.from(note.text), key.publicKey, bytes),
      `a wrong signature of ${key.name}`,
    );
  }
  return own.length > 0;
}

/** An 8-byte time, then the signature of a header, that time and the note's text. */
function isCosignature(text: string, bytes: Buffer, { publicKey }: Key): boolean {
  if (bytes.length !== 8 + 64) return false;
  const time = bytes.readBigUInt64BE();
  const message = Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);
  return time < 2n ** 63n && verify(null, message, publicKey, bytes.subarray(8));
}

function reached(policy: Policy, name: string, cosigners: ReadonlySet<string>): boolean {
  if (name === 'none') return true;
  const group = policy.groups.get(name);
  if (group === undefined) return cosigners.has(name);
  return group.members.filter((member) => reached(policy, member, cosigners)).length >= group.threshold;
}

/** A policy file, read as octets. */
export function parsePolicy(file: Buffer): Policy {
  const logs: Key[] = [];
  const witnesses = new Map<string, Key>();
  const groups = new Map<string, { threshold: number; members: string[] }>();
  const placed = new Set<string>();
  let quorum: string | undefined;
  const isDefined = (name: string) => witnesses.has(name) || groups.has(name);
  const text = file.toString('latin1');
  demand(text.endsWith('\n') && !/[^\t\n -~\x80-\xff]/.test(text), 'a policy is lines without control characters');
  for (const line of text.slice(0, -1).split('\n')) {
    const [keyword = '', first = '', ...rest] = line.split(/[ \t]+/).filter((word) => word !== '');
    if (keyword === '' || keyword.startsWith('#')) continue;
    const fail = (why: string) => new Rejected(`policy: ${why}: ${line}`);
    if (keyword === 'log') {
      const key = parseKey(utf8(first));
      if (key.type !== 1 || rest.length > 1 || logs.some(({ raw }) => raw.equals(key.raw))) throw fail('a bad log');
      logs.push(key);
    } else if (keyword === 'witness') {
      const key = parseKey(utf8(rest[0] ?? ''));
      const isDouble = [...witnesses.values()].some(({ raw }) => raw.equals(key.raw));
      if (key.type !== 4 || rest.length > 2 || isDouble || first === 'none' || isDefined(first))
        throw fail('a bad witness');
      witnesses.set(first, key);
    } else if (keyword === 'group') {
      const [count = '', ...members] = rest;
      const threshold =
        count === 'any' ? 1 : count === 'all' ? members.length : /^[1-9][0-9]*$/.test(count) ? Number(count) : 0;
      if (threshold < 1 || threshold > members.length || first === 'none' || isDefined(first))
        throw fail('a bad group');
      for (const member of members) {
        if (!isDefined(member) || placed.has(member)) throw fail(`a bad member ${member}`);
        placed.add(member);
      }
      groups.set(first, { threshold, members });
    } else if (keyword === 'quorum') {
      const isKnown = first === 'none' || isDefined(first);
      if (quorum !== undefined || rest.length > 0 || !isKnown) throw fail('a bad quorum');
      quorum = first;
    } else throw fail('an unknown line');
  }
  if (quorum === undefined) throw new Rejected('policy: no quorum');
  return { logs, witnesses, groups, quorum };
}

/** One log, and nobody needs to have cosigned. */
export function logAlone(vkey: string): Policy {
  return parsePolicy(Buffer.from(`log ${vkey}\nquorum none\n`));
}

function utf8(octets: string): string {
  return Buffer.from(octets, 'latin1').toString('utf8');
}

/** RFC 4648 section 4, in its one spelling. */
export function strictBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  demand(text !== '' && bytes.toString('base64') === text, `${what} is not base64`);
  return bytes;
}

/** @throws Rejected with `why` unless `holds`. */
export function demand(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Rejected(why);
}
