import { z } from 'zod';
import { failure } from '../../collector/api/contract.ts';

/** One answer over HTTP, as it came over the wire. */
export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Whatever followed the head, up to the next answer. */
  readonly body: string;
}

const head = /HTTP\/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/g;

export function answersIn(received: Buffer): Answer[] {
  const text = received.toString('latin1');
  const heads = [...text.matchAll(head)];
  return heads.map((match, at) => {
    const [whole, status = '', lines = ''] = match;
    const headers = lines.split('\r\n').map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const body = text.slice(match.index + whole.length, heads[at + 1]?.index);
    return { status: Number(status), headers: new Map(headers), body: Buffer.from(body, 'latin1').toString('utf8') };
  });
}

/** The mark of a stack: nobody outside has to know our files. */
const stackLine = /\n\s+at .+:\d+:\d+/;
const failureBody = failure.strict();

/** What is wrong with an answer, whatever was asked; undefined when it is as it should be. */
export function faultOf({ status, headers, body }: Answer): string | undefined {
  if (status >= 500 && !(status === 503 && (headers.has('retry-after') || readiness.test(body)))) {
    return `answers ${status}: ${body.slice(0, 300)}`;
  }
  if (headers.has('x-injected')) return 'a header was injected';
  if (stackLine.test(body)) return `shows a stack: ${body.slice(0, 300)}`;
  const isJson = headers.get('content-type')?.startsWith('application/json') ?? false;
  if (status < 400 || !isJson || body === '' || readiness.test(body)) return undefined;
  const failed = failureBody.safeParse(jsonOf(body));
  if (!failed.success) return `a failure of another form: ${body.slice(0, 300)}`;
  return failed.data.error_code === 'internal.error' ? `internal error with status ${status}` : undefined;
}

/** The one answer beside failures that is not a success. */
const readiness = /"status":"not_ready"/;

/** What is wrong with a successful answer by what its contract promises. */
export function breachOf({ status, headers, body }: Answer, promised: z.ZodType | undefined): string | undefined {
  if (promised === undefined || status >= 300) return undefined;
  if (!(headers.get('content-type')?.startsWith('application/json') ?? false)) return undefined;
  const parsed = promised.safeParse(jsonOf(body));
  return parsed.success ? undefined : `not what the contract promises: ${z.prettifyError(parsed.error).slice(0, 300)}`;
}

/** An answer without a length comes in pieces (RFC 9112, 7.1). */
function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
