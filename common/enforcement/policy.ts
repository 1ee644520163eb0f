import { onlyMountedFiles } from '../config-drift.ts';
import type { Drift } from '../drift.ts';
import { type DriftKind, driftKinds } from '../drift-kind.ts';
import { ruleOf } from '../manifest/compile.ts';
import type { EnforcementMode } from '../manifest/config.ts';
import type { Governance } from '../manifest/governance.ts';
import type { Manifest } from '../manifest/manifest.ts';
import type { Window } from '../manifest/windows.ts';
import type { Order, OrderAction } from '../order.ts';
import { type OrderWitnesses, orderWitnesses } from './order-witnesses.ts';

/** The manifest's answer to one kind of drift. */
export interface DriftAnswer {
  /** The rule's key in the manifest. */
  readonly rule: string;
  /** Undefined where drift is put on record and no more. */
  readonly action: OrderAction | undefined;
  /** How long the drift has to stand first. */
  readonly graceMs: number;
}

/** What a manifest says about orders: all that a node and its collector judge them by. */
export interface EnforcementPolicy {
  readonly mode: EnforcementMode;
  readonly answers: Readonly<Record<DriftKind, DriftAnswer>>;
  readonly windows: readonly Window[];
  /** Whether rollbacks go without approval. */
  readonly automaticRollback: boolean;
  /** Whether operators may order what no rule asks for. */
  readonly manualOrders: boolean;
  readonly governance: Governance;
  readonly rollback: RollbackPolicy;
  /** Who has to have seen an order in the ledger before a node obeys it; undefined where that is nobody. */
  readonly witnesses: OrderWitnesses | undefined;
}

/** How containers are replaced. */
export interface RollbackPolicy {
  /** Attempts after the first that failed. */
  readonly maxRetries: number;
  readonly retryDelayMs: number;
  /** How long a container that was replaced is kept, stopped and renamed; undefined for not at all. */
  readonly keptMs: number | undefined;
}

/** Reads the policy out of a manifest. Pure. */
export function enforcementPolicy(manifest: Manifest): EnforcementPolicy {
  const { config, rollback } = manifest;
  return {
    mode: config.enforcement_mode,
    answers: {
      UNAUTHORIZED_CONTAINER: ruleFor('UNAUTHORIZED_CONTAINER', manifest),
      MISSING_CONTAINER: ruleFor('MISSING_CONTAINER', manifest),
      IMAGE_DRIFT: ruleFor('IMAGE_DRIFT', manifest),
      CONFIG_DRIFT: ruleFor('CONFIG_DRIFT', manifest),
    },
    windows: manifest.maintenance_windows,
    automaticRollback: config.auto_rollback,
    manualOrders: config.allow_manual_overrides,
    governance: manifest.governance,
    witnesses: orderWitnesses(manifest),
    rollback: {
      maxRetries: rollback.max_retries,
      retryDelayMs: rollback.retry_delay_ms,
      keptMs: rollback.backup_before_rollback ? rollback.backup_retention_ms : undefined,
    },
  };
}

const actions = {
  terminate: 'terminate',
  quarantine: 'quarantine',
  recreate: 'restore',
  rollback: 'rollback',
  alert: undefined,
  ignore: undefined,
} as const;

function ruleFor(kind: DriftKind, { drift_rules, rollback }: Manifest): DriftAnswer {
  const { action: said, grace_period_ms } = drift_rules[ruleOf[kind]];
  const action = actions[said];
  const isOff = action === 'rollback' && !rollback.enabled;
  return { rule: `drift_rules.${ruleOf[kind]}`, action: isOff ? undefined : action, graceMs: grace_period_ms };
}

/**
 * What the manifest answers to a drift; undefined where it puts it on record and no more, and where no order could mend it: a container
 * that is made anew has the same files mounted.
 */
export function answerTo({ answers }: EnforcementPolicy, { kind, differences }: Drift): OrderAction | undefined {
  return onlyMountedFiles(differences) ? undefined : answers[kind].action;
}

/** Kinds of drift whose rules ask for this action. */
export function kindsAnsweredBy(policy: EnforcementPolicy, action: OrderAction): readonly DriftKind[] {
  return driftKinds.filter((kind) => policy.answers[kind].action === action);
}

/**
 * Signatures that an order needs at least. A person who decides has to sign, or whoever owns the collector could decide in
 * everybody's name; the same holds where the manifest wants somebody to agree first: `passive` mode, and rollbacks without
 * `auto_rollback`.
 */
export function approvalsNeeded(
  policy: EnforcementPolicy,
  { action, origin }: Pick<Order, 'action' | 'origin'>,
): number {
  const asked = policy.governance.approvals[action];
  const agreed = policy.mode === 'passive' || (action === 'rollback' && !policy.automaticRollback);
  return Math.max(asked, origin === 'operator' || agreed ? 1 : 0);
}
