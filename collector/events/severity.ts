import { alertSeverities, type Body, type Kind, kinds } from '../../common/kinds.ts';

export type Severity = (typeof alertSeverities)[number];

type Judged<K extends Kind> = {
  readonly of: (body: Body<K>) => Severity;
  /** The worst it can be. */
  readonly worst: Severity;
};

type Rule<K extends Kind> = Severity | Judged<K>;

const integrity = { ok: 'info', unchecked: 'warning', findings: 'error' } as const;

/** How grave an entry of each kind is: the same for all of them, or by what its body says. */
const rules: { readonly [K in Kind]: Rule<K> } = {
  'artifact.registered': 'info',
  'artifact.scored': 'info',
  'ledger.created': 'info',
  'ledger.equivocation': 'critical',
  'ledger.erased': 'info',
  'ledger.checked': {
    of: ({ status }) => (status === 'findings' ? 'critical' : integrity[status]),
    worst: 'critical',
  },
  'node.enrolled': 'info',
  'node.revoked': 'warning',
  'auth.event': 'info',
  'witness.gap': 'warning',
  'witness.fork': 'critical',
  'witness.released': 'warning',
  'order.issued': 'warning',
  'order.local': 'warning',
  'order.approved': 'info',
  'order.rejected': 'info',
  'order.result': {
    of: ({ outcome }) => orderSeverities[outcome],
    worst: 'error',
  },
  'enforcement.frozen': 'critical',
  'enforcement.released': 'info',
  'enforcement.requested': 'info',
  'enforcement.result': { of: ({ outcome }) => (outcome === 'failed' ? 'error' : 'info'), worst: 'error' },
  'enforcement.resolved': 'info',
  'alert.raised': { of: ({ severity }) => severity, worst: 'critical' },
  'alert.resolved': 'info',
  'alert.silenced': 'info',
  'alert.unsilenced': 'info',
  'alert.acknowledged': 'info',
  'drift.opened': 'warning',
  'drift.changed': 'warning',
  'drift.resolved': 'info',
  'drift.silenced': 'info',
  'drift.unsilenced': 'info',
  'change.announced': 'info',
  'agent.started': 'info',
  report: { of: ({ coverage }) => (coverage === 'observed' ? 'info' : 'warning'), worst: 'warning' },
  observed: 'info',
  'sigil.scan': 'info',
  'sigil.finding': 'error',
  'sigil.cleared': 'info',
  'sigil.accepted': 'info',
  'integrity.report': { of: ({ status }) => integrity[status], worst: 'error' },
  'desired.adopted': 'info',
  'desired.rejected': 'error',
  'coverage.gap': 'warning',
  'outbox.dropped': 'error',
  'outbox.recovered': 'error',
};

const orderSeverities = {
  executed: 'info',
  verified: 'info',
  refused: 'warning',
  expired: 'warning',
  relapsed: 'error',
  failed: 'error',
} as const;

/** How grave a statement is. */
export function severityOf<K extends Kind>({ kind, body }: { readonly kind: K; readonly body: Body<K> }): Severity {
  const rule: Rule<K> = rules[kind];
  return typeof rule === 'string' ? rule : rule.of(body);
}

/** The worst that an entry of this kind can be: what one counts as whose body is gone, so that no filter hides it. */
export function worstOf(kind: Kind): Severity {
  const rule = rules[kind];
  return typeof rule === 'string' ? rule : rule.worst;
}

/** Kinds of which an entry can be so grave. */
export function kindsAtLeast(least: Severity): readonly Kind[] {
  return kinds.filter((kind) => isAtLeast(worstOf(kind), least));
}

/** Whether `severity` is at least `least`. */
export function isAtLeast(severity: Severity, least: Severity): boolean {
  return alertSeverities.indexOf(severity) >= alertSeverities.indexOf(least);
}
