import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { ServerAddress } from '../client/network.ts';
import type { CollectorSettings } from '../config.ts';
import { freshAccessToken, readSavedLogin, savedLoginPath } from './saved-login.ts';

/** A collector elsewhere, and what opens it. */
export interface ServerChoice extends ServerAddress {
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
}

export interface ServerOptions {
  readonly server?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** As in {@link ServerAddress}. */
  readonly caFile?: string | undefined;
}

/** What `--ca-file` or the environment names, wherever a command is run later. */
export function caFileOf(
  { caFile }: ServerOptions,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const named = caFile ?? (env.SIGILWATCH_CA_FILE || undefined);
  return named === undefined ? undefined : resolve(named);
}

/** The server of `--server`, or of the environment; undefined for the collector whose data directory is here. */
export function serverOf(
  options: ServerOptions,
  env: Readonly<Record<string, string | undefined>>,
): ServerChoice | undefined {
  const { server, tokenFile } = options;
  const url = server ?? (env.SIGILWATCH_SERVER || undefined);
  const caFile = caFileOf(options, env);
  return url === undefined ? undefined : { url, caFile, tokenFile, token: env.SIGILWATCH_TOKEN || undefined };
}

/** The collector that runs: the one that is named, else the one that the settings describe, on this machine. */
export function runningServer({ server, settings, tokenFile, caFile, env }: RunningNeeds): ServerChoice {
  const authorities = caFile ?? settings.http.tls.caFile;
  const own = { url: ownUrl(settings), caFile: authorities, tokenFile, token: env.SIGILWATCH_TOKEN || undefined };
  return server ?? own;
}

interface RunningNeeds extends Pick<ServerOptions, 'tokenFile' | 'caFile'> {
  readonly server?: ServerChoice | undefined;
  readonly settings: CollectorSettings;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A collector that listens on all addresses answers on this one too. */
function ownUrl({ http: { host, port, tls } }: CollectorSettings): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const scheme = tls.certificate === undefined ? 'http' : 'https';
  return `${scheme}://${local.includes(':') ? `[${local}]` : local}:${port}`;
}

/** The collector that resources are asked of: the one that is named, else the one that "login" signed in to, else undefined. */
export async function serverFor({ server, namesData, caFile, env }: AskingNeeds): Promise<ServerChoice | undefined> {
  if (server === undefined && namesData === true) return undefined;
  // With a token of one's own there is nothing to look up.
  if (server?.token !== undefined || server?.tokenFile !== undefined) return server;
  const saved = await readSavedLogin(savedLoginPath(env));
  if (server === undefined) {
    return saved && { url: saved.server, caFile: caFile ?? saved.ca_file, token: undefined, tokenFile: undefined };
  }
  if (server.url !== saved?.server) return server;
  return { ...server, caFile: server.caFile ?? saved.ca_file };
}

type AskingNeeds = Pick<RunningNeeds, 'server' | 'caFile' | 'env'> & { readonly namesData?: boolean };

/**
 * The token for a collector, as it is good now: it is asked for with every request, since sign-ins are renewed.
 * @throws AppError `auth.required` where there is none; `validation.request` for a file that holds something else.
 */
export async function tokenFor({ url, token, tokenFile }: ServerChoice, env: RunningNeeds['env']): Promise<string> {
  if (tokenFile !== undefined) return readToken(tokenFile);
  if (token !== undefined) return token;
  const path = savedLoginPath(env);
  const saved = await readSavedLogin(path);
  if (path !== undefined && saved?.server === url) return freshAccessToken(path, Date.now);
  const how = `sigilwatch-collector login --server ${url}, or give --token-file FILE or SIGILWATCH_TOKEN`;
  throw new AppError('auth.required', `not signed in to ${url}: ${how}`);
}

/** Another file may be named by mistake, a key among them: what is no token is neither sent nor shown. */
async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `--token-file ${path} cannot be read (${errnoOf(cause)})`, { cause });
  });
  const token = text.trim();
  if (/^[!-~]{1,4096}$/.test(token)) return token;
  throw new AppError('validation.request', `--token-file ${path} holds something else than one token`);
}
