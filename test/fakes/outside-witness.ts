import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/*
 * A witness as C2SP tlog-witness describes it, written from the specifications alone (signed-note, tlog-checkpoint,
 * tlog-cosignature, tlog-witness, RFC 9162 §2.1.4.2): it shares no code with what it is a test of.
 */

export interface OutsideWitnessServer {
  readonly url: string;
  /** C2SP verifier key of type 0x04. */
  readonly vkey: string;
  /** Size of the latest checkpoint cosigned; may be set, as if another client had submitted. */
  size: number;
  /** Status of every answer so far. */
  readonly statuses: readonly number[];
  /** Instead of the right answer; undefined for the right one. */
  misbehave: ((response: ServerResponse, right: () => void) => void) | undefined;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const plain = 'text/plain; charset=utf-8';
const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return digest.digest();
};

/** @param logVkey the one log it knows, or none. */
export async function startOutsideWitness(
  logVkey: string | undefined,
  name = 'witness.example/w1',
): Promise<OutsideWitnessServer> {
  const keys = generateKeyPairSync('ed25519');
  const raw = keys.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const id = sha256(Buffer.from(`${name}\n`), Buffer.of(4), raw).subarray(0, 4);
  const log = logVkey === undefined ? undefined : readVkey(logVkey);
  const statuses: number[] = [];
  const latest = { size: 0, root: sha256() };

  function judge(body: string): Answer {
    const [head = '', ...rest] = body.split('\n\n');
    const note = rest.join('\n\n');
    const [oldLine = '', ...proofLines] = head.split('\n');
    const oldSize = /^old (0|[1-9][0-9]*)$/.exec(oldLine)?.[1];
    const [origin = '', sizeLine = '', rootLine = ''] = note.split('\n');
    const text = note.slice(0, note.indexOf('\n\n') + 1);
    if (oldSize === undefined || proofLines.length > 63 || !/^(0|[1-9][0-9]*)$/.test(sizeLine)) return say(400);
    if (origin !== log?.name) return say(404);
    const signed = note
      .slice(text.length + 1)
      .split('\n')
      .some((line) => isSignedBy(line, text, log));
    if (!signed) return say(403);
    const [old, size] = [Number(oldSize), Number(sizeLine)];
    if (old > size) return say(400);
    if (old !== latest.size) return { status: 409, type: 'text/x.tlog.size', text: `${latest.size}\n` };
    const root = Buffer.from(rootLine, 'base64');
    const proof = proofLines.map((line) => Buffer.from(line, 'base64'));
    if (old === size && !root.equals(latest.root))
      return { status: 409, type: 'text/x.tlog.size', text: `${latest.size}\n` };
    if (old === 0 ? proof.length > 0 : !isConsistent({ size: old, root: latest.root }, { size, root }, proof))
      return say(422);
    Object.assign(latest, { size, root });
    return { status: 200, type: plain, text: cosignatureLine(text) };
  }

  function cosignatureLine(text: string): string {
    const seconds = Math.floor(Date.now() / 1000);
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(seconds));
    const signature = sign(null, Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`), keys.privateKey);
    return `\u2014 ${name} ${Buffer.concat([id, time, signature]).toString('base64')}\n`;
  }

  const server: Server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const right = (): void => {
        const wrongDoor = request.method !== 'POST' || request.url !== '/w/add-checkpoint';
        const { status, type, text } = wrongDoor ? say(404) : judge(body);
        statuses.push(status);
        response.writeHead(status, { 'content-type': type }).end(text);
      };
      if (witness.misbehave === undefined) right();
      else witness.misbehave(response, right);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  const witness: OutsideWitnessServer = {
    url: `http://127.0.0.1:${address.port}/w`,
    vkey: `${name}+${id.toString('hex')}+${Buffer.concat([Buffer.of(4), raw]).toString('base64')}`,
    get size() {
      return latest.size;
    },
    set size(size) {
      latest.size = size;
    },
    statuses,
    misbehave: undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return witness;
}

function say(status: number): Answer {
  return { status, type: plain, text: `${status}\n` };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

interface LogKey {
  readonly name: string;
  readonly id: Buffer;
  readonly key: KeyObject;
}

function readVkey(vkey: string): LogKey {
  const [, name = '', id = '', material = ''] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/.exec(vkey) ?? [];
  const raw = Buffer.from(material, 'base64').subarray(1);
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
  return { name, id: Buffer.from(id, 'hex'), key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

function isSignedBy(line: string, text: string, { name, id, key }: LogKey): boolean {
  const [dash, signer, encoded = ''] = line.split(' ');
  const bytes = Buffer.from(encoded, 'base64');
  if (dash !== '\u2014' || signer !== name || !bytes.subarray(0, 4).equals(id)) return false;
  return verify(null, Buffer.from(text), key, bytes.subarray(4));
}

interface Head {
  readonly size: number;
  readonly root: Buffer;
}

const above = (left: Buffer, right: Buffer): Buffer => sha256(Buffer.of(1), left, right);

/** RFC 9162 §2.1.4.2, for sizes up to 2^31. */
function isConsistent(first: Head, second: Head, proof: readonly Buffer[]): boolean {
  if (first.size === second.size) return proof.length === 0 && first.root.equals(second.root);
  const path = (first.size & (first.size - 1)) === 0 ? [first.root, ...proof] : [...proof];
  const start = path.shift();
  if (start === undefined) return false;
  let fn = first.size - 1;
  let sn = second.size - 1;
  while ((fn & 1) === 1) {
    fn >>= 1;
    sn >>= 1;
  }
  let [fr, sr] = [start, start];
  for (const node of path) {
    if (sn === 0) return false;
    if ((fn & 1) === 1 || fn === sn) {
      fr = above(node, fr);
      sr = above(node, sr);
      while (fn !== 0 && (fn & 1) === 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else sr = above(sr, node);
    fn >>= 1;
    sn >>= 1;
  }
  return sn === 0 && fr.equals(first.root) && sr.equals(second.root);
}
