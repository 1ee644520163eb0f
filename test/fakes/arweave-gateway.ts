import { constants, createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';

/*
 * An Arweave gateway, as strict as a node: a transaction of format 2 is taken when its anchor is one that was given out, its reward is
 * enough, its data hashes to its root, and its signature holds. It shares no code with what is tested: the deep hash and the root of one chunk are
 * written from Arweave's documentation.
 */

const base64url = z.string().regex(/^[A-Za-z0-9_-]*$/);

const transaction = z.strictObject({
  format: z.literal(2),
  ...{ id: base64url, last_tx: base64url, owner: base64url, target: z.literal(''), signature: base64url },
  ...{ data: base64url, data_root: base64url, data_size: z.string(), data_tree: z.array(z.unknown()).optional() },
  ...{ quantity: z.literal('0'), reward: z.string() },
  tags: z.array(z.strictObject({ name: base64url, value: base64url })),
});
type Transaction = z.output<typeof transaction>;

export interface ArweaveGateway {
  readonly url: string;
  /** What was asked, as `GET /tx_anchor`. */
  readonly asked: readonly string[];
  /** Every transaction that came, taken or not. */
  readonly posted: readonly string[];
  /** Data by id. */
  readonly kept: ReadonlyMap<string, string>;
  /** One more block, with all that waits. */
  mine(): void;
  /** Gives out another signature from now on. */
  lie(): void;
  /** Instead of the right answer, once for each request. */
  readonly misbehaviours: ('hang' | 'endless' | { status: number; body: string })[];
  close(): Promise<void>;
}

const winstonPerByte = 100n;

/** @param port to listen on; 0 takes a free one. */
export async function startArweaveGateway(port = 0): Promise<ArweaveGateway> {
  const asked: string[] = [];
  const posted: string[] = [];
  const anchors = new Set<string>();
  const taken = new Map<string, { tx: Transaction; height: number | undefined }>();
  const kept = new Map<string, string>();
  const misbehaviours: ArweaveGateway['misbehaviours'] = [];
  let height = 100;
  let lies = false;

  const routes: readonly (readonly [RegExp, (match: string, body: string) => readonly [number, string]])[] = [
    [
      /^GET \/tx_anchor$/,
      () => {
        const anchor = randomBytes(48).toString('base64url');
        anchors.add(anchor);
        return [200, anchor];
      },
    ],
    [/^GET \/price\/(\d+)$/, (bytes) => [200, String(winstonPerByte * BigInt(bytes))]],
    [
      /^POST \/tx()$/,
      (_match, body) => {
        posted.push(body);
        const parsed = transaction.safeParse(JSON.parse(body));
        if (!parsed.success) return [400, `Invalid: ${parsed.error.message}`];
        const tx = parsed.data;
        if (taken.has(tx.id)) return [208, 'Transaction already processed.'];
        const wrong = faultOf(tx, anchors);
        if (wrong !== undefined) return [400, `Transaction verification failed: ${wrong}`];
        taken.set(tx.id, { tx, height: undefined });
        kept.set(tx.id, Buffer.from(tx.data, 'base64url').toString());
        return [200, 'OK'];
      },
    ],
    [
      /^GET \/tx\/([\w-]{43})\/status$/,
      (id) => {
        const found = taken.get(id);
        if (found === undefined) return [404, 'Not Found.'];
        if (found.height === undefined) return [202, 'Pending'];
        const confirmed = {
          block_height: found.height,
          block_indep_hash: 'b',
          number_of_confirmations: height - found.height,
        };
        return [200, JSON.stringify(confirmed)];
      },
    ],
    [
      /^GET \/tx\/([\w-]{43})$/,
      (id) => {
        const found = taken.get(id);
        if (found === undefined) return [404, 'Not Found.'];
        if (found.height === undefined) return [202, 'Pending'];
        const signature = lies ? randomBytes(256).toString('base64url') : found.tx.signature;
        return [200, JSON.stringify({ ...found.tx, data: '', signature })];
      },
    ],
  ];

  const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    const line = `${request.method} ${request.url}`;
    asked.push(line);
    const odd = misbehaviours.shift();
    if (odd === 'hang') return;
    if (odd === 'endless') {
      pour(response);
      return;
    }
    if (odd !== undefined) {
      response.writeHead(odd.status).end(odd.body);
      return;
    }
    for (const [pattern, handle] of routes) {
      const match = pattern.exec(line);
      if (match === null) continue;
      const [status, text] = handle(match[1] ?? '', body);
      response.writeHead(status).end(text);
      return;
    }
    response.writeHead(404).end('no such route');
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`,
    ...{ asked, posted, kept, misbehaviours },
    mine: () => {
      for (const one of taken.values()) one.height ??= height;
      height += 1;
    },
    lie: () => {
      lies = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function pour(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once('drain', more);
  };
  response.on('error', () => {});
  more();
}

/** What is wrong with a transaction; undefined when nothing is. */
function faultOf(tx: Transaction, anchors: ReadonlySet<string>): string | undefined {
  const data = Buffer.from(tx.data, 'base64url');
  if (!anchors.has(tx.last_tx)) return 'anchor';
  if (tx.data_size !== String(data.length)) return 'size';
  if (BigInt(tx.reward) < winstonPerByte * BigInt(data.length)) return 'reward';
  if (rootOfOneChunk(data).toString('base64url') !== tx.data_root) return 'data root';
  const signature = Buffer.from(tx.signature, 'base64url');
  if (sha256(signature).toString('base64url') !== tx.id) return 'id';
  const key = createPublicKey({ key: { kty: 'RSA', n: tx.owner, e: 'AQAB' }, format: 'jwk' });
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO };
  return verify('sha256', signedPart(tx), { key, ...pss }, signature) ? undefined : 'signature';
}

function sha256(...parts: readonly Buffer[]): Buffer {
  return parts.reduce((hashing, part) => hashing.update(part), createHash('sha256')).digest();
}

/** A leaf of the data's tree: hashes of the chunk's hash and of where it ends, together. */
function rootOfOneChunk(data: Buffer): Buffer {
  const note = Buffer.alloc(32);
  note.writeUInt32BE(data.length, 28);
  return sha256(sha256(sha256(data)), sha256(note));
}

type Deep = Buffer | readonly Deep[];

/** What the signature is over: the deep hash of all fields. */
function signedPart(tx: Transaction): Buffer {
  const raw = (text: string) => Buffer.from(text, 'base64url');
  return deepHash([
    ...[Buffer.from('2'), raw(tx.owner), raw(tx.target), Buffer.from(tx.quantity), Buffer.from(tx.reward)],
    raw(tx.last_tx),
    tx.tags.map(({ name, value }) => [raw(name), raw(value)]),
    ...[Buffer.from(tx.data_size), raw(tx.data_root)],
  ]);
}

function sha384(...parts: readonly Buffer[]): Buffer {
  return parts.reduce((hashing, part) => hashing.update(part), createHash('sha384')).digest();
}

function deepHash(value: Deep): Buffer {
  if (Buffer.isBuffer(value)) return sha384(sha384(Buffer.from(`blob${value.length}`)), sha384(value));
  const start = sha384(Buffer.from(`list${value.length}`));
  return value.reduce<Buffer>((sum, member) => sha384(sum, deepHash(member)), start);
}
