import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cosign, withCosignature } from '../../common/cosignature.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { formatNote, noteSigner, parseNote, signatureTypes } from '../../common/note.ts';
import { collectorCli } from '../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  bundles,
  flip,
  hashTiles,
  inPlaceOf,
  joined,
  onOne,
  otherHistory,
  signedBy,
  split,
  swapped,
  type Truth,
  withSignaturesOf,
} from './independent-forger.ts';
import {
  type FilledLedger,
  fetchFrom,
  fillLedger,
  makeWitness,
  type ServedCopy,
  serveCopy,
  startTamperingProxy,
  type Tampering,
  type TamperingProxy,
} from './independent-world.ts';
import { type Random, randomOf, seedOf } from './random.ts';
import {
  type Audited,
  audit,
  checkConsistency,
  checkInclusion,
  checkProofFile,
  type Fetch,
  type Head,
  leafHashOf,
  logAlone,
  type Policy,
  parsePolicy,
  Rejected,
  rootOf,
  TiledTree,
} from './tile-auditor.ts';
import { parseNote as parseAnyNote, parseHead } from './tile-auditor-notes.ts';

const trials = process.env.SIGILWATCH_TEST_LONG === '1' ? 300 : 12;
const seed = seedOf('independent');

let postgres: TestPostgres;
let dir: string;
let ledger: FilledLedger;
let served: ServedCopy;
let proxy: TamperingProxy;
/** Past the proxy, and through it. */
let log: Fetch;
let proxied: Fetch;
let alone: Policy;
let honest: Audited;
/** What an auditor has seen before, smallest first. */
let saved: Head[];
let truth: Truth;
let newestNote: string;

before(async () => {
  postgres = await startPostgres();
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-independent-'));
  ledger = await fillLedger(postgres, dir);
  served = await serveCopy(postgres, ledger);
  log = fetchFrom(served.prefix);
  proxy = await startTamperingProxy(log);
  proxied = fetchFrom(proxy.prefix);
  alone = logAlone(ledger.vkey);
  saved = ledger.notes.map((note) => parseHead(parseAnyNote(Buffer.from(note)).text));
  honest = await audit(log, alone, saved);
  truth = { honest, saved };
  newestNote = (await log('checkpoint')).toString();
});
after(async () => {
  await proxy.stop();
  await served.stop();
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
});

test('the auditor knows nothing of this project but the published specifications', () => {
  for (const file of ['tile-auditor.ts', 'tile-auditor-notes.ts']) {
    const text = readFileSync(join(import.meta.dirname, file), 'utf8');
    const imports = [...text.matchAll(/(?:^|[\s;}])(?:from|import|require)\s*\(?\s*'([^']+)'/g)].map(
      ([, target = '']) => target,
    );
    assert.ok(imports.length > 0);
    const foreign = imports.filter(
      (target) => !/^node:(crypto|buffer)$/.test(target) && target !== './tile-auditor-notes.ts',
    );
    assert.deepEqual(foreign, [], file);
  }
});

describe('the log over HTTP, to an auditor who trusts nobody', () => {
  test('is accepted as a whole: every entry, every tile, the root, and all that was seen before', () => {
    assert.ok(honest.head.size >= 700, `${honest.head.size} entries`);
    assert.equal(honest.head.origin, ledger.origin);
    assert.equal(saved.length, 3);
  });

  test('proves any entry, and any two of its sizes, by its tiles alone', async () => {
    const random = randomOf(seed, 'proofs');
    for (let trial = 0; trial < trials * 5; trial++) {
      const size = random.int(1, honest.head.size);
      const index = random.int(0, size - 1);
      const headAt = (at: number): Head => ({ ...honest.head, size: at, root: rootOf(honest.leafHashes.slice(0, at)) });
      const tree = new TiledTree(proxied, size);
      const leaf = leafHashOf(honest.entries[index] ?? Buffer.of());
      checkInclusion(leaf, index, { head: headAt(size), proof: await tree.inclusion(index) });
      const from = random.int(0, size);
      const proof = await tree.consistency(from);
      checkConsistency(headAt(from), headAt(size), proof);
      // The checks are no empty words.
      assert.throws(() => checkInclusion(leafHashOf(leaf), index, { head: headAt(size), proof: [] }), Rejected);
      if (from > 0)
        assert.throws(() => checkConsistency({ ...headAt(from), root: leaf }, headAt(size + 1), proof), Rejected);
    }
  });

  test('gives proof files that prove their entry and no other', async () => {
    // Together, because each waits a while for witnesses to cosign, and here there are none.
    const indexes = [0, 256, honest.head.size - 1];
    const files = indexes.map((index) => join(dir, `${index}.tlog-proof`));
    await Promise.all(indexes.map((index, i) => servedCli('ledger', 'proof', String(index), '-o', files[i] ?? '')));
    for (const [i, index] of indexes.entries()) {
      const proof = await readFile(files[i] ?? '');
      const proven = checkProofFile(proof, honest.entries[index], alone);
      assert.equal(proven.index, index);
      assert.deepEqual(checkProofFile(proof, undefined, alone).leaf, honest.entries[index]);
      assert.throws(() => checkProofFile(proof, honest.entries[index + 1] ?? honest.entries[0], alone), Rejected);
      const other = Buffer.from(proof.toString().replace(/^index .*$/m, `index ${index + 1}`));
      assert.throws(() => checkProofFile(other, honest.entries[index], alone), Rejected);
    }
  });

  test('gives a policy file that asks for its nodes, none of whom is there to cosign', async () => {
    const policy = parsePolicy(await log('policy.txt'));
    assert.deepEqual(
      policy.logs.map(({ name }) => name),
      [ledger.origin],
    );
    assert.equal(policy.witnesses.size, 3);
    await assert.rejects(audit(log, policy, saved), /no quorum: only \[\] cosigned/);
  });
});

/** Each makes something false of what the log says; the auditor is expected to name it like this. */
const kinds: Readonly<Record<string, { as: RegExp; tamper: (random: Random) => Tampering }>> = {
  'a flipped byte in a hash tile': {
    as: /does not follow from the entries/,
    tamper: (random) => onOne(random.pick(hashTiles(truth)), (bytes) => flip(bytes, random)),
  },
  'a flipped byte in an entry bundle': {
    as: /bundle|does not follow|root/,
    tamper: (random) => onOne(random.pick(bundles(truth)), (bytes) => flip(bytes, random)),
  },
  'a flipped byte in the checkpoint': {
    as: /./,
    tamper: (random) => onOne('checkpoint', (bytes) => flip(bytes, random)),
  },
  'two entries swapped': {
    as: /does not follow/,
    tamper: (random) => onOne(random.pick(bundles(truth)), (bytes) => joined(swapped(split(bytes), random))),
  },
  'an entry left out': {
    as: /has \d+ entries instead of/,
    tamper: (random) =>
      onOne(random.pick(bundles(truth)), (bytes) => joined(split(bytes).toSpliced(random.int(0, 2), 1))),
  },
  'an entry twice': {
    as: /has \d+ entries instead of/,
    tamper: (random) =>
      onOne(random.pick(bundles(truth)), (bytes) => joined([...split(bytes), ...split(bytes).slice(-1)])),
  },
  'the last entries dropped': {
    as: /has \d+ entries instead of/,
    tamper: (random) =>
      onOne(bundles(truth).at(-1) ?? '', (bytes) => joined(split(bytes).slice(0, -random.int(1, 50)))),
  },
  'a tile of another width': {
    as: /bytes for \d+ hashes|bundle|instead of/,
    tamper: (random) => onOne(random.pick([...hashTiles(truth), ...bundles(truth)]), (bytes) => bytes.subarray(0, -32)),
  },
  'a tile that is too wide': {
    as: /bytes for \d+ hashes/,
    tamper: (random) => onOne(random.pick(hashTiles(truth)), (bytes) => Buffer.concat([bytes, bytes.subarray(-32)])),
  },
  'one tile in place of another': {
    as: /does not follow|bytes for|bundle/,
    tamper: (random) => inPlaceOf(truth, random, [...hashTiles(truth), ...bundles(truth)]),
  },
  'a tile that is withheld': {
    as: /404/,
    tamper: (random) => onOne(random.pick([...hashTiles(truth), ...bundles(truth)]), () => undefined),
  },
  'an old checkpoint presented as new': {
    as: /the log had \d+ entries and has \d+ now/,
    tamper: (random) => onOne('checkpoint', () => Buffer.from(ledger.notes[random.int(0, 1)] ?? '')),
  },
  'entries, tiles and root that fit each other, without the signature': {
    as: /a wrong signature/,
    tamper: (random) => otherHistory(truth, random, withSignaturesOf(newestNote)),
  },
  'another history, signed by the log': {
    as: /the first \d+ entries are not those of an earlier checkpoint/,
    tamper: (random) =>
      otherHistory(truth, random, signedBy(noteSigner(ledger.origin, signatureTypes.ed25519, ledger.keys))),
  },
  'another history, signed by a key of the same name': {
    as: /not signed by a log/,
    tamper: (random) =>
      otherHistory(truth, random, signedBy(noteSigner(ledger.origin, signatureTypes.ed25519, generateKeyPair()))),
  },
  "another history, signed by another key under the log's id": {
    as: /a wrong signature/,
    tamper: (random) => {
      const signer = noteSigner(ledger.origin, signatureTypes.ed25519, ledger.keys);
      return otherHistory(truth, random, signedBy({ ...signer, privateKey: generateKeyPair().privateKey }));
    },
  },
};

describe('the auditor rejects', () => {
  for (const [kind, { as, tamper }] of Object.entries(kinds)) {
    test(`${kind} (${trials} times)`, async () => {
      const random = randomOf(seed, kind);
      for (let trial = 0; trial < trials; trial++) {
        proxy.set(tamper(random));
        await assert.rejects(
          audit(proxied, alone, saved),
          (thrown) => thrown instanceof Error && as.test(thrown.message),
          kind,
        );
      }
      proxy.set((_path, bytes) => bytes);
      await audit(proxied, alone, saved);
    });
  }
});

describe('a quorum of witnesses', () => {
  const witnesses = ['w1.example', 'w2.example', 'w3.example', 'w4.example'].map(makeWitness);
  const nowMs = 1_790_000_000_000;
  const lines = (name: string) => witnesses.map(({ vkey }, at) => `witness ${name}${at + 1} ${vkey}`);

  function policy(...rules: string[]): Policy {
    return parsePolicy(
      Buffer.from([`log ${ledger.vkey} https://log.example/`, '# who', ...lines('w'), ...rules, ''].join('\n')),
    );
  }

  /** The honest note, cosigned by these witnesses. */
  function cosigned(...by: readonly number[]): Buffer {
    let note = parseNote(newestNote);
    for (const at of by) {
      const witness = witnesses[at - 1];
      assert.ok(witness);
      note = withCosignature(note, cosign(note.text, witness.signer, nowMs));
    }
    return Buffer.from(formatNote(note));
  }

  async function judge(note: Buffer, by: Policy): Promise<Head> {
    proxy.set((path, bytes) => (path === 'checkpoint' ? note : bytes));
    return (await audit(proxied, by, saved)).head;
  }

  test('is counted as the policy groups it', async () => {
    const nested = policy('group x 2 w1 w2 w3', 'group all all x w4', 'quorum all');
    for (const by of [
      [1, 2, 4],
      [2, 3, 4],
      [1, 2, 3, 4],
    ])
      await judge(cosigned(...by), nested);
    for (const by of [[], [4], [1, 4], [1, 2, 3]]) await assert.rejects(judge(cosigned(...by), nested), /no quorum/);
    await judge(cosigned(3), policy('group some any w1 w2 w3 w4', 'quorum some'));
    await judge(cosigned(2), policy('quorum w2'));
    await assert.rejects(judge(cosigned(1, 3, 4), policy('quorum w2')), /no quorum/);
    await judge(cosigned(), policy('quorum none'));
  });

  test('is not made up of forged, borrowed, repeated or unknown cosignatures', async () => {
    const two = policy('group two 2 w1 w2 w3 w4', 'quorum two');
    const [one, another] = [cosigned(1).toString(), cosigned(2).toString()];
    const [first = '', second = ''] = [one, another].map((note) => note.trimEnd().split('\n').at(-1) ?? '');
    const borrowed = first.replace('w1.example', 'w2.example');
    const [name = '', encoded = ''] = second.slice(2).split(' ');
    const bytes = Buffer.from(encoded, 'base64');
    const forge = (change: (signature: Buffer) => void) => {
      const copy = Buffer.from(bytes);
      change(copy);
      return `\u2014 ${name} ${copy.toString('base64')}`;
    };
    const ofOther = parseNote(ledger.notes[0] ?? '');
    const stale = cosign(ofOther.text, (witnesses[1] ?? makeWitness('w')).signer, nowMs);
    const staleLine =
      formatNote({ text: 'x\n', signatures: [stale] })
        .split('\n')
        .at(-2) ?? '';
    const wrong: Record<string, RegExp> = {
      [borrowed]: /no quorum/,
      [first]: /no quorum/,
      [staleLine]: /wrong signature/,
      [forge((copy) => copy.writeBigUInt64BE(copy.readBigUInt64BE(4) + 1n, 4))]: /wrong signature/,
      [forge((copy) => copy.writeUInt8(copy.readUInt8(60) ^ 1, 60))]: /wrong signature/,
      [forge((copy) => copy.fill(0, 12))]: /wrong signature/,
      [`\u2014 ${name} ${bytes.subarray(0, 4 + 8).toString('base64')}`]: /wrong signature/,
      [`\u2014 ${name} ${Buffer.concat([bytes.subarray(0, 4), bytes.subarray(12)]).toString('base64')}`]:
        /wrong signature/,
    };
    for (const [line, as] of Object.entries(wrong))
      await assert.rejects(judge(Buffer.from(`${one}${line}\n`), two), as, line);
    const stranger = makeWitness('w2.example');
    const strange = withCosignature(parseNote(one), cosign(parseNote(one).text, stranger.signer, nowMs));
    await assert.rejects(judge(Buffer.from(formatNote(strange)), two), /no quorum/);
    await judge(Buffer.from(`${one}${second}\n`), two);
  });

  test('that signed the true history does not cover another one that the log signs', async () => {
    const two = policy('group two 2 w1 w2 w3 w4', 'quorum two');
    const random = randomOf(seed, 'witnessed fork');
    const sign = signedBy(noteSigner(ledger.origin, signatureTypes.ed25519, ledger.keys));
    // The log shows this auditor, who has seen nothing yet, what no witness has seen.
    proxy.set(otherHistory(truth, random, sign));
    await assert.rejects(audit(proxied, two), /no quorum/);
    await audit(proxied, alone);
    const lent = cosigned(1, 2).toString().split('\n\n')[1]?.split('\n').slice(1).join('\n') ?? '';
    proxy.set(otherHistory(truth, random, (head) => `${sign(head)}${lent}`));
    await assert.rejects(audit(proxied, two), /wrong signature/);
  });

  test('is written in a policy that is read to the letter', () => {
    const [w1 = '', w2 = ''] = lines('w');
    const good = [
      `log ${ledger.vkey}`,
      `  ${w1}\thttps://w1.example/ `,
      w2,
      '',
      ' # note',
      'group a all w1 w2',
      'quorum a',
    ];
    parsePolicy(Buffer.from(`${good.join('\n')}\n`));
    const bad = [
      [w1, w1, 'quorum none'],
      [w1, w2.replace('witness w2', 'witness w1'), 'quorum none'],
      [w1, w1.replace('witness w1', 'witness w9'), 'quorum none'],
      ['quorum w1', w1],
      [w1],
      [w1, 'quorum none', 'quorum w1'],
      [w1, 'group g 0 w1', 'quorum g'],
      [w1, 'group g 2 w1', 'quorum g'],
      [w1, 'group g any', 'quorum g'],
      [w1, 'group g any w1 w1', 'quorum g'],
      [w1, 'group g any w1', 'group h any w1', 'quorum g'],
      [w1, 'group none any w1', 'quorum none'],
      [w1, 'group g any none', 'quorum g'],
      [w1, 'group g 01 w1', 'quorum g'],
      [`log ${w1.split(' ')[2]}`, 'quorum none'],
      [`witness x ${ledger.vkey}`, 'quorum x'],
      [`log ${ledger.vkey}`, `log ${ledger.vkey}`, 'quorum none'],
      ['quorum none', 'more'],
    ];
    for (const lines of bad)
      assert.throws(() => parsePolicy(Buffer.from(`${lines.join('\n')}\n`)), Rejected, lines.join('; '));
    assert.throws(() => parsePolicy(Buffer.from('quorum none')), Rejected);
    assert.throws(() => parsePolicy(Buffer.from('quorum none\r\n')), Rejected);
  });
});

/** The collector's command line, on the served copy. */
async function servedCli(...args: string[]): Promise<void> {
  const env = { SIGILWATCH_DATA_DIR: served.dataDir, DATABASE_URL: served.databaseUrl };
  const { code, stdout, stderr } = await collectorCli(args, env);
  assert.equal(code, 0, stdout + stderr);
}
