import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { decodeDecimal } from './encoding.ts';
import { AppError, toAppError } from './errors.ts';
import { limits } from './limits.ts';
import { formatVerifierKey, parseVerifierKey, type SignatureType, signatureTypes, type VerifierKey } from './note.ts';

/*
 * Trust policies, C2SP tlog-policy: which logs are believed, which witnesses are known, and which of them together (the
 * quorum) make a checkpoint count. What to do with a checkpoint under a policy is in `judgement.ts`.
 */

export interface PolicyLog {
  /** Plain Ed25519; its name is the log's origin. */
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyWitness {
  /** Means something inside the policy only; other than the key's name, unless whoever wrote the policy made them equal. */
  readonly name: string;
  /** cosignature/v1. */
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyGroup {
  readonly name: string;
  /** How many of `members` must have witnessed a checkpoint for the group to have done so: 1 to all of them. */
  readonly threshold: number;
  /** Names of witnesses and of groups before this one. */
  readonly members: readonly string[];
}

export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly groups: readonly PolicyGroup[];
  /** Name of a witness or group; {@link noQuorum} when no cosignature is needed. */
  readonly quorum: string;
}

/** The quorum that is reached by nobody at all. */
export const noQuorum = 'none';

/**
 * The last line of what {@link formatPolicy} writes. The policy is what everything else is judged by, so nothing else can
 * tell that a byte of it changed: `k` one less, a witness's address. Against somebody who may write the file it is no help.
 */
const checksumPrefix = '# sha256 ';
/** Either half is enough to see that there was a checksum, so damage to the line itself is noticed as well. */
const checksumLike = /^(?:# sha256 .*|#.{8}[0-9a-f]{64})$/;

/**
 * The policy that keeps to one log and wants `threshold` of the `witnesses`; 0 for none of them. Every witness goes by the
 * name of its key.
 * @throws AppError `validation.policy` for more than there are, or one that is named twice.
 */
export function fleetPolicy(by: {
  log: PolicyLog;
  witnesses: readonly Omit<PolicyWitness, 'name'>[];
  threshold: number;
}): Policy {
  const witnesses = by.witnesses.map((witness) => ({ ...witness, name: witness.key.name }));
  const group = { name: 'quorum', threshold: by.threshold, members: witnesses.map(({ name }) => name) };
  const groups = by.threshold === 0 ? [] : [group];
  // By way of the text, so that what was put together here has passed everything a reader will demand of it.
  return parsePolicy(
    formatPolicy({ logs: [by.log], witnesses, groups, quorum: groups.length === 0 ? noQuorum : group.name }),
  );
}

/** The policy as a file, with a line at its end by which {@link parsePolicy} finds damage; for others it is a comment. */
export function formatPolicy({ logs, witnesses, groups, quorum }: Policy): string {
  const lines = [
    ...logs.map(({ key, url }) => ['log', formatVerifierKey(key), ...(url === undefined ? [] : [url])]),
    ...witnesses.map(({ name, key, url }) => {
      return ['witness', name, formatVerifierKey(key), ...(url === undefined ? [] : [url])];
    }),
    ...groups.map(({ name, threshold, members }) => ['group', name, String(threshold), ...members]),
    ['quorum', quorum],
  ];
  const text = lines.map((words) => `${words.join(' ')}\n`).join('');
  return `${text}${checksumLine(encodeText(text))}\n`;
}

/**
 * The policy in a file. Names may be any octets, as the specification has it: those that are not UTF-8 are kept apart from
 * all that are.
 * @param name of the file, for what is said about it.
 * @throws AppError `validation.policy` naming the line (also `details.line`, from 1; 0 when no single line is at fault).
 */
export function parsePolicy(file: string | Uint8Array, name = 'policy'): Policy {
  try {
    return readPolicy(file);
  } catch (thrown) {
    if (!(thrown instanceof Faulty)) throw thrown;
    const { line, message } = thrown;
    throw new AppError('validation.policy', `${name}${line === 0 ? '' : `, line ${line}`}: ${message}`, {
      details: { line },
      cause: thrown.cause,
    });
  }
}

function readPolicy(file: string | Uint8Array): Policy {
  const bytes = typeof file === 'string' ? encodeText(file) : Buffer.from(file);
  if (bytes.length > limits.maxPolicyBytes) throw faulty(0, `it is longer than ${limits.maxPolicyBytes} bytes`);
  const lines = bytes.toString('latin1').split('\n');
  if (lines.pop() !== '') throw faulty(lines.length + 1, 'the line has no newline at its end; was the file cut off?');
  requireChecksum(bytes, lines);
  const reader = new PolicyReader();
  for (const [at, line] of lines.entries()) {
    try {
      reader.read(line);
    } catch (thrown) {
      const { message } = toAppError(thrown);
      throw faulty(at + 1, message, thrown);
    }
  }
  return reader.end();
}

function requireChecksum(bytes: Buffer, lines: readonly string[]): void {
  const at = lines.findIndex((line) => checksumLike.test(line));
  if (at < 0) return;
  const before = lines.slice(0, at).reduce((sum, line) => sum + line.length + 1, 0);
  if (at === lines.length - 1 && lines[at] === checksumLine(bytes.subarray(0, before))) return;
  throw faulty(at + 1, 'the file is not as it was written; if it was changed on purpose, delete this line');
}

function checksumLine(before: Uint8Array): string {
  return `${checksumPrefix}${hash('sha256', before, 'hex')}`;
}

/** Lines taken one after another; knows all that was defined before. */
class PolicyReader {
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #groups: PolicyGroup[] = [];
  /** Names that can be referred to. */
  readonly #defined = new Set<string>();
  /** Names that are in a group already: each may count in one way only. */
  readonly #placed = new Set<string>();
  readonly #keys = { log: new Set<string>(), witness: new Set<string>() };
  #quorum: string | undefined;

  /** @param line without its newline, an octet per character. @throws AppError for what is wrong with it. */
  read(line: string): void {
    if (/[^\t -~\x80-\xff]/.test(line)) throw wrong('a control character');
    const [keyword = '', ...words] = line.split(/[ \t]+/).filter((word) => word !== '');
    if (keyword === '' || keyword.startsWith('#')) return;
    const items = words.map(decodeWord);
    if (keyword === 'log') this.#readLog(items);
    else if (keyword === 'witness') this.#readWitness(items);
    else if (keyword === 'group') this.#readGroup(items);
    else if (keyword === 'quorum') this.#readQuorum(items);
    else throw wrong(`"${decodeWord(keyword)}" is not one of log, witness, group and quorum`);
  }

  end(): Policy {
    if (this.#quorum === undefined) throw faulty(0, 'there is no quorum line');
    return { logs: this.#logs, witnesses: this.#witnesses, groups: this.#groups, quorum: this.#quorum };
  }

  #readLog(items: readonly string[]): void {
    const [vkey = '', url, ...rest] = items;
    if (vkey === '' || rest.length > 0) throw wrong('expected: log <verifier key> [<url>]');
    const key = this.#takeKey('log', vkey, signatureTypes.ed25519);
    this.#logs.push({ key, ...(url === undefined ? {} : { url }) });
  }

  #readWitness(items: readonly string[]): void {
    const [name = '', vkey = '', url, ...rest] = items;
    if (vkey === '' || rest.length > 0) throw wrong('expected: witness <name> <verifier key> [<url>]');
    const key = this.#takeKey('witness', vkey, signatureTypes.cosignatureV1);
    this.#define(name);
    this.#witnesses.push({ name, key, ...(url === undefined ? {} : { url }) });
  }

  #readGroup(items: readonly string[]): void {
    const [name = '', count = '', ...members] = items;
    if (members.length === 0) throw wrong('expected: group <name> <all, any or a number> <name>...');
    const threshold = thresholdOf(count, members.length);
    for (const member of members) {
      if (!this.#defined.has(member)) throw wrong(`there is no "${member}" before this line`);
      if (this.#placed.has(member)) throw wrong(`"${member}" is a member of a group already`);
      this.#placed.add(member);
    }
    this.#define(name);
    this.#groups.push({ name, threshold, members });
  }

  #readQuorum(items: readonly string[]): void {
    const [name = '', ...rest] = items;
    if (name === '' || rest.length > 0) throw wrong(`expected: quorum <name of a witness or group, or ${noQuorum}>`);
    if (this.#quorum !== undefined) throw wrong('a second quorum line');
    if (name !== noQuorum && !this.#defined.has(name)) throw wrong(`there is no "${name}" before this line`);
    this.#quorum = name;
  }

  #define(name: string): void {
    if (name === noQuorum) throw wrong(`"${noQuorum}" is no name, it stands for the quorum of nobody`);
    if (this.#defined.has(name)) throw wrong(`"${name}" is defined already`);
    this.#defined.add(name);
  }

  /** The same key under two names would let one signature count as two. */
  #takeKey(role: 'log' | 'witness', vkey: string, type: SignatureType): VerifierKey {
    const key = parseVerifierKey(vkey);
    if (key.type !== type) throw wrong(`the key of ${key.name} is not of the type that a ${role} signs with`);
    const raw = formatVerifierKey(key).slice(-44);
    if (this.#keys[role].has(raw)) throw wrong(`the key of ${key.name} is that of another ${role} too`);
    this.#keys[role].add(raw);
    return key;
  }
}

function thresholdOf(count: string, members: number): number {
  if (count === 'any') return 1;
  if (count === 'all') return members;
  const threshold = decodeDecimal(count);
  if (threshold === undefined) throw wrong(`"${count}" is not all, any or a number`);
  if (threshold >= 1 && threshold <= members) return threshold;
  throw wrong(`${threshold} of ${members} members is impossible; expected 1 to ${members}`);
}

/**
 * A word of octets as text. What is not UTF-8 becomes lone surrogates, which no UTF-8 decodes to: two words are equal
 * exactly when their octets are.
 */
function decodeWord(octets: string): string {
  const bytes = Buffer.from(octets, 'latin1');
  if (isUtf8(bytes)) return bytes.toString('utf8');
  return octets.replace(/[\x80-\xff]/g, (octet) => String.fromCharCode(0xdc00 + octet.charCodeAt(0)));
}

/** The octets of what {@link decodeWord} decoded. */
function encodeText(text: string): Buffer {
  const part = /[\ud800-\udbff][\udc00-\udfff]|[\udc80-\udcff]/g;
  if (text.isWellFormed()) return Buffer.from(text);
  const pieces: Buffer[] = [];
  let at = 0;
  for (const { 0: found, index } of text.matchAll(part)) {
    if (found.length > 1) continue;
    pieces.push(Buffer.from(text.slice(at, index)), Buffer.of(found.charCodeAt(0) - 0xdc00));
    at = index + 1;
  }
  return Buffer.concat([...pieces, Buffer.from(text.slice(at))]);
}

function wrong(message: string): AppError {
  return new AppError('validation.policy', message);
}

/** What is wrong with which line. */
class Faulty extends Error {
  readonly line: number;

  constructor(line: number, message: string, cause?: unknown) {
    super(message, { cause });
    this.line = line;
  }
}

function faulty(line: number, message: string, cause?: unknown): Faulty {
  return new Faulty(line, message, cause);
}
