import fc from 'fast-check';
import { badUtf8, wickedText } from './wicked.ts';

/** Bytes for an HTTP port, and how they are brought there. */
export interface RawRequest {
  readonly chunks: readonly Buffer[];
  readonly halfClose: boolean;
}

/*
 * What is no request, or two, or one of which two readers would not think the same (RFC 9112, 11).
 */

export function rawRequests(token: string, paths: readonly string[]): fc.Arbitrary<RawRequest> {
  const authorization = `Authorization: Bearer ${token}`;
  const path = fc.constantFrom(...paths);
  const texts = fc.oneof(
    brokenLine(path),
    brokenHeaders(path, authorization),
    lies(path, authorization),
    smuggled(path, authorization),
    pipelined(path, authorization),
    upgrades(path, authorization),
  );
  const bytes = fc.oneof(
    { weight: 12, arbitrary: texts.map((text) => Buffer.from(text, 'latin1')) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }).map((raw) => Buffer.from(raw)) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...badUtf8)
        .map((bad) => Buffer.concat([Buffer.from('GET /'), bad, Buffer.from(' HTTP/1.1\r\nHost: a\r\n\r\n')])),
    },
  );
  return fc
    .tuple(bytes, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }), fc.boolean())
    .map(([whole, cuts, halfClose]) => ({ chunks: cutAt(whole, cuts), halfClose }));
}

/** @param places from 0 to 1 */
export function cutAt(whole: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => Math.floor(place * whole.length)), whole.length].sort((a, b) => a - b);
  return ends.map((end, at) => whole.subarray(ends[at - 1] ?? 0, end)).filter(({ length }) => length > 0);
}

const line = (text: string) => text.replace(/[\r\n]/g, ' ');
const oneLine = wickedText.map((text) => Buffer.from(line(text), 'utf8').toString('latin1'));

function brokenLine(path: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const methods = fc.constantFrom(
    'GET',
    'get',
    'HEAD',
    'OPTIONS',
    'TRACE',
    'CONNECT',
    'PRI',
    'QUERY',
    'PROPFIND',
    'X'.repeat(9_000),
    '',
    'GE T',
  );
  const versions = fc.constantFrom(
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/0.9',
    'HTTP/2.0',
    'HTTP/9.9',
    'HTTP/1.1 x',
    'http/1.1',
    'XTTP/1.1',
    '',
  );
  const targets = fc.oneof(
    path,
    oneLine,
    fc.constantFrom(
      '*',
      '//',
      'http://',
      'http://[::1',
      '127.0.0.1:1',
      '?',
      '/?',
      `/${'a/'.repeat(5_000)}`,
      `/${'%2f'.repeat(3_000)}`,
    ),
  );
  const ends = fc.constantFrom('\r\n\r\n', '\n\n', '\r\r', '\r\n', '\0\r\n\r\n');
  return fc
    .tuple(methods, targets, versions, ends)
    .map(([method, target, version, end]) => `${method} ${target} ${version}\r\nHost: a${end}`);
}

function brokenHeaders(path: fc.Arbitrary<string>, authorization: string): fc.Arbitrary<string> {
  const many = (count: number, size: number) =>
    Array.from({ length: count }, (_, i) => `X-${i}: ${'v'.repeat(size)}`).join('\r\n');
  const heads = fc.oneof(
    fc.constantFrom(
      many(2_500, 1),
      many(1, 65_536),
      many(60, 250),
      many(7, 2_000),
      'X'.repeat(65_536),
      `${'X'.repeat(20_000)}: 1`,
    ),
    fc.constantFrom(
      'Host: a\r\nHost: b',
      'Host: a b',
      'Host:',
      'Host: [',
      'Host: a:99999',
      'Host: a/../b?c#d',
      'Host: \u00ff',
      'Host: a@b',
      'Host: <script>',
    ),
    fc.constantFrom(
      ' folded: 1',
      'A: 1\r\n folded',
      'A : 1',
      ': 1',
      'A',
      'A\0: 1',
      'A: \0',
      'A: \x7f',
      'A: 1\rX-Injected: 1',
      'A: 1\nX-Injected: 1',
    ),
    fc.constantFrom(
      'Connection: close, upgrade, keep-alive',
      'Connection: host',
      'Expect: 100-continue',
      'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
    ),
    oneLine.map((text) => `X-Request-ID: ${text}`),
    oneLine.map((text) => `Authorization: Bearer ${text}`),
    oneLine.map((text) => `Authorization: ${text}`),
  );
  return fc
    .tuple(path, heads, fc.boolean())
    .map(
      ([at, head, known]) => `GET ${at} HTTP/1.1\r\nHost: a\r\n${known ? `${authorization}\r\n` : ''}${head}\r\n\r\n`,
    );
}

function lies(path: fc.Arbitrary<string>, authorization: string): fc.Arbitrary<string> {
  const lengths = fc.constantFrom(
    '0',
    '1',
    '5',
    '99999999999999999999',
    '-1',
    '+2',
    '0x2',
    '2, 2',
    '2, 3',
    '2\r\nContent-Length: 2',
    '2\r\nContent-Length: 3',
    ' ',
    '2 2',
    '1e1',
    '65537',
    '1000000000',
    'NaN',
    '\u0662',
  );
  const bodies = fc.constantFrom(
    '',
    '{}',
    '{"reason":"x"}',
    `{"a":"${'x'.repeat(70_000)}"}`,
    '{}GET /health HTTP/1.1\r\nHost: a\r\n\r\n',
  );
  const methods = fc.constantFrom('POST', 'POST', 'GET', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS');
  return fc
    .tuple(methods, path, lengths, bodies)
    .map(
      ([method, at, length, body]) =>
        `${method} ${at} HTTP/1.1\r\nHost: a\r\n${authorization}\r\nContent-Length: ${length}\r\n\r\n${body}`,
    );
}

function smuggled(path: fc.Arbitrary<string>, authorization: string): fc.Arbitrary<string> {
  const codings = fc.constantFrom(
    ...[
      'chunked',
      'Chunked',
      ' chunked',
      'chunked, identity',
      'identity, chunked',
      'xchunked',
      'chunked\r\nTransfer-Encoding: identity',
      '\x0bchunked',
      'gzip, chunked',
      '"chunked"',
    ],
    ...['chunked\r\nContent-Length: 4', 'chunked\r\nContent-Length: 0', 'identity\r\nContent-Length: 2'],
  );
  const hidden = 'POST /api/v1/desired/refresh HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n';
  const bodies = fc.constantFrom(
    ...[
      '0\r\n\r\n',
      `0\r\n\r\n${hidden}`,
      '2\r\n{}\r\n0\r\n\r\n',
      '2;ext=1\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n',
      '-1\r\n{}\r\n0\r\n\r\n',
      'ffffffffffffffffff\r\n{}',
      '2\n{}\n0\n\n',
    ],
    ...[
      '2\r\n{}X\r\n0\r\n\r\n',
      `2;${'x'.repeat(40_000)}\r\n{}\r\n0\r\n\r\n`,
      `${'1\r\n{\r\n'.repeat(3_000)}0\r\n\r\n`,
      `0\r\n${'T: 1\r\n'.repeat(5_000)}\r\n`,
      '0x2\r\n{}\r\n0\r\n\r\n',
      '',
    ],
  );
  return fc
    .tuple(path, codings, bodies)
    .map(
      ([at, coding, body]) =>
        `POST ${at} HTTP/1.1\r\nHost: a\r\n${authorization}\r\nTransfer-Encoding: ${coding}\r\n\r\n${body}`,
    );
}

function pipelined(path: fc.Arbitrary<string>, authorization: string): fc.Arbitrary<string> {
  const one = fc
    .tuple(fc.constantFrom('GET', 'HEAD', 'OPTIONS'), path)
    .map(([method, at]) => `${method} ${at} HTTP/1.1\r\nHost: a\r\n${authorization}\r\n\r\n`);
  return fc.array(one, { minLength: 2, maxLength: 40 }).map((requests) => requests.join(''));
}

function upgrades(path: fc.Arbitrary<string>, authorization: string): fc.Arbitrary<string> {
  const sockets = fc.constantFrom(
    '/agent/v1',
    '/api/v1/events',
    '/agent/v1/',
    '//agent/v1',
    '/agent/v1?x=1',
    '/api/v1/events?after=x',
    '/api/v1/events?recent=5',
  );
  const protocols = fc.constantFrom(
    'sigilwatch.v1',
    'sigilwatch.events.v1',
    'x',
    '',
    'a,,b',
    'sigilwatch.v1, sigilwatch.v1',
    '__proto__',
    '\u00ff',
  );
  const keys = fc.constantFrom(
    'dGhlIHNhbXBsZSBub25jZQ==',
    '',
    'short',
    'dGhlIHNhbXBsZSBub25jZQ',
    'x'.repeat(5_000),
    'dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: x',
  );
  const versions = fc.constantFrom('13', '8', '12', '0', '', '13, 8', '9999999999');
  const words = fc.constantFrom('websocket', 'WebSocket', 'h2c', 'websocket, h2c', 'x', '');
  const extensions = fc.constantFrom(
    '',
    'permessage-deflate',
    'permessage-deflate; server_max_window_bits=99',
    '; =',
    'x;'.repeat(2_000),
    'permessage-deflate; client_max_window_bits="',
    '__proto__; constructor',
  );
  const origins = fc.constantFrom(
    '',
    'Origin: http://evil.example\r\n',
    'Origin: null\r\n',
    'Origin: http://[\r\n',
    'Origin: a\r\n',
  );
  return fc
    .tuple(
      fc.oneof(sockets, sockets, path),
      fc.constantFrom('GET', 'GET', 'GET', 'POST', 'HEAD'),
      words,
      protocols,
      keys,
      versions,
      extensions,
      origins,
      fc.constantFrom('', 'leftover', '\x81\x00', '\x88\x80\0\0\0\0'),
    )
    .map(
      ([at, method, word, protocol, key, version, extension, origin, rest]) =>
        `${method} ${at} HTTP/1.1\r\nHost: a\r\n${authorization}\r\nConnection: Upgrade\r\nUpgrade: ${word}\r\n` +
        `Sec-WebSocket-Protocol: ${protocol}\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: ${version}\r\n` +
        `Sec-WebSocket-Extensions: ${extension}\r\n${origin}\r\n${rest}`,
    );
}
