import { errnoOf } from './errors.ts';

/** Reasons of OpenSSL for which another authority is the answer. */
const unknownIssuers: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/**
 * Why a collector gave no answer, for people, with what helps where that is known.
 * @param origin that was asked, such as `https://hub:7600`; @param cause what the HTTP client threw
 * @param authorityBy how another authority is named: `--ca-file`, a setting
 */
export function whyNoAnswer(origin: string, cause: unknown, authorityBy: string): string {
  const said = cause instanceof Error ? cause.message : String(cause);
  const code = errnoOf(cause) ?? '';
  // Node.js goes on with advice for whoever can start it otherwise.
  if (unknownIssuers.has(code))
    return `${said.split(';')[0]}; name the authority that issued its certificate with ${authorityBy}`;
  // What a server that speaks TLS does with a request that does not.
  if (code === 'UND_ERR_SOCKET' && origin.startsWith('http:'))
    return `${said}; where it serves by TLS, its address begins with https://`;
  return said;
}
