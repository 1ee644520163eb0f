import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Context } from 'hono';
import pLimit from 'p-limit';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { parseTilePath, type Tile } from '../../common/tiles.ts';
import { logCheckpoint, logTile } from '../api/ledger-contract.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { HttpEnv } from './env.ts';
import type { Serve } from './serving.ts';
import { together } from './together.ts';

const compress = promisify(gzip);

export interface LogSources {
  readonly ledger: Pick<Ledger, 'tile' | 'bundle'>;
  /** The signed note to go by, cosignatures included. */
  readonly checkpoint: () => Promise<string>;
  /** Whether callers need no token; then caches may give to others what they got. */
  readonly isPublic: boolean;
}

/**
 * The log as files: C2SP tlog-tiles below `/log/`. A tile has one address, without query or escapes, or a cache in between
 * could be made to ask for the same one again and again.
 */
export function addLogRoutes(serve: Serve, { ledger, checkpoint, isPublic }: LogSources): void {
  const forever = `${isPublic ? 'public' : 'private'}, max-age=31536000, immutable`;
  const newestCheckpoint = together(checkpoint);
  const inTurn = pLimit(limits.tilesServedAtOnce);
  const answerBundle = bundleAnswers();
  serve.raw(logCheckpoint, async (_, c) => {
    return c.body(await newestCheckpoint(), 200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
  serve.raw(logTile, async (_, c) => {
    const path = c.req.path.slice('/log/'.length);
    const tile = parseTilePath(path);
    if (!c.req.url.endsWith(`/log/${path}`) || /[?#%]/.test(c.req.url)) {
      throw new AppError('validation.request', 'a tile has no query, and nothing in its path is escaped');
    }
    const bytes = await inTurn(() => readTile(ledger, tile));
    if (bytes === undefined) throw new AppError('resource.not_found', `the ledger does not reach to ${path}`);
    c.get('claimBytes')?.(bytes.length);
    c.header('Content-Type', 'application/octet-stream');
    c.header('Cache-Control', forever);
    return tile.kind === 'entries' ? answerBundle(c, bytes) : answer(c, bytes);
  });
}

function readTile(ledger: LogSources['ledger'], tile: Tile): Promise<Buffer | undefined> {
  if (tile.kind === 'entries') return ledger.bundle(tile.index, tile.width);
  return ledger.tile(tile.level, tile.index, tile.width);
}

/**
 * Entries are text and shrink; hashes do not. What was compressed is kept for as long as its bundle is, and where too many
 * want theirs compressed at once they get it as it is, which is never wrong.
 */
function bundleAnswers(): (c: Context<HttpEnv>, bundle: Buffer) => Promise<Response> {
  const compressed = new WeakMap<Buffer, Promise<Buffer>>();
  let compressing = 0;
  const compressNow = async (bundle: Buffer): Promise<Buffer> => {
    compressing += 1;
    try {
      return await compress(bundle);
    } finally {
      compressing -= 1;
    }
  };
  return async (c, bundle) => {
    c.header('Vary', 'Accept-Encoding');
    const known = compressed.get(bundle);
    const crowded = known === undefined && compressing >= limits.bundlesCompressedAtOnce;
    if (crowded || !takesGzip(c.req.header('Accept-Encoding'))) return answer(c, bundle);
    const small = known ?? compressNow(bundle);
    if (known === undefined) compressed.set(bundle, small);
    c.header('Content-Encoding', 'gzip');
    return answer(c, await small);
  };
}

function answer(c: Context<HttpEnv>, bytes: Buffer): Response {
  c.header('Content-Length', String(bytes.length));
  // A copy with a buffer of its own: these may be a view of a larger one.
  return c.body(new Uint8Array(bytes));
}

/** Whether an `Accept-Encoding` (RFC 9110 §12.5.3) names gzip, or anything at all, without refusing it by a weight of zero. */
export function takesGzip(accepted: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const part of (accepted ?? '').toLowerCase().split(',')) {
    const [coding = '', ...parameters] = part.split(';').map((text) => text.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    weights.set(coding === 'x-gzip' ? 'gzip' : coding, weight === undefined ? 1 : Number(weight.slice(2)));
  }
  return (weights.get('gzip') ?? weights.get('*') ?? 0) > 0;
}
