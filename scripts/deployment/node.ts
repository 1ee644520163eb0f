import { z } from 'zod';
import type { ReadyCollector } from './collector.ts';
import type { NodeRow } from './collector-side.ts';
import type { CommandLine } from './command-line.ts';
import type { Facts } from './facts.ts';
import { DeploymentError, reasonOf } from './failure.ts';
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
import { firstNodeSettings } from './settings.ts';

/** What came of a node. */
export type NodeOutcome =
  | { readonly state: 'up'; readonly version: string; readonly fingerprint: string; readonly reportIndex: number }
  | { readonly state: 'installed'; readonly version: string; readonly fingerprint: string }
  /** With what was there before, or without the program where nothing was. */
  | { readonly state: 'rolled-back'; readonly version: string | null; readonly reason: string }
  /** Nothing was changed, or it could not be put back, which the reason says. */
  | { readonly state: 'failed'; readonly reason: string };

export interface NodePlace extends Place {
  readonly node: string;
}

export interface NodeOptions {
  readonly releases: Releases;
  readonly options: CommandLine;
  readonly given: GivenFiles;
}

interface Plan {
  readonly release: Release;
  readonly facts: Facts;
  /** Undefined: those that are there. */
  readonly settings: string | undefined;
}

/** Brings a node up, or puts back what was there. Rejects never. */
export async function deployNode(
  place: NodePlace,
  collector: ReadyCollector,
  { releases, options, given }: NodeOptions,
): Promise<NodeOutcome> {
  try {
    place.say('looking');
    const facts = await lookAt(place, options);
    const release = await releases.for('sigilwatch-agent', facts.machine);
    requireNoDowngrade(facts, release);
    await requireOwn(place, facts, collector);
    const plan = { release, facts, settings: settingsFor(facts, release, collector, given) };
    const change = changeOf(facts, release, plan.settings);
    const untouched = !change.package && !change.settings;
    if (untouched && facts.active && facts.enrolment !== undefined) return await leaveAsItIs(place, collector, plan);
    if (change.package) await bring(place, release);
    return await bringUp(place, collector, plan, options);
  } catch (thrown) {
    return failed(place, reasonOf(thrown));
  }
}

function failed(place: NodePlace, reason: string): NodeOutcome {
  place.say(`FAILED: ${reason}`);
  return { state: 'failed', reason };
}

/** A node stays with the name and the collector that it has. */
async function requireOwn({ node }: NodePlace, { enrolment }: Facts, { side }: ReadyCollector): Promise<void> {
  if (enrolment === undefined) return;
  if (enrolment.node !== node) {
    throw new DeploymentError(`this machine is enrolled as ${enrolment.node}; name it so: ${enrolment.node}=HOST`);
  }
  const known = await side.row(node);
  if (known?.state === 'active') return;
  const why = known === undefined ? `with another collector (${enrolment.url})` : 'with a key that was revoked';
  throw new DeploymentError(`it is enrolled ${why}; to give that up, enroll it by hand with --force`);
}

function settingsFor(
  facts: Facts,
  release: Release,
  { authority }: ReadyCollector,
  { nodeSettings }: GivenFiles,
): string | undefined {
  if (nodeSettings !== undefined) return nodeSettings;
  return hasSettings(facts, release) ? undefined : firstNodeSettings(release.defaultSettings, authority);
}

async function leaveAsItIs(place: NodePlace, { side }: ReadyCollector, { release }: Plan): Promise<NodeOutcome> {
  const known = await side.row(place.node);
  if (known === undefined || known.report_index === null) {
    throw new DeploymentError('it runs, and has not reported to this collector');
  }
  place.say(`up already, version ${release.version}`);
  return up(release, known, known.report_index);
}

/** From the moment that the old program is stopped, everything that fails is undone. */
async function bringUp(
  place: NodePlace,
  collector: ReadyCollector,
  plan: Plan,
  options: CommandLine,
): Promise<NodeOutcome> {
  const { release, settings } = plan;
  await runThere(place, 'keep');
  try {
    if (changeOf(plan.facts, release, settings).package) {
      place.say(`installing ${release.version}`);
      await runThere(place, 'install');
    }
    if (collector.authority !== undefined) await writeSettings(place, 'collector-ca.pem', collector.authority, '0644');
    if (settings !== undefined) await writeSettings(place, 'agent.yaml', settings);
    const known = await enrolled(place, collector, plan.facts);
    const outcome = options.start
      ? await broughtUp(place, collector, { release, known, seconds: options.waitSeconds })
      : ({ state: 'installed', version: release.version, fingerprint: known.fingerprint } as const);
    if (!options.start) await runThere(place, 'resume');
    await runThere(place, 'done');
    place.say(outcome.state === 'up' ? `up, version ${release.version}, entry ${outcome.reportIndex}` : outcome.state);
    return outcome;
  } catch (thrown) {
    const reason = `${reasonOf(thrown)}${await lastWords(place)}`;
    return rollBack(place, collector, { reason, version: plan.facts.version ?? null, seconds: options.waitSeconds });
  }
}

const enrolment = z.object({ fingerprint: z.string(), logFingerprint: z.string() });

/** Each side is asked for both keys, over its own connection: what they say has to agree. @returns the node as the collector knows it */
async function enrolled(place: NodePlace, { side, url }: ReadyCollector, facts: Facts): Promise<NodeRow> {
  const { node } = place;
  if (facts.enrolment !== undefined) return knownRow(side, node);
  place.say('enrolling');
  const { token, log_fingerprint: logFingerprint } = await side.token(node);
  const said = enrolment.parse(JSON.parse(await runThere(place, 'enrol', { url, node }, { text: token })));
  const known = await knownRow(side, node);
  if (said.logFingerprint !== logFingerprint) {
    throw new DeploymentError(
      `the node has pinned the log key ${said.logFingerprint}, and the collector's is ${logFingerprint}`,
    );
  }
  if (said.fingerprint !== known.fingerprint) {
    throw new DeploymentError(`the node's key is ${said.fingerprint}, and the collector knows ${known.fingerprint}`);
  }
  place.say(`enrolled, key ${said.fingerprint}`);
  return known;
}

async function knownRow(side: ReadyCollector['side'], node: string): Promise<NodeRow> {
  const known = await side.row(node);
  if (known === undefined) throw new DeploymentError(`the collector knows no node ${node}`);
  return known;
}

interface Expected {
  readonly release: Release;
  /** Before this start. */
  readonly known: NodeRow;
  readonly seconds: number;
}

async function broughtUp(place: NodePlace, { side }: ReadyCollector, expected: Expected): Promise<NodeOutcome> {
  place.say('starting');
  await runThere(place, 'start');
  const { seconds, release, known } = expected;
  const row = await waitForReport(place.node, side, { before: known, seconds });
  if (row.fingerprint !== known.fingerprint)
    throw new DeploymentError(`its reports are signed by another key, ${row.fingerprint}`);
  if (!(await side.isProved(row.reportIndex))) {
    throw new DeploymentError(`its report, entry ${row.reportIndex}, is not proved by the ledger`);
  }
  return up(release, row, row.reportIndex);
}

interface Before {
  readonly before: NodeRow | undefined;
  readonly seconds: number;
}

/** One that was made after this start: what the outbox still held from before comes first. */
function waitForReport(node: string, side: ReadyCollector['side'], { before, seconds }: Before) {
  return waitFor(
    seconds,
    async () => {
      const row = await startedAfter(before, node, side);
      const reportIndex = row?.report_index ?? -1;
      return row !== undefined && reportIndex > row.startIndex ? { ...row, reportIndex } : undefined;
    },
    () => `no report of it reached the collector within ${seconds} s`,
  );
}

/** Its report may be a minute away; that it is there again is said at once. */
function waitForStart(node: string, side: ReadyCollector['side'], { before, seconds }: Before) {
  return waitFor(
    seconds,
    () => startedAfter(before, node, side),
    () => `it did not tell the collector within ${seconds} s that it has started`,
  );
}

async function startedAfter(before: NodeRow | undefined, node: string, side: ReadyCollector['side']) {
  const row = await side.row(node);
  const startIndex = row?.startIndex ?? -1;
  return row !== undefined && startIndex > (before?.startIndex ?? -1) ? { ...row, startIndex } : undefined;
}

/** However little time the new version was given: this one has run here before. */
const leastSecondsBack = 60;

interface Undo {
  readonly reason: string;
  /** That was there before. */
  readonly version: string | null;
  readonly seconds: number;
}

async function rollBack(place: NodePlace, { side }: ReadyCollector, undo: Undo): Promise<NodeOutcome> {
  const { reason, version } = undo;
  const seconds = Math.max(undo.seconds, leastSecondsBack);
  place.say(`did not come up, rolling back: ${reason}`);
  try {
    const before = await side.row(place.node).catch(() => undefined);
    const said = await runThere(place, 'roll-back');
    if (said.trim() === 'started') await waitForStart(place.node, side, { before, seconds });
  } catch (thrown) {
    return failed(place, `${reason}; and rolling back: ${reasonOf(thrown)}`);
  }
  place.say(version === null ? 'rolled back: removed, data kept' : `rolled back to ${version}, data kept`);
  return { state: 'rolled-back', version, reason };
}

function up({ version }: Release, { fingerprint }: NodeRow, reportIndex: number): NodeOutcome {
  return { state: 'up', version, fingerprint, reportIndex };
}
