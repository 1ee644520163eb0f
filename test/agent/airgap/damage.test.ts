import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { carriedCollector, carriedNode, importAt, newStick } from '../../carried.ts';
import { type Random, randomOf, seedOf } from '../../e2e/random.ts';
import { tempFolder } from '../watching.ts';

const dir = tempFolder();
/** Of each file: every byte in a long run, some of them otherwise. */
const isLong = process.env.SIGILWATCH_TEST_LONG === '1';
const triesPerFile = 60;

async function exchanged() {
  const collector = carriedCollector(dir);
  const node = carriedNode(dir, collector);
  const stick = newStick(dir);
  node.say(420);
  await node.exportTo(stick, { maxPartBytes: 64 * 1024 });
  return { collector, node, stick };
}

function placesIn(file: string, random: Random): readonly number[] {
  const { size } = statSync(file);
  if (isLong) return Array.from({ length: size }, (_, at) => at);
  return [0, size - 1, ...Array.from({ length: triesPerFile }, () => random.int(0, size - 1))];
}

/** Does `attempt` with one bit of each of some bytes turned, and puts them right again. */
async function withEachFlipped(folder: string, random: Random, attempt: (place: string) => Promise<void>) {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const whole = readFileSync(file);
    for (const at of placesIn(file, random)) {
      const flipped = Buffer.from(whole);
      flipped[at] = (whole[at] ?? 0) ^ (1 << random.int(0, 7));
      writeFileSync(file, flipped);
      await attempt(`${name}, byte ${at}`);
    }
    writeFileSync(file, whole);
  }
}

interface Cut {
  readonly place: string;
  readonly file: string;
  /** Its length now. */
  readonly at: number;
  readonly isShort: boolean;
}

/** Does `attempt` with each file cut off somewhere, and one byte too long. */
async function withEachCut(folder: string, random: Random, attempt: (cut: Cut) => Promise<void>) {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const whole = readFileSync(file);
    const places = placesIn(file, random).slice(0, isLong ? Number.POSITIVE_INFINITY : 20);
    for (const at of [...places, whole.length + 1]) {
      writeFileSync(file, whole);
      truncateSync(file, at);
      await attempt({
        place: `${name} of ${whole.length} bytes, cut to ${at}`,
        file: name,
        at,
        isShort: at < whole.length,
      });
    }
    writeFileSync(file, whole);
  }
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

async function failureOf(work: Promise<unknown>, place: string): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof Error && 'code' in thrown && 'details' in thrown, `${place}: ${String(thrown)}`);
  const details = typeof thrown.details === 'object' ? { ...thrown.details } : {};
  return { code: String(thrown.code), message: thrown.message, details };
}

test('one bit turned anywhere in a bundle of entries keeps all of it out of the ledger', async () => {
  const { collector, stick } = await exchanged();
  const random = randomOf(seedOf('flips of entries'), 'flips');
  await withEachFlipped(join(stick, 'entries-lyra-000001'), random, async (place) => {
    const { code, message } = await failureOf(importAt(collector, stick), place);
    assert.match(code, /^bundle\./, `${place}: ${message}`);
    assert.equal(collector.ledger.entries.length, 0, place);
  });
  assert.deepEqual(await importAt(collector, stick), [{ entries: 420, fresh: 420 }]);
});

test('a bundle of entries that was cut off says which file, and where', async () => {
  const { collector, stick } = await exchanged();
  const random = randomOf(seedOf('cuts of entries'), 'cuts');
  await withEachCut(join(stick, 'entries-lyra-000001'), random, async ({ place, file, at, isShort }) => {
    const { code, message, details } = await failureOf(importAt(collector, stick), place);
    assert.equal(code, 'bundle.damaged', `${place}: ${message}`);
    assert.equal(details.file, file, place);
    if (file.endsWith('.entries') && isShort) assert.equal(details.offset, at, place);
    assert.equal(collector.ledger.entries.length, 0, place);
  });
});

test('one bit turned anywhere in an answer keeps all of it from the node', async () => {
  const { collector, node, stick } = await exchanged();
  await importAt(collector, stick);
  const random = randomOf(seedOf('flips of answers'), 'flips');
  await withEachFlipped(join(stick, 'return-lyra-000001'), random, async (place) => {
    const { code, message } = await failureOf(node.importFrom(stick), place);
    assert.match(code, /^bundle\./, `${place}: ${message}`);
    assert.deepEqual([node.outbox.depth, node.outbox.checkpoint(), node.forks.length], [420, undefined, 0], place);
  });
  assert.equal((await node.importFrom(stick)).receipts, 420);
});

test('an answer that was cut off says which file, and where', async () => {
  const { collector, node, stick } = await exchanged();
  await importAt(collector, stick);
  const random = randomOf(seedOf('cuts of answers'), 'cuts');
  await withEachCut(join(stick, 'return-lyra-000001'), random, async ({ place, file }) => {
    const { code, message, details } = await failureOf(node.importFrom(stick), place);
    assert.equal(code, 'bundle.damaged', `${place}: ${message}`);
    assert.equal(details.file, file, place);
    assert.deepEqual([node.outbox.depth, node.outbox.checkpoint()], [420, undefined], place);
  });
});

test('a byte that was altered in entries is told with the place of its line', async () => {
  const { collector, stick } = await exchanged();
  const file = join(stick, 'entries-lyra-000001', 'part-000001.entries');
  const whole = readFileSync(file);
  const second = whole.indexOf('\n') + 1;
  whole[second + 150] = (whole[second + 150] ?? 0) ^ 1;
  writeFileSync(file, whole);
  const { details, message } = await failureOf(importAt(collector, stick), 'the second line');
  assert.deepEqual(details, { file: 'part-000001.entries', offset: second });
  assert.match(message, new RegExp(`at byte ${second} `));
});

test('files that are missing, or links to elsewhere, are damage', async () => {
  const { collector, stick } = await exchanged();
  const file = join(stick, 'entries-lyra-000001', 'part-000001.entries');
  const whole = readFileSync(file);
  rmSync(file);
  assert.equal((await failureOf(importAt(collector, stick), 'missing')).code, 'bundle.damaged');
  const elsewhere = join(dir, 'elsewhere');
  writeFileSync(elsewhere, whole);
  symlinkSync(elsewhere, file);
  assert.equal((await failureOf(importAt(collector, stick), 'a link')).code, 'bundle.damaged');
});
