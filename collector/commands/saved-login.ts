import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { shellWord } from '../../common/shell-word.ts';
import { sessionRefresh } from '../api/sessions-contract.ts';
import { createClient } from '../client/client.ts';
import { networkTransport } from '../client/network.ts';

const savedLogin = z.object({
  server: z.string(),
  ca_file: z.string().optional(),
  user: z.string(),
  access_token: z.string(),
  access_expires_at: z.string(),
  refresh_token: z.string(),
});

/** A session that "login" has begun, as it is kept in a file of its user's. */
export type SavedLogin = z.infer<typeof savedLogin>;

type Environment = Readonly<Record<string, string | undefined>>;

/** `login.json` in the user's folder for settings; undefined for a user without a home. */
export function savedLoginPath({ XDG_CONFIG_HOME: config, HOME: home }: Environment): string | undefined {
  if (config) return join(config, 'sigilwatch', 'login.json');
  return home ? join(home, '.config', 'sigilwatch', 'login.json') : undefined;
}

/** @throws AppError `auth.key_file` for a file that cannot be read or that others may read. */
export async function readSavedLogin(path: string | undefined): Promise<SavedLogin | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ENOTDIR') return undefined;
    throw new AppError('auth.key_file', `the sign-in kept in ${path} cannot be read (${errnoOf(cause)})`, { cause });
  });
  if (text === undefined) return undefined;
  if (((await stat(path)).mode & 0o077) !== 0) {
    throw new AppError(
      'auth.key_file',
      `others may read ${path}, which holds your sign-in: run "chmod 600 ${shellWord(path)}"`,
    );
  }
  const parsed = savedLogin.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new AppError('auth.key_file', `${path} holds no sign-in: remove it, and sign in anew`);
}

/** Whole or not at all, and for nobody else's eyes. */
export async function writeSavedLogin(path: string, login: SavedLogin): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const staging = `${path}.${process.pid}`;
  await rm(staging, { force: true });
  await writeFile(staging, `${JSON.stringify(login, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
  await rename(staging, path);
}

export async function forgetSavedLogin(path: string): Promise<void> {
  await rm(path, { force: true });
}

/**
 * An access token that is good for a while. A refresh token is good for one use, and the second one would end the session: so
 * commands that run at the same time take turns, and look again once it is theirs.
 * @throws AppError `auth.required` when the session is over.
 */
export async function freshAccessToken(path: string, nowMs: () => number): Promise<string> {
  const isFresh = ({ access_expires_at }: SavedLogin) =>
    Date.parse(access_expires_at) - nowMs() > limits.accessTokenLeftMs;
  const found = await readSavedLogin(path);
  if (found !== undefined && isFresh(found)) return found.access_token;
  return inTurn(`${path}.lock`, async () => {
    const login = await readSavedLogin(path);
    if (login === undefined)
      throw new AppError('auth.required', 'not signed in (any more): sigilwatch-collector login');
    if (isFresh(login)) return login.access_token;
    const renewed = await refreshed(login);
    await writeSavedLogin(path, renewed);
    return renewed.access_token;
  });
}

async function refreshed(login: SavedLogin): Promise<SavedLogin> {
  const api = createClient(networkTransport({ url: login.server, caFile: login.ca_file }));
  try {
    const { refresh_token } = login;
    return keptOf(login, await api.call(sessionRefresh, { body: { refresh_token } }));
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'auth.token') throw thrown;
    const why = `the sign-in of ${login.user} at ${login.server} is over: sigilwatch-collector login --server ${login.server}`;
    throw new AppError('auth.required', why, { cause: thrown });
  }
}

/** What is kept of an answer that lets somebody in. */
export function keptOf(
  { server, ca_file, user }: Pick<SavedLogin, 'server' | 'ca_file' | 'user'>,
  {
    access_token,
    access_expires_at,
    refresh_token,
  }: Pick<SavedLogin, 'access_token' | 'access_expires_at' | 'refresh_token'>,
): SavedLogin {
  return { server, ...(ca_file !== undefined && { ca_file }), user, access_token, access_expires_at, refresh_token };
}

/** One process at a time. A lock that is older than any use of it is one that its process has left behind. */
async function inTurn<T>(lock: string, work: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + limits.savedLoginLockMs;
  for (;;) {
    const file = await open(lock, 'wx', 0o600).catch((thrown: unknown) => {
      if (errnoOf(thrown) === 'EEXIST') return undefined;
      throw thrown;
    });
    if (file !== undefined) {
      await file.close();
      break;
    }
    if (performance.now() > untilMs) await rm(lock, { force: true });
    await delay(limits.savedLoginLookMs);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
