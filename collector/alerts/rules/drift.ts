import type { DriftKind } from '../../../common/drift-kind.ts';
import type { Severity } from '../alert.ts';
import { counted, named } from '../named.ts';
import type { Rule } from './rule.ts';

/** One alert for each node and kind, however many containers there are. */
function driftRule(kind: DriftKind, name: string, severity: Severity, [one, many]: readonly [string, string]): Rule {
  return {
    ...{ name, severities: [severity] },
    title: `${many}, for longer than \`driftMs\``,
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
  driftRule('UNAUTHORIZED_CONTAINER', 'drift.unauthorized', 'critical', [
    'a container runs that the manifest does not know',
    'containers run that the manifest does not know',
  ]),
  driftRule('MISSING_CONTAINER', 'drift.missing', 'error', [
    'a container that the manifest wants does not run',
    'containers that the manifest wants do not run',
  ]),
  driftRule('IMAGE_DRIFT', 'drift.image', 'error', [
    'a container runs another image than the manifest says',
    'containers run another image than the manifest says',
  ]),
  driftRule('CONFIG_DRIFT', 'drift.config', 'warning', [
    'a container is configured otherwise than the manifest says',
    'containers are configured otherwise than the manifest says',
  ]),
];
