import { createPublicKey, type KeyObject } from 'node:crypto';
import { decodeBase64 } from '../../common/encoding.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { publicKeyFromRaw } from '../../common/keys.ts';
import { parseVerifierKey } from '../../common/note.ts';
import type { ExecutorSettings } from './executor.ts';

export const usage = `usage: sigilwatch-executor --socket PATH --engine PATH --node NAME --collector-key KEY [options]

Holds the socket of the container engine and passes on only what the agent may ask for.

  --socket PATH         where the agent is served
  --engine PATH         socket of the engine, such as /run/docker.sock
  --node NAME           only orders for this node count
  --collector-key KEY   verifier key of the collector, or a file with one on each line; may be given several times
  --group GROUP         group that may use the served socket, by name or number (default: that of the process)
  --allow-local         also take orders that this node decided by itself while it was cut off
  --node-key KEY        with --allow-local: public key of the node, base64 of its 32 bytes or a PEM file
  --version, --help
`;

/** How the command line is to be answered. */
export type Asked =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'run'; readonly settings: ExecutorSettings };

/**
 * Reads the command line.
 * @param readFile the text of a file; throws when it cannot be read
 * @throws AppError `validation.config` for anything that is missing or wrong, `auth.signature` for a key that is none
 */
export function readOptions(argv: readonly string[], readFile: (path: string) => string): Asked {
  const values = parsed(argv);
  const last = (name: string): string | undefined => values.get(name)?.at(-1);
  if (values.has('help')) return { kind: 'help' };
  if (values.has('version')) return { kind: 'version' };
  const node = needed('node', last('node'));
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(node)) {
    throw wrong('--node is not a name of lower-case letters, digits and hyphens');
  }
  const collectorKeys = (values.get('collector-key') ?? []).flatMap((key) => verifierKeys(key, readFile));
  if (collectorKeys.length === 0) throw wrong('--collector-key is needed');
  const nodeKey = localKey(values.has('allow-local'), last('node-key'), readFile);
  const group = last('group');
  return {
    kind: 'run',
    settings: {
      socketPath: needed('socket', last('socket')),
      enginePath: needed('engine', last('engine')),
      groupId: group === undefined ? undefined : groupIdOf(group, readFile),
      trust: { node, collectorKeys, nodeKey },
    },
  };
}

const takesValue: ReadonlySet<string> = new Set(['socket', 'engine', 'group', 'node', 'collector-key', 'node-key']);
const switches: ReadonlySet<string> = new Set(['allow-local', 'version', 'help']);

/** Values by the option's name. Not by Node.js's own parser, which takes half a megabyte for good. */
function parsed(argv: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (let at = 0; at < argv.length; at++) {
    const [, name = '', value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(argv[at] ?? '') ?? [];
    const isSwitch = switches.has(name);
    if (!isSwitch && !takesValue.has(name)) throw wrong(`${argv[at]} is no option`);
    if (isSwitch && value !== undefined) throw wrong(`--${name} takes no value`);
    const given = isSwitch ? '' : (value ?? argv[++at]);
    if (given === undefined) throw wrong(`--${name} needs a value`);
    values.set(name, [...(values.get(name) ?? []), given]);
  }
  return values;
}

function wrong(message: string, cause?: unknown): AppError {
  return new AppError('validation.config', message, cause === undefined ? {} : { cause });
}

function needed(option: string, value: string | undefined): string {
  if (value === undefined || value === '') throw wrong(`--${option} is needed`);
  return value;
}

/** Name, key id in hex, key: no path looks like that. */
const verifierKeyForm = /^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/;

function verifierKeys(key: string, readFile: (path: string) => string): KeyObject[] {
  const keys = verifierKeyForm.test(key) ? [key] : linesOf(read(key, readFile));
  if (keys.length === 0) throw wrong(`there is no key in ${key}`);
  return keys.map((line) => parseVerifierKey(line).publicKey);
}

function linesOf(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#'));
}

/** A switch and a key, so that neither a key left in a command line nor a switch alone opens anything. */
function localKey(
  allowed: boolean,
  key: string | undefined,
  readFile: (path: string) => string,
): KeyObject | undefined {
  if (!allowed && key === undefined) return undefined;
  if (!allowed || key === undefined) throw wrong('--allow-local and --node-key belong together');
  const raw = decodeBase64(key);
  if (raw?.length === 32) return publicKeyFromRaw(raw);
  const text = read(key, readFile);
  // Of a private key Node.js would take the public half, and nobody would notice where the other lies.
  if (text.includes('PRIVATE KEY')) throw wrong(`${key} holds a private key: the executor is given the public one`);
  const inFile = decodeBase64(text.trim());
  return inFile?.length === 32 ? publicKeyFromRaw(inFile) : pemKey(key, text);
}

function pemKey(path: string, text: string): KeyObject {
  try {
    const key = createPublicKey(text);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw wrong(`${path} holds no public key`, cause);
  }
  throw wrong(`${path} holds no Ed25519 key`);
}

function read(path: string, readFile: (path: string) => string): string {
  try {
    return readFile(path);
  } catch (cause) {
    throw wrong(`${path} cannot be read (${errnoOf(cause) ?? String(cause)})`, cause);
  }
}

/** From `/etc/group` (group(5)); a name server is out of reach without a network. */
function groupIdOf(group: string, readFile: (path: string) => string): number {
  if (/^[0-9]{1,9}$/.test(group)) return Number(group);
  const lines = read('/etc/group', readFile).split('\n');
  const [, , id] = lines.map((line) => line.split(':')).find(([name]) => name === group) ?? [];
  if (id === undefined || !/^[0-9]{1,9}$/.test(id)) throw wrong(`there is no group ${group}`);
  return Number(id);
}
