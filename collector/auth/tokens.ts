/** Random bytes in a token: too many to guess, so a plain hash is enough to store it. */
export const tokenBytes = 32;

/** What a token opens, visible at its start so that a leaked one is recognised. */
export const tokenPrefixes = { join: 'swj_', setup: 'sws_', refresh: 'swr_', api: 'swk_' } as const;

/** Source of secrets, passed in so that domain code stays deterministic. */
export type RandomBytes = (length: number) => Buffer;

export function newToken(purpose: keyof typeof tokenPrefixes, randomBytes: RandomBytes): string {
  return `${tokenPrefixes[purpose]}${randomBytes(tokenBytes).toString('base64url')}`;
}
