import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalText } from '../../common/canonical.ts';
import { entryHash, genesisHash, type LoggedEntry, parseEntry } from '../../common/entry.ts';
import type { Body } from '../../common/kinds.ts';
import { jsonLine, type RunningCollector } from '../system.ts';

/** What entries say, checked from outside: with the exported ledger alone, and none of the code that folds it. */

const exported = z.object({ index: z.number(), entry: z.string(), signature: z.string() });

/** All entries, as `ledger export` gives them away. */
export async function readLedger(collector: Pick<RunningCollector, 'cli'>, dir: string): Promise<LoggedEntry[]> {
  const file = join(dir, 'export.jsonl');
  const { exitCode, stderr } = await collector.cli('ledger', 'export', '--output', file);
  assert.equal(exitCode, 0, stderr);
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n').slice(0, -1);
  await rm(file);
  return lines.map((line) => {
    const { index, entry, signature } = exported.parse(JSON.parse(line));
    const bytes = Buffer.from(entry, 'utf8');
    return { index, bytes, signature: Buffer.from(signature, 'base64'), entry: parseEntry(bytes) };
  });
}

/** @throws unless `ledger verify` finds everything in order. */
export async function assertVerified(collector: Pick<RunningCollector, 'cli'>, ...args: readonly string[]) {
  const { exitCode, stdout, stderr } = await collector.cli('--json', 'ledger', 'verify', ...args);
  assert.equal(exitCode, 0, stdout + stderr);
  const said = jsonLine(stdout);
  assert.equal(said?.verified, true, stdout);
  return said;
}

/** The author chains, by author. @throws unless each is numbered from 1 without gaps and linked, in the order of the ledger. */
export function chainsOf(entries: readonly LoggedEntry[]): ReadonlyMap<string, readonly LoggedEntry[]> {
  const chains = new Map<string, LoggedEntry[]>();
  entries.forEach((logged, at) => {
    assert.equal(logged.index, at, 'indexes are those of the lines');
    const { author, seq, prev } = logged.entry;
    const chain = chains.get(author) ?? [];
    const before = chain.at(-1);
    assert.equal(seq, chain.length + 1, `${author}: entry ${seq} comes after ${chain.length}`);
    assert.equal(prev, before === undefined ? genesisHash : entryHash(before.bytes), `${author}/${seq} links back`);
    chain.push(logged);
    chains.set(author, chain);
  });
  return chains;
}

/** What stands by an author's word so far. */
interface Standing {
  readonly containers: Map<string, string>;
  readonly drifts: Map<string, string>;
  readonly findings: Set<string>;
  commit: string | null;
  /** Start of the next scan interval to be accounted for, Unix milliseconds. */
  nextSlot: number | undefined;
  /** Reports that a full disk has left unsaid since: so many intervals, at most, may be missing next. */
  droppedReports: number;
  baselines: number;
}

/**
 * @throws when a node said something twice, took back what it never said, or left a scan interval without a report or
 *   a gap, or with both.
 */
export function assertSaidOnce(chain: readonly LoggedEntry[], intervalMs: number): void {
  const standing: Standing = {
    containers: new Map(),
    drifts: new Map(),
    findings: new Set(),
    commit: null,
    nextSlot: undefined,
    droppedReports: 0,
    baselines: 0,
  };
  for (const { entry } of chain) {
    const where = `${entry.author}/${entry.seq} ${entry.kind} of ${entry.at}`;
    hear(standing, entry, { where, intervalMs });
  }
  assert.equal(standing.baselines, 1, 'the account begins once');
}

interface Hearing {
  readonly where: string;
  readonly intervalMs: number;
}

function hear(standing: Standing, said: LoggedEntry['entry'], { where, intervalMs }: Hearing): void {
  const { drifts, findings } = standing;
  switch (said.kind) {
    case 'observed':
      hearObserved(standing, said.body, where);
      return;
    case 'drift.opened':
    case 'drift.changed': {
      const { drift } = said.body;
      const text = canonicalText(drift);
      assert.equal(drifts.has(drift.id), said.kind === 'drift.changed', `${where}: ${drift.id}`);
      assert.notEqual(drifts.get(drift.id), text, `${where}: nothing has changed`);
      drifts.set(drift.id, text);
      return;
    }
    case 'drift.resolved':
      assert.ok(drifts.delete(said.body.id), `${where}: ${said.body.id} was not open`);
      return;
    case 'sigil.finding': {
      const id = `${said.body.store}/${said.body.finding.id}`;
      assert.ok(!findings.has(id), `${where}: ${id} is open already`);
      findings.add(id);
      return;
    }
    case 'sigil.cleared':
      assert.ok(findings.delete(`${said.body.store}/${said.body.id}`), `${where}: ${said.body.id} was not open`);
      return;
    case 'desired.adopted':
      assert.notEqual(said.body.commit, standing.commit, `${where}: adopted already`);
      standing.commit = said.body.commit;
      return;
    case 'coverage.gap':
      hearGap(standing, said.body, { where, intervalMs });
      return;
    case 'outbox.dropped':
      standing.droppedReports += said.body.kinds.report ?? 0;
      return;
    case 'report':
      assert.ok(
        standing.nextSlot === undefined || isInTurn(standing, said.body.minute, intervalMs),
        `${where}: in turn`,
      );
      goOnFrom(standing, Date.parse(said.body.minute) + intervalMs);
      return;
    default:
  }
}

/** @param at where the interval begins. */
function isInTurn({ nextSlot, droppedReports }: Standing, at: string, intervalMs: number): boolean {
  const missing = (Date.parse(at) - (nextSlot ?? Number.NaN)) / intervalMs;
  return Number.isInteger(missing) && missing >= 0 && missing <= droppedReports;
}

function goOnFrom(standing: Standing, slot: number): void {
  standing.nextSlot = slot;
  standing.droppedReports = 0;
}

function hearGap(standing: Standing, { from, to, reason }: Body<'coverage.gap'>, { where, intervalMs }: Hearing): void {
  if (isInTurn(standing, from, intervalMs)) goOnFrom(standing, Date.parse(to));
  // Told beside the reports of these intervals, which say the same.
  else {
    const ended = new Date(standing.nextSlot ?? Number.NaN);
    assert.equal(
      reason,
      'engine-down',
      `${where}: a gap from ${from} begins where reports ended, at ${ended.toJSON()}`,
    );
  }
}

function hearObserved(standing: Standing, { baseline, removed, upserted }: Body<'observed'>, where: string): void {
  const { containers } = standing;
  if (baseline) {
    standing.baselines += 1;
    containers.clear();
  }
  for (const id of removed) assert.ok(containers.delete(id), `${where}: ${id} was not there`);
  for (const container of upserted) {
    const text = canonicalText(container);
    assert.notEqual(containers.get(container.id), text, `${where}: ${container.name} has not changed`);
    containers.set(container.id, text);
  }
}
