import { amount } from '../../common/amount.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { ruleOf } from '../../common/manifest/compile.ts';
import type { EnforcementMode } from '../../common/manifest/config.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import { formatPeriod } from '../../common/manifest/values.ts';
import { formatWarning } from '../../common/manifest/warnings.ts';
import { dayNames, type Window } from '../../common/manifest/windows.ts';
import { printable } from '../../common/printable.ts';
import type { WantedByManifest, WantedOnNode } from './manifest-wanted.ts';
import { formatTable } from './table.ts';

/** What a manifest would have run, its rules and its warnings, for people; every line with its end. */
export function manifestLines(wanted: WantedByManifest): readonly string[] {
  const { manifest, on_node } = wanted;
  const warnings = manifest.warnings.length;
  const containers = amount(manifest.containers.length + manifest.services.length, 'container');
  const nodes = wanted.nodes.length === 0 ? '' : ` for ${amount(wanted.nodes.length, 'node')}`;
  return [
    line(`in order: ${wanted.file} wants ${containers}${nodes}; ${amount(warnings, 'warning')}`),
    ...part('wanted', countLines(wanted)),
    ...(on_node === null ? [] : part(`wanted on ${on_node.node}`, containerLines(on_node))),
    ...part(`rules${modeWords[manifest.config.enforcement_mode]}`, ruleLines(manifest)),
    ...part('maintenance windows', manifest.maintenance_windows.map(windowLine)),
    ...part(
      'warnings',
      manifest.warnings.map((warning) => line(formatWarning(warning))),
    ),
  ];
}

function part(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [line(''), line(title), ...lines.map((text) => `  ${text}`)];
}

function line(text: string): string {
  return `${printable(text)}\n`;
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  return formatTable(rows).split(/(?<=\n)/);
}

function countLines({ nodes, everywhere, not_watched }: WantedByManifest): readonly string[] {
  const rows = nodes.map(({ node, containers }) => [node, amount(containers, 'container')]);
  return [
    ...(rows.length === 0 ? [] : columns(rows)),
    ...(everywhere === 0 ? [] : [line(`on every node: ${everywhere}${nodes.length === 0 ? '' : ', counted at each'}`)]),
    ...(not_watched === 0 ? [] : [line(`not looked for, since only Docker is watched: ${not_watched}`)]),
    ...(rows.length === 0 && everywhere + not_watched === 0 ? [line('nothing')] : []),
  ];
}

function containerLines({ containers }: WantedOnNode): readonly string[] {
  if (containers.length === 0) return [line('nothing')];
  return columns(
    containers.map(({ name, image, image_sha, config }) => {
      const said = Object.keys(config).join(', ');
      return [name, image, image_sha ?? 'any image of that name', said === '' ? '' : `also: ${said}`];
    }),
  );
}

const subjects: Readonly<Record<DriftKind, string>> = {
  UNAUTHORIZED_CONTAINER: 'a container that is not wanted',
  MISSING_CONTAINER: 'a wanted container that does not run',
  IMAGE_DRIFT: 'another image than wanted',
  CONFIG_DRIFT: 'another configuration than wanted',
};

const modeWords: Readonly<Record<EnforcementMode, string>> = {
  active: '',
  passive: ' (in passive mode every order waits for a signature)',
  audit: ' (in audit mode drift is put on record, and nothing is done about it)',
};

function ruleLines(manifest: Manifest): readonly string[] {
  const { config, drift_rules, witnesses } = manifest;
  const { exceptions } = drift_rules.unauthorized_containers;
  const { answers } = enforcementPolicy(manifest);
  const outside = witnesses.outside.length === 0 ? '' : `, ${amount(witnesses.outside.length, 'outside witness key')}`;
  const rows = driftKinds.map((kind) => {
    const { action, grace_period_ms } = drift_rules[ruleOf[kind]];
    const except =
      kind === 'UNAUTHORIZED_CONTAINER' && exceptions.length > 0 ? `, except ${exceptions.join(', ')}` : '';
    const patches =
      kind === 'IMAGE_DRIFT' && drift_rules.image_drift.allow_newer_patches ? ', except newer patches' : '';
    const isOff = action === 'rollback' && answers[kind].action === undefined;
    const words = isOff ? 'is put on record: rollback.enabled is not set' : actionWords(action, grace_period_ms);
    return [subjects[kind], `${words}${except}${patches}`];
  });
  return [
    ...(config.drift_detection ? columns(rows) : [line('drift is not looked for: config.drift_detection is false')]),
    line(`enforcement mode ${config.enforcement_mode}`),
    line(`witnesses: quorum ${witnesses.quorum}${outside}`),
  ];
}

function actionWords(action: string, graceMs: number): string {
  if (action === 'ignore') return 'is ignored';
  if (action === 'alert') return 'is put on record';
  return `${action}, once it has stood for ${formatPeriod(graceMs)}`;
}

function windowLine({ name, days, start_minute, end_minute, ...window }: Window): string {
  const when = days.length === dayNames.length ? 'daily' : days.join(', ');
  const next = end_minute <= start_minute ? ' (the next day)' : '';
  const span = `${when} ${clock(start_minute)} to ${clock(end_minute)}${next} ${window.timezone}`;
  const means = [
    ...(window.disable_auto_rollback && !window.allow_drift ? ['nothing is rolled back automatically'] : []),
    ...(window.allow_drift ? ['nothing is done automatically'] : []),
  ];
  return line(`${name}: ${span}: ${means.join(', ') || 'changes nothing'}`);
}

function clock(minute: number): string {
  const two = (part: number) => String(part).padStart(2, '0');
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}
