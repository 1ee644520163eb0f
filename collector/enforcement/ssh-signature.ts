import { hash } from 'node:crypto';

const armour = /^-----BEGIN SSH SIGNATURE-----\s([A-Za-z0-9+/=\s]+)-----END SSH SIGNATURE-----\s*$/;
const magic = 'SSHSIG';
/** Magic, version, length of the public key (OpenSSH `PROTOCOL.sshsig`). */
const headBytes = magic.length + 8;

/**
 * Fingerprint of the key that a signature says it was made with, as OpenSSH writes it (`SHA256:...`); undefined for what is no SSH
 * signature. Whether it holds is another question.
 */
export function signingKeyOf(armored: string): string | undefined {
  const [, base64] = armour.exec(armored) ?? [];
  if (base64 === undefined) return undefined;
  const blob = Buffer.from(base64, 'base64');
  if (blob.length < headBytes || blob.toString('latin1', 0, magic.length) !== magic) return undefined;
  const keyBytes = blob.readUInt32BE(headBytes - 4);
  if (keyBytes === 0 || headBytes + keyBytes > blob.length) return undefined;
  const key = blob.subarray(headBytes, headBytes + keyBytes);
  return `SHA256:${hash('sha256', key, 'base64').replace(/=+$/, '')}`;
}
