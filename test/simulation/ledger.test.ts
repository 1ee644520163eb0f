import { test } from 'node:test';
import fc from 'fast-check';
import { unevenPause } from '../uneven-pause.ts';
import { LedgerWorld } from './ledger-world.ts';

const runs = process.env.SIGILWATCH_TEST_LONG === '1' ? 1_000 : 60;

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
const fault = fc.constantFrom(undefined, 'failed' as const, 'reply lost' as const);

const steps = [
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
      }),
  ),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`offer again(${who}, ${where})`, (world) => world.offerAgain(who, where))),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`equivocate(${who}, ${where})`, (world) => world.equivocate(who, where))),
  fc
    .record({ who, where })
    .map(({ who, where }) => new Step(`crash(${who}, ${where})`, (world) => world.crash(who, where))),
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
];

test('a ledger shared by two collectors keeps every promise through faults, crashes and rivals', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.commands(steps, { maxCommands: 40, size: 'max' }), async (seed, commands) => {
      const world = new LedgerWorld(2, unevenPause(seed));
      await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
      await world.audit();
    }),
    { numRuns: runs },
  );
});
