import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Context } from 'hono';
import { AppError } from '../../common/errors.ts';
import { parseTilePath, type Tile } from '../../common/tiles.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { HttpEnv, Routes } from './env.ts';

const compress = promisify(gzip);

export interface LogSources {
  readonly ledger: Pick<Ledger, 'tile' | 'bundle'>;
  /** The signed note to go by, cosignatures included. */
  readonly checkpoint: () => Promise<string>;
  /** Whether callers need no token; then caches may give to others what they got. */
  readonly isPublic: boolean;
}

/** The log as files: C2SP tlog-tiles below `/log/`. */
export function addLogRoutes(routes: Routes, { ledger, checkpoint, isPublic }: LogSources): void {
  const forever = `${isPublic ? 'public' : 'private'}, max-age=31536000, immutable`;
  routes.get('/log/checkpoint', async (c) => {
    return c.body(await checkpoint(), 200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
  routes.get('/log/tile/*', async (c) => {
    const path = c.req.path.slice('/log/'.length);
    const tile = parseTilePath(path);
    const bytes = await readTile(ledger, tile);
    if (bytes === undefined) throw new AppError('resource.not_found', `the ledger does not reach to ${path}`);
    c.header('Content-Type', 'application/octet-stream');
    c.header('Cache-Control', forever);
    return tile.kind === 'entries' ? answerBundle(c, bytes) : answer(c, bytes);
  });
}

function readTile(ledger: LogSources['ledger'], tile: Tile): Promise<Buffer | undefined> {
  if (tile.kind === 'entries') return ledger.bundle(tile.index, tile.width);
  return ledger.tile(tile.level, tile.index, tile.width);
}

/** Entries are text and shrink; hashes do not. */
async function answerBundle(c: Context<HttpEnv>, bundle: Buffer): Promise<Response> {
  c.header('Vary', 'Accept-Encoding');
  if (!takesGzip(c.req.header('Accept-Encoding'))) return answer(c, bundle);
  const compressed = await compress(bundle);
  c.header('Content-Encoding', 'gzip');
  return answer(c, compressed);
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
