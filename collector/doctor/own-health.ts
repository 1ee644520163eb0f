import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { HttpSettings } from '../http/settings.ts';
import { tlsFiles } from '../http/tls.ts';

/**
 * Asks the collector that these settings start, on this machine. Its certificate names the host that others call it by, so here it
 * is not judged; nothing secret is sent.
 * @throws AppError `collector.unreachable`.
 */
export async function askOwnHealth(http: HttpSettings): Promise<string> {
  const scheme = tlsFiles(http) === undefined ? 'http' : 'https';
  const origin = `${scheme}://${reachable(http.host)}:${http.port}`;
  const { Agent, request } = await import('undici');
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false, timeout: limits.doctorTimeoutMs } });
  try {
    const times = { headersTimeout: limits.doctorTimeoutMs, bodyTimeout: limits.doctorTimeoutMs };
    const { statusCode, body } = await request(`${origin}/health`, { ...times, dispatcher });
    await body.dump();
    if (statusCode === 200) return `${origin} answers`;
    throw new AppError('collector.unreachable', `${origin} answered ${statusCode}`);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const why = errnoOf(cause) ?? (cause instanceof Error ? cause.message : String(cause));
    throw new AppError('collector.unreachable', `no collector answers at ${origin} (${why})`, { cause });
  } finally {
    await dispatcher.destroy();
  }
}

/** Who listens everywhere listens here, too. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
