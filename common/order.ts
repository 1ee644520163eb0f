import { hash } from 'node:crypto';
import { z } from 'zod';
import { canonicalText } from './canonical.ts';
import type { Drift } from './drift.ts';
import { driftKinds } from './drift-kind.ts';
import { foreignText, hex64, nodeName, ownText, timestamp } from './fields.ts';
import { limits } from './limits.ts';

/** What a node can be told to do. */
export const orderActions = ['terminate', 'restore', 'rollback', 'quarantine', 'release'] as const;
export type OrderAction = (typeof orderActions)[number];

/**
 * Who decided: `rule`, the manifest's answer to a drift; `operator`, a person; `local`, a node that was cut off and acts on the
 * standing rules by itself.
 */
export const orderOrigins = ['rule', 'operator', 'local'] as const;

/** An instruction to one node. Its name is its hash: see {@link orderHash}. */
export const orderSchema = z.strictObject({
  node: nodeName,
  action: z.enum(orderActions),
  /** Name of the container, without the leading slash. */
  container: foreignText,
  /** The one container that was seen under this name; null where there was none. */
  containerId: hex64.nullable(),
  /** What it answers, as it was when it was decided; null for an operator's own decision. */
  drift: z.strictObject({ id: foreignText, kind: z.enum(driftKinds), digest: hex64 }).nullable(),
  /** Of the manifest it was decided by. */
  commit: ownText,
  origin: z.enum(orderOrigins),
  /** The operator; for the other origins, the rule's key in the manifest. */
  by: ownText,
  reason: ownText,
  /** Signatures of approvers that it needs before any node obeys it. */
  approvals: z.int().min(0).max(limits.maxApprovals),
  issuedAt: timestamp,
  expiresAt: timestamp,
  /** 16 random bytes in hex, so that no two orders are one. */
  nonce: z.string().regex(/^[0-9a-f]{32}$/, '32 lower-case hex digits'),
  /**
   * What is to be made, by `restore` and `rollback`: see `wantedDigest` of `common/enforcement/wanted.ts`. Entries from before it
   * was there do not have it, and stay valid.
   */
  wanted: hex64.exactOptional(),
});

export type Order = z.infer<typeof orderSchema>;

/** What became of an order, in the words of its node. `verified` and `relapsed` are said of one that was executed before. */
export const orderOutcomes = ['executed', 'failed', 'refused', 'expired', 'verified', 'relapsed'] as const;
export type OrderOutcome = (typeof orderOutcomes)[number];

/** Where an order can stand. */
export const orderStatuses = ['requested', 'rejected', ...orderOutcomes] as const;
export type OrderStatus = (typeof orderStatuses)[number];

/** Hex SHA-256 of the order's canonical form: its name everywhere, and what approvers sign. */
export function orderHash(order: Order): string {
  return hash('sha256', canonicalText(order), 'hex');
}

/** The namespace (OpenSSH `PROTOCOL.sshsig`) of signatures that approve orders. */
export const approvalNamespace = 'sigilwatch-order';

/** What an approver signs, byte for byte: made so that the hash can be compared by eye. */
export function approvalText(hashOfOrder: string): string {
  return `sigilwatch order ${hashOfOrder}\n`;
}

/** A person's signature of {@link approvalText}, not yet verified. */
export const approvalSchema = z.strictObject({
  /** As in the `allowed_signers` file. */
  approver: ownText,
  /** As `ssh-keygen -Y sign` writes it. */
  signature: z.string().max(limits.maxApprovalChars),
});
export type Approval = z.infer<typeof approvalSchema>;

/**
 * Hex SHA-256 of what a drift is about. Whether the container has been started since, or how it ended, is left out: it is the
 * same drift, and an order for it stays true.
 */
export function driftDigest({ id, kind, container, containerId, differences }: Drift): string {
  const lasting = differences.map((difference) =>
    difference.field === 'state' ? { ...difference, observed: null } : difference,
  );
  // A container that is missing is nobody in particular.
  const whose = kind === 'MISSING_CONTAINER' ? null : containerId;
  return hash('sha256', canonicalText({ id, kind, container, containerId: whose, differences: lasting }), 'hex');
}
