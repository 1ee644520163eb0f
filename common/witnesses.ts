import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { AppError, toAppError } from './errors.ts';
import { nodeName } from './fields.ts';
import type { KeyPair } from './keys.ts';
import { limits } from './limits.ts';
import {
  type NoteSigner,
  noteSigner,
  parseVerifierKey,
  signatureTypes,
  type VerifierKey,
  verifierKey,
} from './note.ts';

/*
 * Who witnesses the ledger, and how many of them are enough. The nodes of the fleet are witnesses by themselves; the
 * manifest may add others and says what counts as a quorum.
 */

/** Name under which a node cosigns the log `origin`. */
export function nodeWitnessName(origin: string, node: string): string {
  return `${origin}/${node}`;
}

/** The key that a node's cosignatures are checked with. @throws AppError `auth.signature` for an unusable origin. */
export function nodeWitnessKey(origin: string, node: string, publicKey: KeyObject): VerifierKey {
  return verifierKey(nodeWitnessName(origin, node), signatureTypes.cosignatureV1, publicKey);
}

/** The node's own key, as a witness. @throws AppError `auth.signature` for an unusable origin. */
export function nodeWitnessSigner(origin: string, node: string, keys: KeyPair): NoteSigner {
  return noteSigner(nodeWitnessName(origin, node), signatureTypes.cosignatureV1, keys);
}

/** C2SP verifier key of type cosignature/v1. */
const witnessKey = z.string().max(limits.maxForeignTextChars).superRefine(requireWitnessKey);

const outsideWitness = z.strictObject({
  /** For people; the key's own name when left out. */
  name: z.string().min(1).max(limits.maxForeignTextChars).optional(),
  key: witnessKey,
  /** Submission prefix of C2SP tlog-witness: `<url>/add-checkpoint`. */
  url: z
    .string()
    .max(limits.maxForeignTextChars)
    .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'expected an http(s) URL'),
});

/** A node with the key that counts as its own, whatever the collector says; for orders that have to be witnessed. */
const pinnedNode = z.strictObject({ name: nodeName, key: witnessKey });

/** The manifest's key `witnesses`. */
export const witnessesWanted = z.strictObject({
  quorum: z
    .union(
      [z.enum(['majority', 'all', 'none']), z.int().min(1).max(1_000_000)],
      'expected majority, all, none or a number',
    )
    .default('majority'),
  outside: z.array(outsideWitness).max(limits.maxOutsideWitnesses).default([]),
  nodes: z.array(pinnedNode).max(limits.maxPinnedNodes).default([]),
});

export type ManifestWitnesses = z.infer<typeof witnessesWanted>;
/** Who witnesses the ledger beside the nodes that are enrolled, and how many have to. Pins are about orders alone. */
export type WitnessesWanted = Omit<ManifestWitnesses, 'nodes'>;
export type OutsideWitness = ManifestWitnesses['outside'][number];
export type PinnedNode = ManifestWitnesses['nodes'][number];
export type Quorum = WitnessesWanted['quorum'];

/** What holds without a manifest that says otherwise. */
export const defaultWitnesses: WitnessesWanted = { quorum: 'majority', outside: [] };

/**
 * How many of `witnesses` have to cosign. Without any witness nothing can be asked for, whatever the rule.
 * @throws AppError `state.conflict` for a number that there are not enough witnesses for.
 */
export function quorumSize(quorum: Quorum, witnesses: number): number {
  if (quorum === 'none') return 0;
  if (typeof quorum === 'number' && quorum > witnesses) {
    throw new AppError(
      'state.conflict',
      `the manifest wants ${quorum} cosignatures, but there are only ${witnesses} witnesses: enrol more nodes, or lower witnesses.quorum`,
      { details: { quorum, witnesses } },
    );
  }
  if (typeof quorum === 'number') return quorum;
  if (witnesses === 0) return 0;
  return quorum === 'all' ? witnesses : Math.floor(witnesses / 2) + 1;
}

/** The first two that share a key, by place: one witness may not count twice. */
export function repeatedWitness(
  witnesses: readonly Pick<OutsideWitness, 'key'>[],
): readonly [number, number] | undefined {
  const seen = new Map<string, number>();
  for (const [at, { key }] of witnesses.entries()) {
    const raw = rawKey(key);
    const before = seen.get(raw);
    if (before !== undefined) return [before, at];
    seen.set(raw, at);
  }
  return undefined;
}

/** The key material without name and id, which differ when one key is listed under two names. */
function rawKey(vkey: string): string {
  return /^[^+]*\+[^+]*\+(.*)$/su.exec(vkey)?.[1] ?? vkey;
}

function requireWitnessKey(text: string, context: z.RefinementCtx<string>): void {
  try {
    if (parseVerifierKey(text).type === signatureTypes.cosignatureV1) return;
    context.addIssue('expected a verifier key of type cosignature/v1 (04), not the key of a log');
  } catch (thrown) {
    context.addIssue(toAppError(thrown).message);
  }
}
