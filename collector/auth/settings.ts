import { z } from 'zod';
import { limits } from '../../common/limits.ts';

/** How long people stay signed in. */
export const authSettings = z.strictObject({
  accessTokenMs: z
    .int()
    .min(limits.minAccessTokenMs)
    .max(limits.maxAccessTokenMs)
    .default(limits.accessTokenMs)
    .describe('How long an access token is good for; it is refreshed without anybody noticing'),
  sessionMs: z
    .int()
    .min(limits.minAccessTokenMs)
    .max(limits.maxSessionMs)
    .default(limits.sessionMs)
    .describe('After so long everybody signs in again'),
  idleMs: z
    .int()
    .min(limits.minAccessTokenMs)
    .max(limits.maxSessionMs)
    .default(limits.sessionIdleMs)
    .describe('A session that was not used for so long ends'),
});

export type AuthSettings = z.output<typeof authSettings>;
