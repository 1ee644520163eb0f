import type { DriftKind } from '../../../common/drift-kind.ts';
import type { Severity } from '../alert.ts';
import type { RuleName } from '../catalog.ts';
import { counted, named } from '../named.ts';
import type { Rule } from './rule.ts';

/** Which alert tells of drifts of a kind. */
export const driftAlerts = {
  UNAUTHORIZED_CONTAINER: 'drift.unauthorized',
  MISSING_CONTAINER: 'drift.missing',
  IMAGE_DRIFT: 'drift.image',
  CONFIG_DRIFT: 'drift.config',
} as const satisfies Readonly<Record<DriftKind, RuleName>>;

interface DriftWords {
  readonly severity: Severity;
  readonly one: string;
  readonly many: string;
}

/** One alert for each node and kind, however many containers there are. */
function driftRule(kind: DriftKind, { severity, one, many }: DriftWords): Rule {
  const name = driftAlerts[kind];
  return {
    name,
    conditions: ({ drifts }) =>
      drifts
        .filter((lasting) => lasting.kind === kind)
        .map(({ node, count, containers }) => ({
          ...{ key: `${name}/${node}`, severity, node },
          summary: `on ${node}, ${counted(count, one, many)}: ${named(containers, count)}`,
        })),
  };
}

export const driftRules: readonly Rule[] = [
  driftRule('UNAUTHORIZED_CONTAINER', {
    severity: 'critical',
    one: 'a container runs that is not in the manifest',
    many: 'containers run that are not in the manifest',
  }),
  driftRule('MISSING_CONTAINER', {
    severity: 'error',
    one: 'a container that the manifest wants does not run',
    many: 'containers that the manifest wants do not run',
  }),
  driftRule('IMAGE_DRIFT', {
    severity: 'error',
    one: 'a container runs another image than the manifest says',
    many: 'containers run another image than the manifest says',
  }),
  driftRule('CONFIG_DRIFT', {
    severity: 'warning',
    one: 'a container is configured otherwise than the manifest says',
    many: 'containers are configured otherwise than the manifest says',
  }),
];
