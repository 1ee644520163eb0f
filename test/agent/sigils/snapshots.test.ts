import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it, type TestContext } from 'node:test';
import { presentFile } from '../../../agent/sigils/inventory/byte-file.ts';
import { isPresent } from '../../../agent/sigils/inventory/entry.ts';
import { readInventory } from '../../../agent/sigils/inventory/inventory-file.ts';
import { Pacer } from '../../../agent/sigils/pacer.ts';
import type { ScanResult } from '../../../agent/sigils/scan.ts';
import { SigilScanner } from '../../../agent/sigils/scanner.ts';
import { errnoOf } from '../../../common/errors.ts';
import { seedOf } from '../../e2e/random.ts';
import { fromSource } from '../../from-source.ts';
import { until } from '../../until.ts';
import { clock, secret, temporaryFolder } from './stores.ts';
import { digestOf, WrittenHistory, WrittenState } from './written-history.ts';

const isLong = process.env.SIGILWATCH_TEST_LONG === '1';
const snapshots = isLong ? 1_000 : 40;
/** After so many the writer ends, opens its store again, says what it finds, and another goes on. */
const snapshotsPerWriter = isLong ? 100 : 20;
/** Tables that have to be made meanwhile, so that files go while they are read. */
const tablesAtLeast = snapshots;
const storeFile = /^(CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(ldb|log|dbtmp))$/;

it(`${snapshots} snapshots under full write load are each the store at one moment, and leave it as it was`, async (t) => {
  const seed = seedOf('snapshots under load');
  const [path, work] = [temporaryFolder(t), temporaryFolder(t)];
  const history = new WrittenHistory(seed);
  const state = new WrittenState(history);
  const scanner = new SigilScanner({ name: 'main', path, secrets: [secret], clock });
  const tables = new Tables(path);
  const told = { writers: 0, snapshots: 0, unsettled: 0, records: 0 };
  let writer = await writing(t, path, seed, 0);
  const endsWell = async () => {
    const found = await writer.stop();
    told.writers++;
    const meant = state.goTo(found.batches);
    assert.deepEqual([found.records, found.digest], [meant.size, digestOf(meant)], 'the writer finds what it wrote');
    return found.batches;
  };
  const begunMs = performance.now();
  for (let nth = 0; nth < snapshots || tables.seen.size < tablesAtLeast; nth++) {
    if (nth > 0 && nth % snapshotsPerWriter === 0) writer = await writing(t, path, seed, await endsWell());
    assert.ok(nth < 10 * snapshots && writer.process.exitCode === null, 'the writer goes on writing');
    const where = `snapshot ${nth}, seed ${seed}`;
    const written = writer.batches;
    const { result, records } = await snapshot(scanner, work);
    assert.deepEqual([result.findings, result.moreFindings, result.inventory?.failed], [[], 0, null], where);
    tables.saw(result);
    tables.hash(where);
    told.snapshots++;
    if (!result.settled) {
      told.unsettled++;
      continue;
    }
    told.records += records.size;
    const batch = records.get(history.head) ?? 0;
    assert.ok(batch >= written, `${where}: shows ${batch} batches of ${written} that were written before it`);
    assert.equal(difference(records, state.goTo(batch)), '', `${where}: is not what ${batch} batches made`);
  }
  assert.ok(told.unsettled < snapshots / 10, `${told.unsettled} snapshots did not settle`);
  const batches = await endsWell();
  const seconds = (performance.now() - begunMs) / 1_000;
  assert.deepEqual(readdirSync(work), [], 'nothing is left of the snapshots');
  t.diagnostic(`${told.snapshots} snapshots of ${told.records} records in ${seconds.toFixed(0)} s, seed ${seed}`);
  t.diagnostic(`${batches} batches of ${state.operations} operations, by ${told.writers} writers`);
  t.diagnostic(`${tables.seen.size} tables, ${tables.compared} hashed again, ${told.unsettled} unsettled`);
});

/** A writer that goes on behind so many batches, and has begun to. */
async function writing(t: TestContext, path: string, seed: number, after: number): Promise<Writer> {
  const writer = startWriter(path, seed, after);
  t.after(() => writer.process.kill('SIGKILL'));
  await until('the writer writes', () => writer.batches > after || writer.process.exitCode !== null, 60_000);
  return writer;
}

/** What a full scan took down in an inventory of its own: `updatedAt` by key. */
async function snapshot(
  scanner: SigilScanner,
  work: string,
): Promise<{ readonly result: ScanResult; readonly records: ReadonlyMap<string, number> }> {
  const folder = join(work, 'inventory');
  const path = join(folder, 'main.inventory');
  mkdirSync(folder);
  const result = await scanner.scan({
    ...{ mode: 'full', state: null, openFindings: [] },
    inventory: { path, keeps: true },
  });
  await result.inventory?.keep();
  assert.deepEqual(readdirSync(folder), ['main.inventory']);
  const file = await presentFile(path);
  assert.ok(file !== null);
  const records = new Map<string, number>();
  const entries = await readInventory(file, 'main', new Pacer(clock, () => Promise.resolve(), undefined));
  while (await entries.next()) {
    const { entry } = entries;
    if (entry.has(isPresent)) records.set(entry.key.toString(), Number(entry.time));
  }
  await file.close();
  rmSync(folder, { recursive: true });
  return { result, records };
}

/** In words, the first of them; empty when there is none. */
function difference(shown: ReadonlyMap<string, number>, meant: ReadonlyMap<string, number>): string {
  for (const [key, batch] of shown) {
    if (meant.get(key) !== batch) return `${key} of batch ${batch}, not ${meant.get(key)}`;
  }
  for (const [key, batch] of meant) if (!shown.has(key)) return `${key} of batch ${batch} is missing`;
  return '';
}

/** The tables that were read, with their hashes for as long as they are there. */
class Tables {
  readonly seen = new Set<string>();
  compared = 0;
  private readonly hashes = new Map<string, string>();
  private live: readonly string[] = [];
  private readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  saw({ state }: ScanResult): void {
    this.live = 'tables' in state ? state.tables.map(([name]) => name) : [];
    for (const name of this.live) this.seen.add(name);
  }

  /** Tables never change, and nobody else holds a file of the store by another name. */
  hash(where: string): void {
    for (const name of readdirSync(this.path)) {
      assert.match(name, storeFile, where);
      const links = ifThere(() => statSync(join(this.path, name)).nlink);
      assert.ok(links === undefined || links === 1, `${where}: ${name} has ${links} names`);
    }
    for (const name of this.live) {
      const bytes = ifThere(() => readFileSync(join(this.path, name)));
      if (bytes === undefined) continue;
      const hash = createHash('sha256').update(bytes).digest('hex');
      const before = this.hashes.get(name);
      if (before !== undefined) this.compared++;
      assert.equal(hash, before ?? hash, `${where}: ${name} was changed`);
      this.hashes.set(name, hash);
    }
  }
}

/** Undefined for a file that was compacted away. */
function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

interface Found {
  readonly batches: number;
  readonly records: number;
  readonly digest: string;
}

interface Writer {
  readonly process: ChildProcess;
  /** How many it has said to be in the store. */
  readonly batches: number;
  /** What it found when it opened the store again. */
  stop(): Promise<Found>;
}

function startWriter(path: string, seed: number, after: number): Writer {
  const file = join(import.meta.dirname, 'history-writer.ts');
  const child = spawn(process.execPath, [...fromSource(file), path, String(seed), String(after)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  let last = String(after);
  const lines = createInterface({ input: child.stdout });
  const closed = once(lines, 'close');
  lines.on('line', (line) => {
    last = line;
  });
  return {
    process: child,
    get batches() {
      return Number(last);
    },
    stop: async () => {
      child.kill('SIGTERM');
      assert.deepEqual(await ended, [0, null]);
      await closed;
      return JSON.parse(last);
    },
  };
}
