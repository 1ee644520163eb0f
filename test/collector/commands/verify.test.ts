import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { leafData, sealEntry } from '../../../common/entry.ts';
import { formatExportEntry, parseExportEnd, parseExportEntry } from '../../../common/export-line.ts';
import { signBytes } from '../../../common/keys.ts';
import { leafHash } from '../../../common/merkle.ts';
import { fleetPolicy, formatPolicy, parsePolicy } from '../../../common/policy.ts';
import { formatTlogProof, parseTlogProof } from '../../../common/tlog-proof.ts';
import { cleared, firstEntryMs, testAuthor } from '../../authors.ts';
import { collectorCli, type Said } from '../../collector-cli.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { type ExportableLedger, enrol, erasedStatement, exportableLedger } from '../../exports.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const trials = long ? 10_000 : 500;

let root: string;
let fleet: ExportableLedger;
/** From the beginning, and from the middle, with the enrolments before it. */
let whole: string;
let part: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-verify-'));
  fleet = await exportableLedger(60);
  whole = await fleet.exported(0, 60);
  part = await fleet.exported(33, 50);
});
after(() => rm(root, { recursive: true, force: true }));

/** Runs the command line with an environment in which a database, if anybody asked for one, would be nowhere. */
function cli(args: readonly string[]): Promise<Said> {
  return collectorCli(args, {
    DATABASE_URL: 'no database at all',
    SIGILWATCH_HTTP_PORT: 'not a port',
    SIGILWATCH_CONFIG: '/nowhere',
  });
}

let files = 0;
async function fileWith(content: string | Buffer): Promise<string> {
  const path = join(root, `file-${++files}`);
  await writeFile(path, content);
  return path;
}

async function verify(content: string | Buffer, policy: string | Buffer = fleet.policy, ...more: readonly string[]) {
  const [file, policyFile] = [await fileWith(content), await fileWith(policy)];
  const verdict = await cli(['verify', file, '--policy', policyFile, '--json', ...more]);
  await Promise.all([rm(file), rm(policyFile)]);
  return { ...verdict, said: verdict.code <= 1 ? JSON.parse(verdict.stdout) : undefined };
}

async function assertFault(content: string, fault: string, index: number | null, policy = fleet.policy) {
  const { code, said } = await verify(content, policy);
  assert.equal(code, 1);
  assert.deepEqual([said.verified, said.fault.fault, said.fault.index], [false, fault, index], said.fault.message);
}

function linesOf(text: string): string[] {
  return text.split('\n').slice(0, -1);
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

describe('what is in order is accepted, without settings, database or network', () => {
  test('a proof file proves its entry, author, time and witnesses', async () => {
    for (const index of [0, 1, 17, 59]) {
      const { code, said } = await verify(await fleet.proof(index));
      assert.equal(code, 0, JSON.stringify(said));
      const { entry } = fleet.store.entries[index] ?? assert.fail();
      const { body: _, v: __, ...outline } = entry;
      assert.deepEqual(said.entry, { index, ...outline, signature_verified: true });
      assert.deepEqual(
        said.checkpoint.witnesses.map(({ name }: { name: string }) => name),
        ['sigilwatch.test/ledger/lyra', 'sigilwatch.test/ledger/node1'],
      );
    }
  });

  test('exports of any span verify by themselves, with every signature', async () => {
    const spans = [0, 1, 4, 31, 33, 59, 60].flatMap((from) => [from, 34, 60].map((to) => [from, to] as const));
    for (const [from, to] of spans.filter(([from, to]) => from <= to)) {
      const { code, said } = await verify(await fleet.exported(from, to), fleet.policy, '--require-signatures');
      assert.equal(code, 0, JSON.stringify(said.fault));
      assert.equal(said.entries.proved, to - from);
      assert.deepEqual(said.entries.signatures_unverifiable, {});
    }
  });

  test('exports across many blocks and past their ends verify too', async () => {
    const large = await exportableLedger(1_100);
    for (const [from, to] of [
      [0, 1_100],
      [200, 300],
      [255, 257],
      [512, 768],
      [1_020, 1_100],
    ] as const) {
      const { code, said } = await verify(await large.exported(from, to), large.policy, '--require-signatures');
      assert.equal(code, 0, JSON.stringify(said.fault));
    }
    const early = await large.checkpoint();
    await large.ledger.append(large.nodes[0]?.more(50) ?? []);
    assert.equal((await verify(await large.exported(100, 1_000, early), large.policy)).code, 0);
  });

  test('a checkpoint is what it is', async () => {
    const { code, said } = await verify((await fleet.checkpoint()).note);
    assert.deepEqual([code, said.kind, said.checkpoint.size], [0, 'checkpoint', 60]);
  });

  test('people are told what was proved', async () => {
    const [proof, policy] = [await fileWith(await fleet.proof(17)), await fileWith(fleet.policy)];
    const { code, stdout } = await cli(['verify', proof, '--policy', policy]);
    assert.equal(code, 0);
    assert.match(stdout, /^proved: entry 17 is in the ledger\n {2}sigil\.cleared by \w+ .*; signature verified\n/);
    assert.match(stdout, /quorum "quorum" reached/);
  });

  test('an author whose key nobody told is counted, and a fault only when asked for', async () => {
    const { logs } = parsePolicy(fleet.policy);
    const [log] = logs;
    assert.ok(log);
    const logOnly = formatPolicy(fleetPolicy({ log, witnesses: [], threshold: 0 }));
    const proof = await fleet.proof(17);
    assert.equal((await verify(proof, logOnly)).said.entry.signature_verified, false);
    assert.equal((await verify(proof, logOnly, '--require-signatures')).code, 1);
    const withoutContext = linesOf(part).filter(
      (line) => !line.startsWith('{"index":') || parseExportEntry(line).index >= 33,
    );
    const end = { ...parseExportEnd(withoutContext.at(-1) ?? ''), context: [] };
    const bare = joined([...withoutContext.slice(0, -1), JSON.stringify(end)]);
    const { code, said } = await verify(bare, logOnly);
    assert.equal(code, 0);
    const counted = Object.values<number>(said.entries.signatures_unverifiable).reduce((sum, count) => sum + count, 0);
    assert.equal(counted, 17);
    assert.equal((await verify(bare, logOnly, '--require-signatures')).said.faults, 17);
  });

  test('where retention dropped bodies, what remains is proved', async () => {
    const own = await exportableLedger(60);
    await own.erase(0, 25);
    await own.erase(25, 40);
    for (const [from, without] of [
      [0, 36],
      [10, 30],
      [39, 1],
    ] as const) {
      const { code, said } = await verify(await own.exported(from, 62), own.policy);
      assert.deepEqual([code, said.entries.without_body], [0, without], JSON.stringify(said.fault));
      assert.equal(said.entries.without_body_unaccounted, 0);
    }
  });
});

describe('a body that is missing is not erased because it is missing', () => {
  const emptied = (text: string, ...places: readonly number[]) =>
    joined(
      linesOf(text).map((line, at) =>
        places.includes(at) ? formatExportEntry({ ...parseExportEntry(line), body: undefined }) : line,
      ),
    );

  test('without an entry that says so, the first one is named, with how many there are and what to do', async () => {
    const { code, said } = await verify(emptied(whole, 20, 21, 40));
    assert.deepEqual([code, said.faults, said.fault.fault, said.fault.index, said.fault.line], [1, 1, 'body', 20, 21]);
    assert.match(said.fault.message, /3 entries.*export up to the entry ledger\.erased.*made before the erasure/);
    assert.deepEqual([said.entries.without_body, said.entries.without_body_unaccounted], [3, 3]);
    const [file, policy] = [await fileWith(emptied(whole, 20)), await fileWith(fleet.policy)];
    assert.doesNotMatch((await cli(['verify', file, '--policy', policy])).stdout, /which was erased/);
  });

  test('nor is one beside what was erased, or of those that were kept', async () => {
    const own = await exportableLedger(60);
    await own.erase(0, 40);
    const text = await own.exported(0, 61);
    await assertFault(emptied(text, 40), 'body', 40, own.policy);
    await assertFault(emptied(text, 2), 'body', 60, own.policy);
    await assertFault(emptied(text, 60), 'body', 4, own.policy);
    await assertFault(await own.exported(0, 60), 'body', 4, own.policy);
    await assertFault(emptied(await own.exported(50, 61), 1), 'body', 1, own.policy);
  });

  test('an erasure that the log did not sign, or that speaks of what comes after it, accounts for nothing', async () => {
    const own = await exportableLedger(10);
    const [lyra, node1] = own.nodes;
    assert.ok(lyra && node1);
    await own.ledger.record(erasedStatement({ from: 0, to: 30, keptBodies: 0 }));
    const head = await own.ledger.authorHead('collector');
    const by = { author: 'collector', head, now: firstEntryMs, privateKey: lyra.keys.privateKey };
    await own.ledger.append([sealEntry(erasedStatement({ from: 0, to: 10, keptBodies: 0 }), by)]);
    await own.ledger.append([node1.next(erasedStatement({ from: 0, to: 10, keptBodies: 0 }))]);
    const { said } = await verify(emptied(await own.exported(0, 13), 8), own.policy);
    assert.deepEqual([said.fault.fault, said.fault.index], ['body', 8]);
    assert.equal(said.entries.without_body_unaccounted, 1);
  });
});

describe('one changed byte is found, and the right entry named', () => {
  const flip = (bytes: Buffer, at: number, to: number): Buffer => {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(at) ^ to, at);
    return flipped;
  };

  test(`${trials} times in exports`, async (t) => {
    const seed = seedOf('flips in exports');
    const random = randomOf(seed, 'flips');
    const texts = [whole, part].map((text) => ({ bytes: Buffer.from(text), lines: linesOf(text) }));
    for (let trial = 0; trial < trials; trial++) {
      const { bytes, lines } = random.pick(texts);
      const at = random.int(0, bytes.length - 1);
      const { code, said } = await verify(flip(bytes, at, random.int(1, 255)));
      assert.equal(code, 1, `byte ${at} (trial ${trial}, seed ${seed})`);
      const line = bytes.subarray(0, at).toString('latin1').split('\n').length - 1;
      // The newline before the last line is as much a part of that one.
      const ofCheckpoint = line === lines.length - 1 || (line === lines.length - 2 && bytes[at] === 0x0a);
      if (ofCheckpoint) continue;
      const { index } = parseExportEntry(lines[line] ?? '');
      assert.deepEqual([said.fault.index, said.fault.line], [index, line + 1], `byte ${at}: ${said.fault.message}`);
    }
    t.diagnostic(`${trials} flips`);
  });

  test('in every byte of a proof file, a checkpoint and a policy', async () => {
    const proof = Buffer.from(await fleet.proof(17));
    const note = Buffer.from((await fleet.checkpoint(3)).note);
    const policy = Buffer.from(fleet.policy);
    const random = randomOf(seedOf('flips in small files'), 'bits');
    const share = long ? 1 : 4;
    for (const [bytes, check] of [
      [proof, (flipped: Buffer) => verify(flipped)],
      [note, (flipped: Buffer) => verify(flipped)],
      [policy, (flipped: Buffer) => verify(proof, flipped)],
    ] as const) {
      for (let at = random.int(0, share - 1); at < bytes.length; at += share) {
        const { code, stdout } = await check(flip(bytes, at, random.int(1, 255)));
        assert.ok(code === 1 || code === 2, `byte ${at} of ${bytes.length}: ${code} ${stdout}`);
      }
    }
  });
});

describe('whoever rewrites an export is found out', () => {
  /** An entry of `author` with another content, its leaf hash and a signature made to fit. */
  function rewritten(line: string, author: string): string {
    const { index, proof } = parseExportEntry(line);
    const by = {
      author,
      head: { seq: 1, hash: '0'.repeat(64) },
      now: firstEntryMs,
      privateKey: testAuthor(author).keys.privateKey,
    };
    const forged = sealEntry(cleared('forged'), by);
    const body = { text: forged.bytes.toString('utf8'), signature: forged.signature };
    return formatExportEntry({ index, body, leafHash: leafHash(leafData(forged)), proof });
  }

  test('an entry rewritten with leaf hash and signature is named', async () => {
    for (const at of [0, 4, 31, 58, 59]) {
      const lines = linesOf(whole);
      await assertFault(joined(lines.with(at, rewritten(lines[at] ?? '', 'lyra'))), 'proof', at);
    }
  });

  test('lines swapped, doubled, left out, put in and cut off are named', async () => {
    const lines = linesOf(whole);
    const [fifth = '', ninth = ''] = [lines[5], lines[9]];
    await assertFault(joined(lines.with(5, ninth).with(9, fifth)), 'missing', 5);
    await assertFault(joined(lines.toSpliced(6, 0, fifth)), 'order', 5);
    await assertFault(joined(lines.toSpliced(5, 1)), 'missing', 5);
    await assertFault(joined(lines.toSpliced(5, 10)), 'missing', 5);
    await assertFault(joined(lines.toSpliced(0, 1)), 'missing', 0);
    await assertFault(joined(lines.toSpliced(59, 1)), 'missing', 59);
    await assertFault(joined(lines.toSpliced(50, 10)), 'missing', 50);
    await assertFault(joined(lines.toSpliced(60, 0, linesOf(part)[0] ?? '')), 'order', 0);
    await assertFault(joined(lines.slice(0, -1)), 'checkpoint', null);
    await assertFault(whole.slice(0, -1), 'checkpoint', null);
    await assertFault(`${whole}\n`, 'checkpoint', null);
    await assertFault('', 'checkpoint', null);
  });

  test('enrolments left out before a span are missed', async () => {
    const lines = linesOf(part);
    await assertFault(joined(lines.toSpliced(1, 1)), 'missing', parseExportEntry(lines[1] ?? '').index);
  });

  test('all that is wrong is counted, and what comes first is named', async () => {
    const lines = linesOf(whole);
    for (const at of [40, 12, 33]) lines[at] = rewritten(lines[at] ?? '', 'lyra');
    const { said } = await verify(joined(lines));
    assert.deepEqual([said.faults, said.fault.index, said.fault.line], [3, 12, 13]);
  });

  test('one export in the place of another of the same ledger, or of another ledger, is refused', async () => {
    const other = await exportableLedger(60);
    await other.ledger.append(other.nodes[1]?.more(1) ?? []);
    const end = linesOf(await other.exported(0, 60)).at(-1) ?? '';
    await assertFault(joined(linesOf(whole).with(60, end)), 'proof', 0);
  });

  test('too few cosignatures, and another log, are refused', async () => {
    await assertFault(await fleet.exported(0, 60, await fleet.checkpoint(1)), 'quorum', null);
    await assertFault(await fleet.proof(17, await fleet.checkpoint(1)), 'quorum', null);
    await assertFault((await fleet.checkpoint(0)).note, 'quorum', null);
    const [log] = parsePolicy(fleet.policy).witnesses;
    assert.ok(log);
    const foreign = fleet.policy.replace(/^# sha256.*\n/m, '').replace(/^log .*\n/, '');
    await assertFault(whole, 'checkpoint', null, foreign);
    await assertFault(await fleet.proof(17), 'checkpoint', null, foreign);
  });
});

describe('a ledger that its collector let go wrong is found out', () => {
  test('an entry that its author did not sign is named, in exports and proof files', async () => {
    const own = await exportableLedger(10);
    const [lyra] = own.nodes;
    assert.ok(lyra);
    const forged = lyra.next(cleared('not by lyra'));
    await own.ledger.append([{ ...forged, signature: signBytes(testAuthor('mallory').keys.privateKey, forged.bytes) }]);
    await assertFault(await own.exported(0, 11), 'signature', 10, own.policy);
    await assertFault(await own.exported(8, 11), 'signature', 10, own.policy);
    await assertFault(await own.proof(10), 'signature', 10, own.policy);
  });

  test('an author who was never let in, or let in no more, is named', async () => {
    const own = await exportableLedger(10);
    const stranger = testAuthor('stranger');
    await own.ledger.append(stranger.more(1));
    await assertFault(await own.exported(0, 11), 'author', 10, own.policy);
    const revoked = await exportableLedger(10);
    const [lyra] = revoked.nodes;
    assert.ok(lyra);
    await revoked.ledger.record({ kind: 'node.revoked', body: { node: 'lyra', fingerprint: 'x', reason: 'lost' } });
    await revoked.ledger.append(lyra.more(1));
    await assertFault(await revoked.exported(0, 12), 'author', 11, revoked.policy);
    await assertFault(await revoked.exported(11, 12), 'author', 11, revoked.policy);
  });

  test('a node that is let in again under another key is believed under that one', async () => {
    const own = await exportableLedger(10);
    const [lyra] = own.nodes;
    assert.ok(lyra);
    const again = { ...lyra, keys: testAuthor('lyra again').keys };
    await enrol(own.ledger, again);
    const by = { author: 'lyra', head: lyra.head, now: firstEntryMs, privateKey: again.keys.privateKey };
    await own.ledger.append([sealEntry(cleared('under the new key'), by)]);
    for (const from of [0, 8, 11]) {
      const { code, said } = await verify(await own.exported(from, 12), own.policy, '--require-signatures');
      assert.equal(code, 0, JSON.stringify(said.fault));
    }
  });

  test('a proof file without its entry, or with another one, proves nothing', async () => {
    const proof = parseTlogProof(await fleet.proof(17));
    const { extra: _, ...bare } = proof;
    await assertFault(formatTlogProof(bare), 'line', 17);
    const other = parseTlogProof(await fleet.proof(18)).extra;
    assert.ok(other);
    await assertFault(formatTlogProof({ ...proof, extra: other }), 'proof', 17);
    await assertFault(formatTlogProof({ ...proof, index: 18 }), 'proof', 18);
  });
});

test('what cannot be read is a matter of usage', async () => {
  const policy = await fileWith(fleet.policy);
  for (const args of [['/nowhere', '--policy', policy], [policy, '--policy', '/nowhere'], [policy]]) {
    assert.equal((await cli(['verify', ...args])).code, 2);
  }
  const broken = await verify(whole, 'quorum of all\n');
  assert.equal(broken.code, 2);
  assert.match(broken.stderr, /line 1/);
});
