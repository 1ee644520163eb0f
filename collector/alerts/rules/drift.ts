import type { DriftKind } from '../../../common/drift-kind.ts';
import type { Severity } from '../alert.ts';
import { counted, named } from '../named.ts';
import type { Rule } from './rule.ts';

interface DriftWords extends Pick<Rule, 'name'> {
  readonly severity: Severity;
  readonly one: string;
  readonly many: string;
}

/** One alert for each node and kind, however many containers there are. */
function driftRule(kind: DriftKind, { name, severity, one, many }: DriftWords): Rule {
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
    ...{ name: 'drift.unauthorized', severity: 'critical' },
    one: 'a container runs that is not in the manifest',
    many: 'containers run that are not in the manifest',
  }),
  driftRule('MISSING_CONTAINER', {
    ...{ name: 'drift.missing', severity: 'error' },
    one: 'a container that the manifest wants does not run',
    many: 'containers that the manifest wants do not run',
  }),
  driftRule('IMAGE_DRIFT', {
    ...{ name: 'drift.image', severity: 'error' },
    one: 'a container runs another image than the manifest says',
    many: 'containers run another image than the manifest says',
  }),
  driftRule('CONFIG_DRIFT', {
    ...{ name: 'drift.config', severity: 'warning' },
    one: 'a container is configured otherwise than the manifest says',
    many: 'containers are configured otherwise than the manifest says',
  }),
];
