import type { JWKInterface } from 'arweave/node/lib/wallet.js';
import { z } from 'zod';
import { AppError } from '../../../common/errors.ts';
import type { SignedPin } from '../ports.ts';

/* The one place where the arweave library works: it lays a transaction out and signs it. It is loaded when that is needed. */

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/);

const walletSchema = z.object({
  kty: z.literal('RSA'),
  ...{
    e: base64url,
    n: base64url,
    d: base64url,
    p: base64url,
    q: base64url,
    dp: base64url,
    dq: base64url,
    qi: base64url,
  },
});
export type Wallet = z.output<typeof walletSchema>;

/** @throws AppError `validation.config` for a file that is no private key of RSA as JWK; nothing of it is in the message. */
export function parseWallet(text: string, path: string): Wallet {
  const parsed = walletSchema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new AppError(
    'validation.config',
    `jobs.arweave.walletFile names ${path}, which holds no Arweave wallet (RSA key as JWK)`,
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export interface Draft {
  readonly data: Buffer;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the network: from `tx_anchor`. */
  readonly anchor: string;
  /** In winston: from `price`. */
  readonly reward: string;
}

/** A transaction of format 2, signed. Its data goes along in its body. */
export async function signTransaction({ data, tags, anchor, reward }: Draft, wallet: Wallet): Promise<SignedPin> {
  const { default: Arweave } = await import('arweave');
  const arweave = Arweave.init({});
  const key: JWKInterface = wallet;
  const tx = await arweave.createTransaction({ data: new Uint8Array(data), last_tx: anchor, reward }, key);
  for (const [name, value] of Object.entries(tags)) tx.addTag(name, value);
  await arweave.transactions.sign(tx, key);
  return { txId: tx.id, tx: JSON.stringify(tx) };
}
