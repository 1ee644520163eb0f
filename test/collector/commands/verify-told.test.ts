import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cosign, withCosignature } from '../../../common/cosignature.ts';
import { limits } from '../../../common/limits.ts';
import { formatNote, parseNote } from '../../../common/note.ts';
import { nodeWitnessSigner } from '../../../common/witnesses.ts';
import { collectorCli } from '../../collector-cli.ts';
import { type ExportableLedger, exportableLedger } from '../../exports.ts';
import { testOrigin } from '../../ledgers.ts';

let root: string;
let fleet: ExportableLedger;
let whole: string;
let policy: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-told-'));
  fleet = await exportableLedger(30);
  whole = await fleet.exported(0, 30);
  policy = await fileWith('policy.txt', fleet.policy);
});
after(() => rm(root, { recursive: true, force: true }));

async function fileWith(name: string, content: string | Buffer): Promise<string> {
  const path = join(root, name);
  await writeFile(path, content);
  return path;
}

const verify = (path: string, ...more: readonly string[]) =>
  collectorCli(['verify', path, '--policy', policy, ...more]);
const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);
const joined = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

/** Nothing that moves a cursor or reorders text. */
const harmless = /^[^\p{Cc}\u2028-\u202e\u2066-\u2069]*$/u;

function assertHarmless(text: string): void {
  assert.ok(text.endsWith('\n'));
  for (const line of linesOf(text)) assert.match(line, harmless);
}

test('whatever stands in a file, its text moves no cursor and forges no line', async () => {
  const evil = '\u001b[2J\u001b[1;1H\nin order: all of it\u009b1m\u202e\r\u2028';
  const end = linesOf(whole).at(-1) ?? '';
  const member = JSON.stringify({ index: 0, [evil]: 1 });
  const note = (await fleet.checkpoint()).note;
  const contents = {
    member: joined([member, ...linesOf(whole).slice(1)]),
    only: joined([member, end]),
    last: joined([...linesOf(whole).slice(0, -1), JSON.stringify({ checkpoint: evil, [evil]: 1 })]),
    origin: note.replace('sigilwatch', `sigil\u001b[2J\u202e`),
    proof: (await fleet.proof(7)).replace('sigilwatch', `sigil\u001b[2J\u202e`),
    header: `c2sp.org/tlog-proof@${evil}\n\n`,
  };
  for (const [name, content] of Object.entries(contents)) {
    const file = await fileWith(name, content);
    for (const args of [[file], [file, '--json']]) {
      const { code, stdout } = await verify(args[0] ?? '', ...args.slice(1));
      assert.equal(code, 1, name);
      assertHarmless(stdout);
      assert.doesNotMatch(stdout, /^in order/m);
    }
  }
  const { fault } = JSON.parse((await verify(join(root, 'member'), '--json')).stdout);
  assert.deepEqual([fault.fault, fault.index, fault.line], ['line', 0, 1]);
});

test('nor does the text of a policy, or the name of a file', async () => {
  const checkpoint = await fileWith('checkpoint', (await fleet.checkpoint()).note);
  for (const text of ['quorum \u009b2J\u202e\n', '\u202elog\u009b x\n', 'group \u202e 7 none\n']) {
    const path = await fileWith('evil-policy', text);
    const { code, stderr } = await collectorCli(['verify', checkpoint, '--policy', path]);
    assert.equal(code, 2);
    assertHarmless(stderr);
  }
  const { code, stderr } = await verify(join(root, 'no\u001b[2Jwhere\nin order: all of it'));
  assert.equal(code, 2);
  assertHarmless(stderr);
  assert.equal(linesOf(stderr).length, 1);
});

test('what is no file to verify is named as what it is', async () => {
  const folder = join(root, 'folder');
  const pipe = join(root, 'pipe');
  await mkdir(folder);
  execFileSync('mkfifo', [pipe]);
  for (const [args, message] of [
    [[folder, '--policy', policy], /folder is a folder/],
    [[pipe, '--policy', policy], /pipe is not a regular file/],
    [['/dev/null', '--policy', policy], /null is not a regular file/],
    [[policy, '--policy', folder], /folder is a folder/],
    [[policy, '--policy', '/dev/zero'], /zero is not a regular file/],
    [[policy, '--policy', policy], /policy\.txt is a policy, .*--policy/],
    [[join(root, 'none'), '--policy', policy], /cannot read .*none: ENOENT/],
  ] as const) {
    const { code, stdout, stderr } = await collectorCli(['verify', ...args]);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, message);
    assert.equal(linesOf(stderr).length, 1, stderr);
  }
});

test('what is wrong with a policy is told with the name of the file and the line', async () => {
  const [first = ''] = linesOf(fleet.policy);
  const broken = await fileWith('broken.txt', `${first}\nwitness nobody\n`);
  const { code, stderr } = await collectorCli(['verify', policy, '--policy', broken]);
  assert.equal(code, 2);
  assert.match(stderr, /broken\.txt, line 2: expected: witness/);
});

test('a checkpoint in order is said to be', async () => {
  const { note } = await fleet.checkpoint();
  const { code, stdout } = await verify(await fileWith('checkpoint', note));
  assert.equal(code, 0);
  assert.match(stdout, /^in order: /);
  const few = await verify(await fileWith('few', (await fleet.checkpoint(1)).note));
  assert.equal(few.code, 1);
  assert.doesNotMatch(few.stdout, /in order:/);
});

test('a cosignature of an impossible time counts for nothing, and is told, in every kind of file', async () => {
  const [, , evil] = fleet.nodes;
  assert.ok(evil);
  const signer = nodeWitnessSigner(testOrigin, evil.name, evil.keys);
  const plain = await fleet.checkpoint();
  const parsed = parseNote(plain.note);
  const spoiled = {
    ...plain,
    note: formatNote(withCosignature(parsed, cosign(parsed.text, signer, 9e18))),
  };
  for (const content of [spoiled.note, await fleet.proof(7, spoiled), await fleet.exported(0, 30, spoiled)]) {
    const file = await fileWith('spoiled', content);
    const { code, stdout } = await verify(file);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /a cosignature by \S*node2 does not count: .* no clock shows/);
    const { checkpoint } = JSON.parse((await verify(file, '--json')).stdout);
    assert.equal(checkpoint.witnesses.length, 2);
    assert.equal(checkpoint.timeless_witnesses.length, 1);
  }
});

test('an export without its end, or with two, is told so in one line', async () => {
  const lines = linesOf(whole);
  const end = lines.at(-1) ?? '';
  for (const [content, message] of [
    [joined(lines.slice(0, -1)), /cut off, or was added to: its last line is not the end of an export$/],
    [whole.slice(0, -1), /cut off/],
    [joined([...lines, end]), /the end of an export stands here, and the file goes on after it \(line 31\)$/],
    [whole + whole, /the end of an export stands here/],
    [joined([...lines.slice(0, -1), '{"checkpoint":"x"}']), /the last line is damaged: /],
  ] as const) {
    const { code, stdout } = await verify(await fileWith('ends', content));
    assert.equal(code, 1);
    const told = linesOf(stdout).filter((line) => /^(NOT IN ORDER| {2}also) /.test(line));
    assert.ok(
      told.some((line) => message.test(line)),
      stdout,
    );
  }
});

test('the first few faults are told one by one, the others are counted', async () => {
  const faults = async (count: number) => {
    const lines = linesOf(whole);
    for (let at = 0; at < count; at++) lines[2 * at + 5] = 'x';
    const file = await fileWith('faults', joined(lines));
    const { stdout } = await verify(file);
    const { more, faults, fault } = JSON.parse((await verify(file, '--json')).stdout);
    return { stdout, more, faults, all: [fault, ...more].map(({ line }: { line: number }) => line) };
  };
  assert.doesNotMatch((await faults(1)).stdout, /also|more fault/);
  const two = await faults(2);
  assert.match(two.stdout, /^NOT IN ORDER \(line\): entry 5: .*\n {2}also \(line\): entry 7: .*\nproved/);
  const eleven = await faults(limits.shownFaults + 1);
  assert.match(eleven.stdout, /\n {2}and 1 more fault\n/);
  const twelve = await faults(limits.shownFaults + 2);
  assert.match(twelve.stdout, /\n {2}and 2 more faults\n/);
  assert.equal(twelve.faults, limits.shownFaults + 2);
  assert.deepEqual(
    twelve.all,
    Array.from({ length: limits.shownFaults }, (_, at) => 2 * at + 6),
  );
});
