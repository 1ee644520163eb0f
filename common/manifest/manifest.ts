import { z } from 'zod';
import { limits } from '../limits.ts';
import { isPlainObject } from '../settings/schema.ts';
import { witnessesWanted } from '../witnesses.ts';
import { alerting } from './alerting.ts';
import { audit, provenance } from './audit.ts';
import type { ComposeContainer } from './compose.ts';
import { config, flux, rollback } from './config.ts';
import { container, node } from './container.ts';
import { contradictions } from './contradictions.ts';
import { governance } from './governance.ts';
import { keysOfSchema } from './known-keys.ts';
import { type Mistake, manifestError, schemaMistakes } from './mistake.ts';
import { pinWarnings } from './pins.ts';
import { type DriftRules, driftRules, withGrace } from './rules.ts';
import { plainValue, readSource, repeatedKeys, type Source, syntaxMistakes } from './source.ts';
import { freeForm } from './values.ts';
import { keyWarnings, takeEmptySections, type Warning } from './warnings.ts';
import { maintenanceWindows } from './windows.ts';

/** File name of the manifest at the root of the git repository. */
export const manifestFile = 'bloodline_manifest.yaml';

/** Everything a manifest may say. What of it has an effect, and what does not and why, is in `warnings.ts`. */
export const manifestSchema = z.strictObject({
  refinery: freeForm.optional(),
  nodes: z.array(node).default([]),
  config: config.prefault({}),
  flux: flux.prefault({}),
  containers: z.array(container).default([]),
  drift_rules: driftRules.prefault({}),
  rollback: rollback.prefault({}),
  audit: audit.prefault({}),
  provenance: provenance.prefault({}),
  health_checks: freeForm.optional(),
  alerting: alerting.prefault({}),
  maintenance_windows: maintenanceWindows.default([]),
  metadata: freeForm.optional(),
  witnesses: witnessesWanted.prefault({}),
  governance: governance.prefault({}),
});

/** A manifest without mistakes. Keys are named as in the file; periods are in milliseconds, and named so. */
export interface Manifest extends Omit<z.output<typeof manifestSchema>, 'drift_rules'> {
  readonly drift_rules: DriftRules;
  /** Of the compose files beside it. */
  readonly services: readonly ComposeContainer[];
  /** Keys that are there but not honoured, for the operator to know. */
  readonly warnings: readonly Warning[];
}

/** What became of a manifest: all of it, or everything that was found to be wrong, at least one thing. */
export type CheckedManifest =
  | { readonly ok: true; readonly manifest: Manifest }
  | { readonly ok: false; readonly first: Mistake; readonly mistakes: readonly Mistake[] };

/**
 * Reads a manifest.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column, reason }` (counted from 1) of the first
 *   mistake.
 */
export function parseManifest(text: string, file = manifestFile): Manifest {
  const checked = checkManifest(text, file);
  if (!checked.ok) throw manifestError(checked.first);
  return checked.manifest;
}

/**
 * Reads a manifest, and goes on after a mistake as far as that tells more. Mistakes are in the order of the file, up to
 * `limits.maxManifestMistakes`; `first` is the one that explains most: what is missing may be so because of another one.
 */
export function checkManifest(text: string, file = manifestFile): CheckedManifest {
  const source = readSource(text, file);
  const [broken, ...others] = syntaxMistakes(source);
  // What is left after a syntax error is anybody's guess.
  if (broken !== undefined) return { ok: false, first: broken, mistakes: [broken, ...others] };
  const plain = plainValue(source);
  if (!plain.ok) return { ok: false, first: plain.mistake, mistakes: [plain.mistake] };
  const emptied = isPlainObject(plain.value) ? takeEmptySections(source, plain.value) : [];
  const parsed = manifestSchema.safeParse(plain.value);
  const { wrong, missing } = parsed.success
    ? { wrong: [], missing: [] }
    : schemaMistakes(keysOfSchema(manifestSchema), source, plain.value, parsed.error);
  const repeated = repeatedKeys(source);
  const contradicted = contradictions(source, plain.value);
  const mistakes = [...repeated, ...wrong, ...missing, ...contradicted].sort(byPlace);
  const first = [repeated, [...wrong].sort(byPlace), missing, contradicted].flat()[0];
  if (first !== undefined) return { ok: false, first, mistakes: mistakes.slice(0, limits.maxManifestMistakes) };
  // Cannot be: whatever a schema finds becomes a mistake.
  if (!parsed.success) throw parsed.error;
  return { ok: true, manifest: finished(source, plain.value, parsed.data, emptied) };
}

function finished(
  source: Source,
  value: unknown,
  { drift_rules, ...others }: z.output<typeof manifestSchema>,
  emptied: readonly Warning[],
): Manifest {
  const warnings = [...emptied, ...keyWarnings(source, value), ...pinWarnings(source, value)].sort(
    (a, b) => a.line - b.line,
  );
  const rules = withGrace(drift_rules, others.config.grace_period_ms);
  return { ...others, drift_rules: rules, services: [], warnings };
}

function byPlace(a: Mistake, b: Mistake): number {
  return a.line - b.line || a.column - b.column;
}
