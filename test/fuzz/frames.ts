import fc from 'fast-check';
import { badUtf8 } from './wicked.ts';

/** One WebSocket frame (RFC 6455, 5.2) as a client writes it, rightly or not. */
export interface Frame {
  readonly fin: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly reserved: number;
  readonly opcode: number;
  readonly masked: boolean;
  readonly payload: Buffer;
  /** What the head says instead of the payload's length. */
  readonly claimedLength?: bigint;
}

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

export function frameBytes({ fin, reserved, opcode, masked, payload, claimedLength }: Frame): Buffer {
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  const length = claimedLength ?? BigInt(payload.length);
  const bit = masked ? 0x80 : 0;
  const head = Buffer.concat([Buffer.from([first]), lengthBytes(length, bit), masked ? mask : Buffer.alloc(0)]);
  if (!masked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0))]);
}

function lengthBytes(length: bigint, bit: number): Buffer {
  if (length < 126n) return Buffer.from([bit | Number(length)]);
  const long = Buffer.alloc(9);
  if (length < 65_536n) {
    long[0] = bit | 126;
    long.writeUInt16BE(Number(length), 1);
    return long.subarray(0, 3);
  }
  long[0] = bit | 127;
  long.writeBigUInt64BE(length, 1);
  return long;
}

export function textFrame(text: string): Buffer {
  return frameBytes({ fin: true, reserved: 0, opcode: opcodes.text, masked: true, payload: Buffer.from(text, 'utf8') });
}

/** Handshakes that are granted. */
export function handshake(path: string, protocol: string, token?: string): Buffer {
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocol}\r\n${authorization}\r\n`,
  );
}

/** What a server says, as far as it is whole: text of text frames, and codes of closing ones. */
export interface Heard {
  readonly texts: readonly string[];
  readonly closed: number | undefined;
}

export function framesIn(received: Buffer): Heard {
  const texts: string[] = [];
  let closed: number | undefined;
  let at = received.indexOf('\r\n\r\n') + 4;
  while (at >= 4 && at + 2 <= received.length) {
    const opcode = (received[at] ?? 0) & 0x0f;
    const short = (received[at + 1] ?? 0) & 0x7f;
    const start = at + (short === 127 ? 10 : short === 126 ? 4 : 2);
    if (start > received.length) break;
    const length =
      short === 127 ? Number(received.readBigUInt64BE(at + 2)) : short === 126 ? received.readUInt16BE(at + 2) : short;
    if (start + length > received.length) break;
    const payload = received.subarray(start, start + length);
    if (opcode === opcodes.text) texts.push(payload.toString('utf8'));
    if (opcode === opcodes.close && length >= 2) closed = payload.readUInt16BE(0);
    at = start + length;
  }
  return { texts, closed };
}

/** Frames around texts that mean something to who hears them, and frames that break the rules of all of them. */
export function frameSequences(texts: fc.Arbitrary<string>): fc.Arbitrary<readonly Buffer[]> {
  const message = texts.map(textFrame);
  return fc.array(
    fc.oneof(
      { weight: 4, arbitrary: message },
      { weight: 1, arbitrary: fragmented(texts) },
      { weight: 2, arbitrary: broken },
    ),
    {
      minLength: 1,
      maxLength: 8,
    },
  );
}

/** One message in many pieces, ended or not, with a ping in between. */
function fragmented(texts: fc.Arbitrary<string>): fc.Arbitrary<Buffer> {
  return fc.tuple(texts, fc.constantFrom(1, 7, 100), fc.boolean()).map(([text, size, ends]) => {
    const payload = Buffer.from(text, 'utf8');
    const pieces = Array.from({ length: Math.ceil(payload.length / size) }, (_, i) =>
      payload.subarray(i * size, (i + 1) * size),
    );
    return Buffer.concat(
      pieces.slice(0, 3_000).flatMap((piece, i) => [
        frameBytes({
          fin: ends && i === pieces.length - 1,
          reserved: 0,
          opcode: i === 0 ? opcodes.text : opcodes.continuation,
          masked: true,
          payload: piece,
        }),
        ...(i === 1
          ? [frameBytes({ fin: true, reserved: 0, opcode: opcodes.ping, masked: true, payload: Buffer.from('p') })]
          : []),
      ]),
    );
  });
}

const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((raw) => Buffer.from(raw)),
  fc.constantFrom(
    ...badUtf8,
    Buffer.alloc(0),
    Buffer.from([0x03]),
    Buffer.from([0x03, 0xe8]),
    Buffer.from([0x00, 0x01, 0xff]),
    Buffer.alloc(126, 0x61),
    Buffer.alloc(5_000, 0x61),
  ),
);

const broken: fc.Arbitrary<Buffer> = fc
  .record(
    {
      fin: fc.boolean(),
      reserved: fc.constantFrom(0, 0, 0, 4, 2, 1, 7),
      opcode: fc.oneof(fc.constantFrom(...Object.values(opcodes)), fc.nat(15)),
      masked: fc.constantFrom(true, true, true, false),
      payload: payloads,
      claimedLength: fc.constantFrom(
        0n,
        125n,
        126n,
        127n,
        65_536n,
        1_048_577n,
        2n ** 31n,
        2n ** 53n,
        2n ** 63n,
        2n ** 64n - 1n,
      ),
    },
    { requiredKeys: ['fin', 'reserved', 'opcode', 'masked', 'payload'] },
  )
  .map(frameBytes);
