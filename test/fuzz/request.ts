import fc from 'fast-check';

/** A request as it is written on the wire; texts go out as they are. */
export interface HttpRequest {
  readonly method: string;
  /** As in the request line, escapes included. */
  readonly path: string;
  /** Each as `name=value`, escaped. */
  readonly query: readonly string[];
  /** Each a line. */
  readonly headers: readonly string[];
  /** Undefined for none. */
  readonly body: Buffer | undefined;
}

/** One request on a connection that ends with it. */
export function bytesOf({ method, path, query, headers, body }: HttpRequest): Buffer {
  const target = query.length === 0 ? path : `${path}?${query.join('&')}`;
  const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: 127.0.0.1', 'Connection: close', ...headers, ...length];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8'), body ?? Buffer.alloc(0)]);
}

const shownChars = 2_000;

/** Bytes for a person who wants to send them again: what is not printable ASCII is escaped as in a JavaScript text. */
export function shownBytes(bytes: Buffer): string {
  const text = JSON.stringify(bytes.toString('latin1')).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return text.length <= shownChars ? text : `${text.slice(0, shownChars)}... (${bytes.length} bytes)`;
}

/** As `encodeURIComponent`, for texts that are not well-formed too. */
export function escaped(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** Every byte of it as an escape, which is as good as the plain spelling (RFC 3986, 2.3). */
export function allEscaped(text: string): string {
  return [...Buffer.from(text, 'utf8')].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

/** The ways in which a text gets into a target: escaped, escaped whole, and as it stands where that leaves one line. */
export function inTarget(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(
      text,
      fc.constantFrom(escaped, escaped, allEscaped, (raw: string) => raw.replace(/[\s\0]/g, '')),
    )
    .map(([raw, write]) => write(raw).slice(0, 12_000));
}
