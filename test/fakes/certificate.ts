import { generateKeyPairSync, sign } from 'node:crypto';

/*
 * A certificate for this machine that signs itself, made anew for each test: a stored one would expire. X.509 v3 in DER, RFC 5280.
 */

export interface TestCertificate {
  /** Both PEM. */
  readonly key: string;
  readonly cert: string;
}

const sequence = 0x30;
const ecdsaWithSha256 = der(sequence, oid('06082a8648ce3d040302'));

/**
 * @param host a name; `127.0.0.1` counts in any case.
 * @param validFrom UTCTime: `YYMMDDhhmmssZ`, of 1950 to 2049.
 */
export function selfSigned(host = 'localhost', validFrom = '200101000000Z'): TestCertificate {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = der(sequence, der(0x31, der(sequence, oid('0603550403'), text(0x0c, host))));
  const validity = der(sequence, text(0x17, validFrom), text(0x17, '491231235959Z'));
  const names = der(sequence, text(0x82, host), der(0x87, Buffer.of(127, 0, 0, 1)));
  const extensions = der(0xa3, der(sequence, extension('0603551d11', names), extension('0603551d13', isAuthority())));
  const version3 = der(0xa0, der(0x02, Buffer.of(2)));
  const body = der(
    sequence,
    version3,
    der(0x02, Buffer.of(1)),
    ecdsaWithSha256,
    name,
    validity,
    name,
    keys.publicKey.export({ format: 'der', type: 'spki' }),
    extensions,
  );
  const signature = sign('sha256', body, keys.privateKey);
  const whole = der(sequence, body, ecdsaWithSha256, der(0x03, Buffer.of(0), signature));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    key: String(keys.privateKey.export({ format: 'pem', type: 'pkcs8' })),
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
  };
}

function isAuthority(): Buffer {
  return der(sequence, der(0x01, Buffer.of(0xff)));
}

function extension(id: string, value: Buffer): Buffer {
  return der(sequence, oid(id), der(0x04, value));
}

function oid(hex: string): Buffer {
  return Buffer.from(hex, 'hex');
}

function text(tag: number, value: string): Buffer {
  return der(tag, Buffer.from(value));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
