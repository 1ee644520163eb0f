import { test } from 'node:test';
import fc from 'fast-check';
import { unevenPause } from '../uneven-pause.ts';
import { LedgerWorld } from './ledger-world.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = 20_260_401;

/** One step; its name and arguments are what a failing run prints. */
class Step implements fc.AsyncCommand<object, LedgerWorld> {
  readonly #name: string;
  readonly #take: (world: LedgerWorld) => Promise<void> | void;

  constructor(name: string, take: (world: LedgerWorld) => Promise<void> | void) {
    this.#name = name;
    this.#take = take;
  }

  check(): boolean {
    return true;
  }

  async run(_model: object, world: LedgerWorld): Promise<void> {
    await this.#take(world);
  }

  toString(): string {
    return this.#name;
  }
}

const who = fc.nat(2);
const where = fc.nat(1);
const turns = fc.nat(30);
const fault = fc.constantFrom(undefined, 'failed' as const, 'reply lost' as const);
const diskFault = fc.constantFrom('failed' as const, 'reply lost' as const);

const step = (name: string, take: (world: LedgerWorld) => Promise<void> | void) => fc.constant(new Step(name, take));

const agentsAndFaults = [
  fc
    .record({ who, where, count: fc.integer({ min: 1, max: 4 }) })
    .map(
      ({ who, where, count }) =>
        new Step(`offer(${who}, ${where}, ${count})`, (world) => world.offer(who, where, count)),
    ),
  fc.record({ where: fc.tuple(where, where, where) }).map(
    ({ where }) =>
      new Step(`all offer at once(${where})`, async (world) => {
        await Promise.all(where.map((at, who) => world.offer(who, at, 2)));
        world.settle();
      }),
  ),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`connect(${who}, ${where})`, (world) => world.connect(who, where))),
  fc.record({ where: fc.tuple(where, where, where) }).map(
    ({ where }) =>
      new Step(`all connect at once(${where})`, async (world) => {
        await Promise.all(where.map((at, who) => world.connect(who, at)));
        world.settle();
      }),
  ),
  fc
    .record({ who, forgets: fc.nat(3) })
    .map(({ who, forgets }) => new Step(`agent restarts(${who}, ${forgets})`, (w) => w.restartAgent(who, forgets))),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`offer again(${who}, ${where})`, (world) => world.offerAgain(who, where))),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`equivocate(${who}, ${where})`, (world) => world.equivocate(who, where))),
  fc
    .record({ who, where, turns })
    .map(({ who, where, turns }) => new Step(`crash(${who}, ${where}, ${turns})`, (w) => w.crash(who, where, turns))),
  fc
    .record({ where, turns })
    .map(
      ({ where, turns }) =>
        new Step(`crash publishing(${where}, ${turns})`, (world) => world.crashPublishing(where, turns)),
    ),
  where.map((where) => new Step(`publish(${where})`, (world) => world.publish(where))),
  fc
    .array(fault, { minLength: 1, maxLength: 3 })
    .map((faults) => new Step(`faults(${faults})`, (world) => void world.store.faults.push(...faults))),
  fc.integer({ min: 1, max: 3 }).map(
    (count) =>
      new Step(`failing reads(${count})`, (world) => {
        world.store.failingReads = count;
      }),
  ),
  diskFault.map((fault) => new Step(`disk fault(${fault})`, (world) => void world.disk.faults.push(fault))),
  step('a second passes', (world) => world.settle()),
  step('power cut', (world) => world.powerCut()),
];

const backUp = step('back up', (world) => world.backUp());

interface Histories {
  readonly runs: number;
  readonly steps: readonly fc.Arbitrary<Step>[];
  readonly audit: (world: LedgerWorld) => Promise<void>;
}

async function simulate({ runs, steps, audit }: Histories): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.commands([...steps], { maxCommands: 40, size: 'max' }), async (pauses, commands) => {
      const world = new LedgerWorld(2, unevenPause(pauses));
      await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
      await audit(world);
    }),
    { numRuns: runs, seed },
  );
}

const runs = long ? 1_000 : 24;

test(`two collectors, agents and one database keep every promise, and nobody is accused (${runs} histories, seed ${seed})`, () =>
  simulate({ runs, steps: agentsAndFaults, audit: (world) => world.audit() }));

test(`a database put back to a backup is never signed against what was published (${runs} histories, seed ${seed})`, () =>
  simulate({
    runs,
    steps: [
      ...agentsAndFaults,
      backUp,
      step('restore', (world) => world.restore()),
      step('restore', (world) => world.restore()),
      step('repair', (world) => world.repair()),
    ],
    audit: (world) => world.audit(),
  }));

test(`where the file was put back too, an agent that holds more stops the collectors (${runs / 2} histories, seed ${seed})`, () =>
  simulate({
    runs: runs / 2,
    steps: [...agentsAndFaults, backUp, step('restore all', (world) => world.restoreWithoutFile())],
    audit: (world) => world.auditByAgents(),
  }));
