import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import type { CollectorSettings } from '../config.ts';
import { type ShownLook, shownLook } from '../desired/look.ts';
import { type CommandContext, show } from './context.ts';

export interface RefreshOptions {
  readonly tokenFile: string;
  readonly url?: string;
}

/**
 * Has the collector that runs look at its repository now, and tells what came of it.
 * @throws AppError `collector.unreachable`, `collector.refused`, `validation.request`.
 */
export async function desiredRefresh(context: CommandContext, options: RefreshOptions): Promise<number> {
  const token = await readToken(options.tokenFile);
  const look = await ask(urlOf(options.url ?? ownUrl(context.settings)), token);
  show(context, look, format);
  return look.outcome === 'refused' ? exitCodes.findings : exitCodes.done;
}

function format(look: ShownLook): string {
  if (look.outcome !== 'refused') {
    return look.outcome === 'adopted' ? `adopted ${look.commit}\n` : `unchanged: ${look.commit} is in force\n`;
  }
  const { commit, file, line, column, reason, in_force } = look;
  const stays = in_force === null ? 'nothing is in force' : `${in_force} stays in force`;
  return `refused ${commit ?? 'the repository'}: ${file}:${line}:${column}: ${reason}\n${stays}\n`;
}

/** Another file may be named by mistake, a key among them: what is no token is neither sent nor shown. */
async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `--token-file ${path} cannot be read (${errnoOf(cause)})`, { cause });
  });
  const token = text.trim();
  if (/^[!-~]{1,256}$/.test(token)) return token;
  throw new AppError('validation.request', `--token-file ${path} holds something else than one token`);
}

/** A collector that listens on all addresses answers on this one too. */
function ownUrl({ http: { host, port } }: CollectorSettings): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
}

function urlOf(base: string): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new AppError('validation.request', `--url ${base} must start with http:// or https://`);
  }
  return new URL(`${url.origin}${url.pathname.replace(/\/+$/, '')}/api/v1/desired/refresh`);
}

const refusal = z.object({ error_code: z.string(), message: z.string() });

async function ask(url: URL, token: string): Promise<ShownLook> {
  const { status, body } = await answerOf(url, token);
  const look = shownLook.safeParse(body);
  if (status === 200 && look.success) return look.data;
  const told = refusal.safeParse(body);
  const why = told.success ? `${told.data.message} (${told.data.error_code})` : `status ${status}`;
  throw new AppError('collector.refused', `the collector at ${url.origin} refused: ${why}`);
}

async function answerOf(url: URL, token: string): Promise<{ readonly status: number; readonly body: unknown }> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(limits.refreshAnswerTimeoutMs),
    });
    const text = await response.text();
    return { status: response.status, body: jsonOf(text) };
  } catch (cause) {
    const { message } = toAppError(cause);
    throw new AppError('collector.unreachable', `no answer from the collector at ${url.origin}: ${message}`, { cause });
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
