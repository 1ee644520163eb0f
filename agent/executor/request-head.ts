import { limits } from '../../common/limits.ts';
import { type Refused, refused } from './refused.ts';

/** Line and headers of one HTTP/1.1 request, in the narrow form that the executor takes. */
export interface RequestHead {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Origin form (RFC 9112 §3.2.1), as it was sent. */
  readonly target: string;
  /** By lower-case name; each came once. */
  readonly headers: ReadonlyMap<string, string>;
}

/** Name of the header that carries an order, in the spelling of {@link RequestHead.headers}. */
export const orderHeaderName = 'x-sigilwatch-order';

/** Name of the header that says what the order commits to, in the same spelling. */
export const wantedHeaderName = 'x-sigilwatch-wanted';

/**
 * All that our own client sends. The rest is refused and not ignored, since it asks for something: another protocol, trailers,
 * a password for a registry.
 */
const knownHeaders: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'accept', 'accept-encoding', 'user-agent'],
  ...['content-type', 'content-length', 'transfer-encoding', orderHeaderName, wantedHeaderName],
]);

const requestLine = /^(GET|POST|DELETE) (\/[!-~]*) HTTP\/1\.1$/;
/** No space before the colon, none at the beginning: a folded line (RFC 9112 §5.2) is no header. */
const headerLine = /^([A-Za-z0-9-]+): ?([!-~](?:[ -~]*[!-~])?)?$/;

/**
 * Reads what stands before the empty line. Deliberately stricter than RFC 9112: whatever two readers could understand
 * differently is refused. What is sent on to the engine is written anew, never copied.
 */
export function parseHead(bytes: Buffer): RequestHead | Refused {
  const text = bytes.toString('latin1');
  const [first = '', ...lines] = text.split('\r\n');
  const [, method, target = ''] = requestLine.exec(first) ?? [];
  if (method !== 'GET' && method !== 'POST' && method !== 'DELETE') {
    return refused('request.form', 'not a GET, POST or DELETE of a path by HTTP/1.1');
  }
  if (target.length > limits.executorMaxTargetChars) return refused('request.size', 'the path is too long');
  if (lines.length > limits.executorMaxHeaders) return refused('request.size', 'too many headers');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ''] = headerLine.exec(line) ?? [];
    if (name === undefined) return refused('request.form', 'a line that is not a plain header');
    const known = name.toLowerCase();
    if (!knownHeaders.has(known)) return refused('request.form', `the header ${known.slice(0, 64)} is not taken`);
    if (headers.has(known)) return refused('request.form', `the header ${known} came twice`);
    headers.set(known, value);
  }
  return checkedHeaders(headers) ?? { method, target, headers };
}

function checkedHeaders(headers: ReadonlyMap<string, string>): Refused | undefined {
  if (!/^[A-Za-z0-9.:[\]-]{1,255}$/.test(headers.get('host') ?? '')) return refused('request.form', 'no plain Host');
  // Anything else names headers to take away, or another protocol to go over to.
  if (!/^(close|keep-alive)$/i.test(headers.get('connection') ?? 'close')) {
    return refused('request.form', 'Connection is neither close nor keep-alive');
  }
  return undefined;
}

/** How the body of a request is delimited (RFC 9112 §6). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' };

export function framingOf({ method, headers }: RequestHead): Framing | Refused {
  const [length, coding] = [headers.get('content-length'), headers.get('transfer-encoding')];
  if (length !== undefined && coding !== undefined) return refused('request.form', 'two lengths of one body');
  if (coding !== undefined) {
    if (coding !== 'chunked') return refused('request.form', 'a transfer coding other than chunked');
    return method === 'POST' ? { kind: 'chunked' } : refused('request.form', 'a chunked body where none belongs');
  }
  if (length === undefined) return { kind: 'none' };
  if (!/^(0|[1-9][0-9]{0,11})$/.test(length)) return refused('request.form', 'Content-Length is not a plain number');
  const bytes = Number(length);
  if (bytes > 0 && method !== 'POST') return refused('request.form', 'a body where none belongs');
  return bytes === 0 ? { kind: 'none' } : { kind: 'length', bytes };
}
