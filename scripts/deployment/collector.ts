import { makeCertificate } from './certificate.ts';
import { type CollectorSide, collectorSide } from './collector-side.ts';
import type { CommandLine } from './command-line.ts';
import { DeploymentError } from './failure.ts';
import type { GivenFiles } from './given.ts';
import {
  bring,
  changeOf,
  hasSettings,
  lastWords,
  lookAt,
  type Place,
  requireNoDowngrade,
  runThere,
  waitFor,
  writeSettings,
} from './machinery.ts';
import type { Release, Releases } from './packages.ts';
import { type Addresses, addressesOf, firstCollectorSettings } from './settings.ts';

/** A collector that answers, for nodes to join. */
export interface ReadyCollector {
  readonly side: CollectorSide;
  readonly version: string;
  readonly url: string;
  /** PEM that nodes check its certificate by; undefined: the authorities of their systems. */
  readonly authority: string | undefined;
}

/**
 * Installs or upgrades the collector and waits until it is ready. An upgrade is not taken back: what it did to the database stays done.
 * @throws DeploymentError; no node has been touched then
 */
export async function deployCollector(
  place: Place,
  releases: Releases,
  { options, given }: { readonly options: CommandLine; readonly given: GivenFiles },
): Promise<ReadyCollector> {
  place.say('looking');
  const facts = await lookAt(place, options);
  const release = await releases.for('sigilwatch-collector', facts.machine);
  requireNoDowngrade(facts, release);
  const first = given.collectorSettings === undefined && !hasSettings(facts, release);
  const settings = first ? firstCollectorSettings(place.remote.machine.host) : given.collectorSettings;
  const change = changeOf(facts, release, settings);
  if (change.package) await installThere(place, release);
  if (first) await giveCertificate(place);
  if (settings !== undefined && change.settings) await writeSettings(place, 'collector.yaml', settings);
  const side = collectorSide(place.remote, place.program);
  const addresses = addressesOf(await side.run('config'), place.remote.machine.host);
  if (options.start) {
    if (change.package || change.settings || !facts.active) {
      place.say('starting');
      await runThere(place, 'start');
    }
    await waitUntilItAnswers(place, side, addresses, options.waitSeconds);
  }
  place.say(options.start ? `ready, version ${release.version}` : 'installed');
  return {
    side,
    version: release.version,
    url: urlFor(addresses, options),
    authority: given.authority ?? (await authorityOf(side)),
  };
}

async function installThere(place: Place, release: Release): Promise<void> {
  await bring(place, release);
  place.say(`installing ${release.version}`);
  await runThere(place, 'install');
  await runThere(place, 'done');
}

/** The key stays with the collector's group, and the certificate is for everybody, nodes as their authority. */
async function giveCertificate(place: Place): Promise<void> {
  const { certificate, key } = await makeCertificate(place.remote.machine.host);
  await writeSettings(place, 'collector.key.pem', key);
  await writeSettings(place, 'collector.pem', certificate, '0644');
  await writeSettings(place, 'collector-ca.pem', certificate, '0644');
}

async function waitUntilItAnswers(
  place: Place,
  side: CollectorSide,
  { own }: Addresses,
  seconds: number,
): Promise<void> {
  let said = '';
  const ask = async () => {
    said = (await side.run('ready', { url: `${own}/health` })).trim();
    return said.startsWith('200 ') ? true : undefined;
  };
  const missing = () => `the collector does not answer after ${seconds} s: ${said}`;
  await waitFor(seconds, ask, missing).catch(async (thrown: unknown) => {
    if (!(thrown instanceof DeploymentError)) throw thrown;
    throw new DeploymentError(`${thrown.message}${await lastWords(place)}`);
  });
}

function urlFor({ nodes }: Addresses, { url }: CommandLine): string {
  const found = url ?? nodes;
  if (found !== undefined) return found;
  throw new DeploymentError(
    'the collector serves its own machine only (http.host); change its settings, or say by --url where nodes reach it',
  );
}

async function authorityOf(side: CollectorSide): Promise<string | undefined> {
  const text = await side.run('authority');
  return text === '' ? undefined : text;
}
