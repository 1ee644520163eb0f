import { z } from 'zod';
import { limits } from '../../common/limits.ts';
import { isNetwork } from '../outgoing/addresses.ts';

const backoffMs = z.int().min(1).max(86_400_000);

const gatewayUrl = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && !/[?#]/.test(text),
    'an http:// or https:// URL without "?" and "#"',
  );

/** What is done about artifacts, and how often it is tried. */
export const jobSettings = z.strictObject({
  concurrency: z
    .int()
    .min(1)
    .max(limits.maxJobConcurrency)
    .default(limits.jobConcurrency)
    .describe('Enforcement jobs that this collector works on at the same time'),
  attempts: z
    .int()
    .min(1)
    .max(limits.maxJobAttempts)
    .default(limits.jobAttempts)
    .describe('Tries of one job before it becomes a dead letter'),
  backoffMinMs: backoffMs
    .default(limits.jobBackoffMinMs)
    .describe('Bound of the pause after the first failure; it doubles with each'),
  backoffMaxMs: backoffMs.default(limits.jobBackoffMaxMs).describe('The longest pause'),
  webhook: z.strictObject({
    secret: z
      .string()
      .min(16)
      .optional()
      .meta({ secret: true })
      .describe(
        'Key that webhook_alert signs with: whsec_ and base64, or at least 16 characters; unset refuses the action',
      ),
    allowedAddresses: z
      .array(z.string().refine(isNetwork, 'an address with its prefix length, such as 10.1.0.0/16'))
      .max(limits.maxAllowedNetworks)
      .default([])
      .describe('Networks beside the public internet that webhook_alert may reach, and without TLS'),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe('PEM file of the authorities that receivers are checked by, instead of those of the system'),
  }),
  arweave: z.strictObject({
    gateway: gatewayUrl.optional().describe('Arweave gateway, such as https://arweave.net; unset refuses pin_arweave'),
    walletFile: z.string().min(1).optional().describe('JWK file of the wallet that pays for what is pinned'),
    confirmations: z
      .int()
      .min(1)
      .max(limits.maxPinConfirmations)
      .default(limits.pinConfirmations)
      .describe('Blocks that a transaction must have before its job is done'),
  }),
});

export type JobSettings = z.output<typeof jobSettings>;
