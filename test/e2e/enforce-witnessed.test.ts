import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Vote, Witnessing } from '../../collector/ws/ports.ts';
import { cosign } from '../../common/cosignature.ts';
import { driftSchema } from '../../common/drift.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { formatNote, parseNote, parseVerifierKey, type VerifierKey } from '../../common/note.ts';
import { driftDigest, type Order } from '../../common/order.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../common/witnesses.ts';
import { orderOf } from '../orders.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  jsonLine,
  type ManifestRepository,
  makeManifestRepository,
  makeTemporaryFolder,
  type RunningCollector,
  type RunningNode,
  startCollector,
} from '../system.ts';
import { type Attacker, openAttacker } from './enforce-attacker.ts';
import {
  actsAtOnce,
  type EnforcedNode,
  eventually,
  follows,
  orderWhere,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  storyOf,
  wantedImage,
} from './enforce-world.ts';
import { tearDown } from './fleet.ts';
import { printedPins, startWitness } from './witnessed-world.ts';

/*
 * Three nodes whose manifest has orders witnessed. One of them is shown a history with an order in it: by a collector that shows it to
 * all of them, and then by somebody who owns the collector's key and its database and shows it to that one node.
 */
const folder = makeTemporaryFolder('sgw-ew-');
const node = 'lyra';
const others = ['node1', 'node2'];
const containers = [{ node, name: 'web', image: wantedImage, command: sleeping }];
const watching = {
  ...{ ...actsAtOnce, containers },
  nodes: [node, ...others].map((name) => ({ name })),
};

let postgres: TestPostgres;
let manifest: ManifestRepository;
let collector: RunningCollector;
let lyra: EnforcedNode;
let witnesses: readonly RunningNode[];
let commit: string;
let pins: readonly VerifierKey[];
let dataDir: string;
let databaseUrl: string;
/** Where the connections of the nodes end. */
let port = 0;

before(async () => {
  postgres = await startPostgres();
  [dataDir, databaseUrl] = [join(folder.path, 'collector'), await postgres.migratedDatabase()];
  manifest = makeManifestRepository(
    join(folder.path, 'manifest'),
    stringify({ ...watching, config: { ...actsAtOnce.config, enforcement_mode: 'audit' } }),
  );
  const env = { SIGILWATCH_MANIFEST_REPOSITORY: manifest.path, DATABASE_URL: databaseUrl };
  collector = await startCollector({ dir: dataDir, env });
  port = Number(new URL(collector.url).port);
  lyra = await startEnforcedNode(collector, {
    ...{ name: node, folder: folder.path, manifest: manifest.path, port: () => port },
    runs: (engine) => engine.run({ name: 'web', image: wantedImage, cmd: sleeping }),
  });
  const place = { folder: folder.path, manifest: manifest.path, port: () => port };
  witnesses = await Promise.all(others.map((name) => startWitness(collector, { ...place, name })));
  const asked = await pinned();
  pins = asked.witnesses.nodes.map(({ key }) => parseVerifierKey(key));
  commit = manifest.commit(stringify({ ...watching, ...asked }));
  await collector.restart();
  port = Number(new URL(collector.url).port);
  await follows(lyra, commit);
});
after(async () => {
  await tearDown();
  await postgres?.stop();
});

/** What an operator pastes into the manifest. */
async function pinned() {
  return { ...(await printedPins(collector)), governance: { ...actsAtOnce.governance, witnessed_orders: true } };
}

const runs = async (id: string) => (await lyra.engine.ids()).includes(id);

test('the keys that are printed are those that the nodes cosign with', async () => {
  const { nodes } = (await pinned()).witnesses;
  const shown = z.object({ key: z.string() });
  const own = await Promise.all(
    [lyra.agent, ...witnesses].map(async (agent) =>
      shown.parse(JSON.parse((await agent.cli('--json', 'witness', 'show')).stdout)),
    ),
  );
  assert.deepEqual(nodes.map(({ key }) => key).sort(), own.map(({ key }) => key).sort());
});

test('an order that a quorum has seen in the ledger is obeyed, and waits for as long as too few have', async () => {
  const first = await lyra.engine.run({ name: 'first', image: otherImage, cmd: sleeping });
  const about = (container: string) => ({ node, container });
  const done = await orderWhere(collector, about('first'), ({ status }) => status === 'verified');
  assert.deepEqual(outcomesOf(done), ['executed', 'verified']);
  assert.ok(!(await runs(first)));
  await Promise.all(witnesses.map((agent) => agent.stop()));
  const second = await lyra.engine.run({ name: 'second', image: otherImage, cmd: sleeping });
  const waits = await orderWhere(collector, about('second'), ({ status }) => status === 'requested');
  assert.deepEqual(
    (await storyOf(collector, waits.hash)).held_up_by.map(({ code }) => code),
    ['unwitnessed'],
  );
  assert.ok(await runs(second));
  await witnesses[0]?.restart();
  const late = await orderWhere(collector, about('second'), ({ status }) => status === 'verified');
  assert.deepEqual([late.hash, outcomesOf(late)], [waits.hash, ['executed', 'verified']]);
  assert.ok(!(await runs(second)));
});

describe('somebody who owns the key and the database', () => {
  const votes: Vote[] = [];
  const hears: Witnessing = {
    forming: undefined,
    missed: () => {},
    cosigned: async (vote) => void votes.push(vote),
    forked: async () => {},
  };
  let attacker: Attacker;
  let rogue: string;

  before(async () => {
    await collector.stop();
    await Promise.all(witnesses.map((agent) => agent.stop()));
    rogue = await lyra.engine.run({ name: 'rogue', image: otherImage, cmd: sleeping });
    attacker = await openAttacker({ dataDir, databaseUrl, rounds: hears });
    port = attacker.port;
    lyra.wire.cutAll();
    await eventually('the node has come', () => attacker.sockets.orders.nodes().includes(node));
  });

  type Line = Readonly<Record<string, unknown>>;
  const linesOf = (event: string): Line[] =>
    lyra.agent.logs().flatMap((text): Line[] => {
      const line = jsonLine(text) ?? {};
      return line.event === event ? [line] : [];
    });

  /** That would be obeyed if it were not for the witnesses. */
  async function secret(): Promise<Order> {
    const opened = z.object({ said: z.object({ drift: driftSchema }) });
    const drifts = () => linesOf('drift.opened').map((line) => opened.parse(line).said.drift);
    await eventually('the drift is seen', () => drifts().some(({ containerId }) => containerId === rogue));
    const drift = drifts().find(({ containerId }) => containerId === rogue);
    assert.ok(drift);
    const { id, kind } = drift;
    return orderOf({
      ...{ node, container: 'rogue', containerId: rogue, commit, nonce: randomBytes(16).toString('hex') },
      ...{ drift: { id, kind, digest: driftDigest(drift) }, issuedMs: Date.now() },
    });
  }

  /** A checkpoint over the order that all of these have cosigned, who are asked until they have. */
  async function round(index: number, ...from: readonly string[]) {
    const here = (witness: string, size: number) =>
      votes.some((vote) => vote.node === witness && vote.checkpoint.size === size);
    const found = () =>
      votes.find(({ checkpoint: { size } }) => size > index && from.every((witness) => here(witness, size)))
        ?.checkpoint;
    await eventually('they have cosigned', async () => {
      const { size, note } = await attacker.ledger.checkpoint();
      attacker.sockets.offer({ size, note, text: parseNote(note).text });
      return found() !== undefined;
    });
    const checkpoint = found();
    assert.ok(checkpoint);
    const linesBy = (witness: string) =>
      votes
        .filter((vote) => vote.node === witness && vote.checkpoint.size === checkpoint.size)
        .slice(-1)
        .map(lineOf);
    return { ...checkpoint, linesBy };
  }

  const cosigned = (note: string, lines: readonly ReturnType<typeof cosign>[]): string => {
    const { text, signatures } = parseNote(note);
    return formatNote({ text, signatures: [...signatures, ...lines] });
  };

  type Round = Awaited<ReturnType<typeof round>>;

  /** Sends an order with a checkpoint that the node has cosigned, and what is made of that. */
  async function sends(order: Order, noteOf: (from: Round) => string | undefined): Promise<string> {
    const dispatch = await attacker.record(order);
    const from = await round(dispatch.index, node);
    const note = noteOf(from);
    attacker.sockets.orders.send(node, { ...dispatch, ...(note && { witnessed: { size: from.size, note } }) });
    return dispatch.hash;
  }

  async function refused(hash: string): Promise<void> {
    await eventually('the node says that it is unwitnessed', () =>
      linesOf('order.unwitnessed').some(({ order }) => order === hash),
    );
    assert.ok(await runs(rogue));
  }

  const lineOf = ({ node: witness, publicKey, cosignature }: Vote) => {
    const { name, keyId } = nodeWitnessKey(attacker.ledger.origin, witness, publicKey);
    return { name, keyId, signature: cosignature };
  };

  test('has no order obeyed that is shown to one node alone', async () => {
    await refused(await sends(await secret(), () => undefined));
    await refused(await sends(await secret(), ({ note }) => note));
    await refused(await sends(await secret(), ({ note, linesBy }) => cosigned(note, linesBy(node))));
  });

  test('gains nothing by witnesses of his own making, whatever he calls them', async () => {
    const { origin } = attacker.ledger;
    const forged = (text: string) =>
      [...others, 'node3', 'node4'].map((name) =>
        cosign(text, nodeWitnessSigner(origin, name, generateKeyPair()), Date.now()),
      );
    await refused(
      await sends(await secret(), (from) => cosigned(from.note, [...from.linesBy(node), ...forged(from.text)])),
    );
    // The names and key ids of those who count, and signatures that are not theirs.
    const posing = (text: string) =>
      forged(text).flatMap((line) => {
        const own = pins.find(({ name }) => name === line.name);
        return own === undefined ? [] : [{ ...line, keyId: own.keyId }];
      });
    assert.equal(posing('').length, others.length);
    await refused(
      await sends(await secret(), (from) => cosigned(from.note, [...from.linesBy(node), ...posing(from.text)])),
    );
    // One witness, twice.
    await refused(
      await sends(await secret(), ({ note, linesBy }) => cosigned(note, [...linesBy(node), ...linesBy(node)])),
    );
  });

  test('has one obeyed once a quorum has seen it, first sent to the node alone or not', async () => {
    const order = await secret();
    const dispatch = await attacker.record(order);
    attacker.sockets.orders.send(node, dispatch);
    await refused(dispatch.hash);
    await witnesses[0]?.restart();
    await eventually('another node has come', () => attacker.sockets.orders.nodes().includes('node1'));
    const { size, note, linesBy } = await round(dispatch.index, node, 'node1');
    const witnessed = { size, note: cosigned(note, [...linesBy(node), ...linesBy('node1')]) };
    attacker.sockets.orders.send(node, { ...dispatch, witnessed });
    await eventually('it is carried out', async () => !(await runs(rogue)));
  });
});
