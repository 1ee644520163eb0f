import { setTimeout as pause } from 'node:timers/promises';
import { isLater } from '../../common/data-version.ts';
import type { ProgramPackage } from '../packaging/programs.ts';
import { type Facts, readFacts } from './facts.ts';
import { DeploymentError } from './failure.ts';
import { type Release, sumOfText } from './packages.ts';
import { type ScriptName, scriptFor, type Values } from './scripts.ts';
import type { Input, Remote } from './ssh.ts';

/** One program on one machine, and whoever is told how far it is. */
export interface Place {
  readonly remote: Remote;
  readonly program: ProgramPackage;
  say(step: string): void;
}

export interface Change {
  readonly package: boolean;
  readonly settings: boolean;
}

export async function runThere({ remote, program }: Place, name: ScriptName, values: Values = {}, input?: Input) {
  return remote.run(await scriptFor(program, name, values), input);
}

/** @throws DeploymentError when nothing may be done there */
export async function lookAt(place: Place, { start }: { readonly start: boolean }): Promise<Facts> {
  const facts = readFacts(await runThere(place, 'facts'));
  if (facts.deb) {
    throw new DeploymentError(`${place.program.name} is installed as a .deb there; upgrade it with apt`);
  }
  if (start && facts.manager === 'none') {
    throw new DeploymentError(
      'no systemd runs there, and there is no /etc/sigilwatch/service that starts programs; put one there, or say --no-start',
    );
  }
  return facts;
}

/** @throws DeploymentError for a version that is later than the one to be installed: nothing has been touched then */
export function requireNoDowngrade({ version }: Facts, release: Pick<Release, 'version'>): void {
  if (version === undefined || !isLater(version, release.version)) return;
  throw new DeploymentError(
    `version ${version} is installed there, and ${release.version} is the latest among the packages: an earlier version may not understand its data`,
  );
}

/**
 * Whether settings have been chosen: those that an installation has put there, and that no program has run with yet, are as good as none.
 * A run that was interrupted leaves them.
 */
export function hasSettings(
  { settings, begun }: Facts,
  { defaultSettings }: Pick<Release, 'defaultSettings'>,
): boolean {
  return settings !== undefined && (begun || settings !== sumOfText(defaultSettings));
}

/** Settings of undefined are left as they are. */
export function changeOf(facts: Facts, release: Pick<Release, 'manifest'>, settings: string | undefined): Change {
  return {
    package: facts.unfinished || facts.manifest !== release.manifest,
    settings: settings !== undefined && facts.settings !== sumOfText(settings),
  };
}

/** Copies the package, and lets it be checked there by its sum. Nothing that runs is touched. */
export async function bring(place: Place, { file, bytes, sha256 }: Release): Promise<void> {
  place.say(`copying ${(bytes / 1e6).toFixed(1)} MB`);
  await runThere(place, 'copy', { sum: sha256 }, { file });
}

export async function writeSettings(place: Place, to: string, text: string, mode = '0640'): Promise<void> {
  await runThere(place, 'settings', { to, mode }, { text });
}

/** The last lines of its log, for whoever has to find out why. */
export async function lastWords(place: Place): Promise<string> {
  const said = await runThere(place, 'log').catch(() => '');
  return said.trim() === '' ? '' : `; its last words: ${said.trim().replaceAll(/\s*\n\s*/g, ' | ')}`;
}

const pauseMs = 1_000;

/** Asks until there is an answer. @throws DeploymentError with `missing()` after that many seconds */
export async function waitFor<T>(
  seconds: number,
  ask: () => Promise<T | undefined>,
  missing: () => string,
): Promise<T> {
  const endMs = performance.now() + seconds * 1_000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > endMs) throw new DeploymentError(missing());
    await pause(pauseMs);
  }
}
