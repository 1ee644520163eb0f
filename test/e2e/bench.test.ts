import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { z } from 'zod';
import { readCommandLine } from '../../scripts/benches/command-line.ts';
import { fromSource } from '../from-source.ts';
import { jsonLine, projectRoot, removeLeftovers, runCommand, startProgram } from '../system.ts';

const measured = z.object({
  bench: z.literal('detect'),
  p50_ms: z.number().positive(),
  p99_ms: z.number().positive(),
  bare_p50_ms: z.number().positive(),
  limit_p99_ms: z.literal(100),
  runs: z.literal(2),
  containers: z.literal(10),
  engine: z.enum(['docker', 'simulated']),
});

const compared = z.object({
  bench: z.literal('drift'),
  ms_1000: z.number(),
  parse_ms: z.number(),
  inspect_ms: z.number(),
  containers: z.literal(200),
  drifts: z.literal(20),
});

const appended = z.object({
  bench: z.literal('ledger-append'),
  ratio: z.number().positive(),
  entries_per_s: z.number().positive(),
  verified_ratio: z.number().positive(),
  ack_p50_ms: z.number().positive(),
  ack_p99_ms: z.number().positive(),
  agent_ack_p99_ms: z.number().positive(),
  growth_1m: z.number().positive(),
  tables_ratio: z.number().positive(),
  threads_ratio: z.number().positive(),
  append_per_s: z.number().positive(),
  sessions: z.literal(8),
  entries: z.literal(2_000),
  acks: z.number().int().positive(),
});

const verified = z.object({
  bench: z.literal('ledger-verify'),
  ratio: z.number().positive(),
  ratio_copy: z.number().positive(),
  signed_per_s_core: z.number().positive(),
  signed_per_s_core_with_database: z.number().positive(),
  signatures_alone_per_s_core: z.number().positive(),
  limit_ratio: z.literal(0.6),
  limit_signed_per_s_core: z.literal(8_000),
  entries: z.number().int(),
  runs: z.literal(2),
  kept: z.boolean(),
});

const scanned = z.object({
  bench: z.literal('sigil-scan'),
  ratio_raw: z.number().positive(),
  ratio_plain: z.number().positive(),
  speedup_2: z.number().positive(),
  incremental_cpu_ratio: z.number().positive().max(1),
  rss_over_idle_mb: z.number().nonnegative(),
  records: z.literal(2_000),
  runs: z.literal(1),
});

const loaded = z.object({
  bench: z.literal('snapshot-load'),
  ratio: z.number().positive(),
  ratio_minutely: z.number().positive().max(1),
  lost_ms: z.number().nonnegative(),
  alone_per_s: z.number().positive(),
  watched_per_s: z.number().positive(),
  snapshot_cpu_ms: z.number().positive(),
  snapshot_every_ms: z.literal(1_000),
  snapshots: z.literal(2),
  limit_ratio: z.literal(0.95),
  runs: z.literal(1),
});

const drained = z.object({
  bench: z.literal('fleet'),
  drain_s: z.number().positive(),
  duplicates: z.literal(0),
  missing: z.literal(0),
  other_heads: z.literal(0),
  verified: z.literal(true),
  rss_mb: z.number().positive(),
  ack_p99_ms: z.number().positive(),
  agents: z.literal(20),
  steady_reports: z.literal(20),
  waiting_reports: z.literal(100),
  /** Of each node, that it has started, what runs, and its reports. */
  entries: z.literal(20 * (2 + 1 + 5)),
});
const fleetDeadlineMs = 5 * 60_000;

function bench(...args: readonly string[]) {
  const command = [...fromSource(join(projectRoot, 'scripts/benches/main.ts')), ...args];
  return runCommand({
    name: `bench ${args.join(' ')}`,
    command: process.execPath,
    args: command,
    deadlineMs: 5 * 60_000,
  });
}

describe('the benches', () => {
  after(removeLeftovers);

  test('a command line that makes no sense is answered with the list of benches', async () => {
    const { exitCode, stdout, stderr } = await bench('nonsense');
    assert.equal(exitCode, 2);
    assert.equal(stdout, '');
    for (const name of [
      'detect',
      'agent-footprint',
      'drift',
      'fleet',
      'ledger-append',
      'ledger-verify',
      'sigil-scan',
      'snapshot-load',
    ])
      assert.match(stderr, new RegExp(`^ {2}${name} `, 'm'));
  });

  for (const args of [[], ['detect', 'detect'], ['detect', '--runs', 'many'], ['detect', '--nonsense']]) {
    test(`"${args.join(' ')}" makes no sense`, () =>
      assert.equal(
        readCommandLine(args, () => {}),
        undefined,
      ));
  }

  test('"detect --runs 2" does', () => assert.equal(readCommandLine(['detect', '--runs', '2'], () => {})?.runs, 2));

  test('detect measures from real events to the ledger, with its peer, and ends with one line of JSON', async () => {
    const { exitCode, stdout, stderr } = await bench('detect', '--runs', '2', '--records', '10', '--json');
    assert.equal(exitCode, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    const figures = measured.parse(jsonLine(lines.at(-1) ?? ''));
    assert.ok(figures.p50_ms <= figures.p99_ms);
    assert.ok(figures.bare_p50_ms < figures.p50_ms, 'whoever only reads the event cannot be slower');
    assert.match(lines[0] ?? '', /^From the engine's start event/);
  });

  test('drift compares what it says, and finds what differs', async () => {
    const { exitCode, stdout, stderr } = await bench('drift', '--runs', '3', '--records', '200', '--json');
    assert.equal(exitCode, 0, stderr);
    const figures = compared.parse(jsonLine(stdout.trimEnd().split('\n').at(-1) ?? ''));
    assert.ok(figures.ms_1000 > 0 && figures.parse_ms > 0 && figures.inspect_ms > 0);
    assert.ok(stdout.includes('≤ 50 ms'));
  });

  test('ledger-append measures all five figures against real PostgreSQL and a built collector', async () => {
    const small = ['--runs', '1', '--seconds', '1', '--records', '2000'];
    const { exitCode, stdout, stderr } = await bench('ledger-append', ...small, '--json');
    assert.equal(exitCode, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    const figures = appended.parse(jsonLine(lines.at(-1) ?? ''));
    assert.ok(figures.ack_p50_ms <= figures.ack_p99_ms);
    assert.ok(figures.entries_per_s < figures.append_per_s, 'whoever checks signatures too cannot be faster');
    for (const limit of ['≥ 0.6', '≥ 0.7', '≤ 50 ms', '≤ 1.2']) assert.ok(stdout.includes(limit), limit);
  });

  test('fleet loses and doubles nothing of what agents say that are given up and come back at once', async () => {
    const script = fromSource(join(projectRoot, 'scripts/benches/main.ts'));
    const args = [...script, 'fleet', '--agents', '20', '--seconds', '2', '--records', '5', '--json'];
    // The collector gives silent agents up after almost half a minute.
    const program = startProgram({ name: 'bench fleet', command: process.execPath, args });
    const measured = (line: string) => (line.startsWith('{"bench"') ? jsonLine(line) : undefined);
    const figures = drained.parse(await program.find('its figures', measured, fleetDeadlineMs));
    assert.equal(figures.entries, figures.steady_reports + figures.waiting_reports + 2 * figures.agents);
    const shown = program.logs().join('\n');
    for (const limit of ['≤ 300 s', '≤ 512 MB', '≤ 0']) assert.ok(shown.includes(limit), limit);
  });

  test('ledger-verify measures both figures and their peers, all on the same entries', async () => {
    const { exitCode, stdout, stderr } = await bench('ledger-verify', '--runs', '2', '--records', '2000', '--json');
    assert.equal(exitCode, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    const figures = verified.parse(jsonLine(lines.at(-1) ?? ''));
    assert.ok(figures.entries >= 2000);
    assert.ok(figures.signed_per_s_core_with_database <= figures.signed_per_s_core);
    for (const limit of ['≥ 0.6', '≥ 8000 entries/s']) assert.ok(stdout.includes(limit), limit);
  });

  test('sigil-scan reads the same store in every way, and after a change what has changed', async () => {
    const { exitCode, stdout, stderr } = await bench('sigil-scan', '--runs', '1', '--records', '2000', '--json');
    assert.equal(exitCode, 0, stderr);
    scanned.parse(jsonLine(stdout.trimEnd().split('\n').at(-1) ?? ''));
    for (const limit of ['≥ 0.45', '≥ 3', '≥ 1.5', '≤ 0.02', '≤ 64 MB']) assert.ok(stdout.includes(limit), limit);
  });

  test('snapshot-load lets a writer write with snapshots and without, in turns', async () => {
    const { exitCode, stdout, stderr } = await bench('snapshot-load', '--runs', '1', '--seconds', '2', '--json');
    assert.equal(exitCode, 0, stderr);
    loaded.parse(jsonLine(stdout.trimEnd().split('\n').at(-1) ?? ''));
    assert.ok(stdout.includes('≥ 0.95'));
  });
});
