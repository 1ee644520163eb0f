import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** The engine of this machine, as far as images come from it. One call at a time. */
export interface ImageEngine {
  /** The id of an image. @throws AppError `validation.request` when it has none, or cannot be asked. */
  idOf(reference: string): Promise<string>;
  /** What `docker save` writes. Whoever wants no more of it returns from the generator. @throws AppError `validation.request` */
  save(reference: string): AsyncGenerator<Buffer, void>;
}

/** By the `docker` command, as whoever runs this. */
export const dockerEngine: ImageEngine = { idOf, save };

async function idOf(reference: string): Promise<string> {
  requireReference(reference);
  try {
    const { stdout } = await promisify(execFile)('docker', ['image', 'inspect', '--format', '{{.Id}}', reference], {
      timeout: limits.engineTimeoutMs,
    });
    return stdout.trim();
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    const why = (said.split('\n').at(-1) ?? '').slice(0, limits.maxOwnTextChars);
    throw new AppError('validation.request', `image ${reference}: ${why || notRun(cause)}`, { cause });
  }
}

async function* save(reference: string): AsyncGenerator<Buffer, void> {
  requireReference(reference);
  const docker = spawn('docker', ['save', reference], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  docker.stderr.on('data', (piece: Buffer) => {
    said = `${said}${piece.toString('utf8')}`.slice(0, limits.maxOwnTextChars);
  });
  const ended = once(docker, 'close').then(
    ([code]: unknown[]) => (code === 0 ? undefined : said.trim() || `exit code ${String(code)}`),
    notRun,
  );
  try {
    for await (const piece of docker.stdout) if (Buffer.isBuffer(piece)) yield piece;
    const wrong = await ended;
    if (wrong !== undefined) throw new AppError('validation.request', `docker save ${reference}: ${wrong}`);
  } finally {
    docker.kill();
  }
}

/** So that nothing is taken for an option. */
function requireReference(reference: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$/.test(reference)) return;
  throw new AppError('validation.request', `${reference} cannot be a reference of an image`);
}

function notRun(cause: unknown): string {
  return `docker cannot be run (${errnoOf(cause) ?? String(cause)})`;
}
