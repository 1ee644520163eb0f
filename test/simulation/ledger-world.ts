import assert from 'node:assert/strict';
import { Ledger } from '../../collector/ledger/ledger.ts';
import { genesis, headAfter, leafData, parseEntry } from '../../common/entry.ts';
import { toAppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import { cleared, testAuthor } from '../authors.ts';
import { FakeDisk, type OpenFakeDisk } from '../fakes/checkpoint-file.ts';
import { FakeLedgerStore } from '../fakes/ledger-store.ts';
import { assertOneHistory, collectorKeys, stoppedClock, testOrigin } from '../ledgers.ts';
import { quietLogger } from '../quiet-logger.ts';
import { turnsForMs } from '../uneven-pause.ts';
import { SimulatedAgent } from './agents.ts';
import { holdsTreeOf, Publications } from './publications.ts';

/** A collector's process: what it writes after it was killed is not written. */
interface Process {
  readonly ledger: Ledger;
  readonly file: OpenFakeDisk;
  /** Resolves when it has started; undefined before it was asked to. */
  up: Promise<void> | undefined;
}

/** Errors of a database or disk that fails; the excuse there always is. */
const excuses: ReadonlySet<string> = new Set(['database.unreachable', 'ledger.checkpoint_file']);

const tampered = { code: 'ledger.tampered' };

/** Several agents and collectors around one database that fails, and one data directory. */
export class LedgerWorld {
  readonly store: FakeLedgerStore;
  readonly disk: FakeDisk;
  readonly publications = new Publications();
  readonly #pause: () => Promise<void>;
  readonly #agents = ['node1', 'node2', 'node3'].map((name) => new SimulatedAgent(name));
  readonly #collectors: Process[];
  /** What killed collectors were doing, and their last transactions, may still arrive. */
  readonly #dying: Promise<unknown>[] = [];
  #backup: (() => void) | undefined;
  /** Puts back what was there before the database was put back to a backup. */
  #undo: (() => void) | undefined;

  constructor(collectors: number, pause: () => Promise<void>) {
    this.#pause = pause;
    this.store = new FakeLedgerStore({ pause });
    this.disk = new FakeDisk({ pause });
    this.#collectors = Array.from({ length: collectors }, () => this.#newProcess());
  }

  /** The agent says `count` new things and offers all that is not acknowledged. */
  async offer(who: number, where: number, count: number): Promise<void> {
    const agent = this.#agent(who);
    agent.pending.push(...agent.author.more(count));
    const offered = [...agent.pending];
    await this.#atCollector(where, async (ledger) => {
      if (agent.connectedTo !== ledger) await this.#welcome(agent, ledger);
      const indexes = (await ledger.append(offered)).map(({ index }) => index);
      const checkpoint = await this.#published(ledger);
      await this.#heard(agent.receive(ledger, checkpoint, { offered, indexes }));
    });
  }

  /** Offers entries that were acknowledged long ago once more. */
  async offerAgain(who: number, where: number): Promise<void> {
    const some = this.#agent(who).acknowledged.slice(0, 5);
    const places = await this.#atCollector(where, (ledger) => ledger.append(some.map(({ signed }) => signed)));
    if (places === undefined || !this.#complete) return;
    assert.deepEqual(
      places.map(({ index }) => index),
      some.map(({ index }) => index),
    );
  }

  /** Offers another entry under a number that is acknowledged. */
  async equivocate(who: number, where: number): Promise<void> {
    const { author, acknowledged } = this.#agent(who);
    if (acknowledged.length === 0 || !this.#complete) return;
    const forged = testAuthor(author.name).next(cleared('forged'));
    const outcome = await this.#atCollector(where, (ledger) =>
      ledger.append([forged]).catch((thrown) => {
        if (toAppError(thrown).code === 'ledger.equivocation') return 'refused';
        throw thrown;
      }),
    );
    assert.ok(outcome === undefined || outcome === 'refused');
  }

  async publish(where: number): Promise<void> {
    await this.#atCollector(where, (ledger) => this.#published(ledger));
  }

  /** An agent connects: shows what it holds, and looks at what is published now. */
  async connect(who: number, where: number): Promise<void> {
    const agent = this.#agent(who);
    await this.#atCollector(where, (ledger) => this.#welcome(agent, ledger));
  }

  async #welcome(agent: SimulatedAgent, ledger: Ledger): Promise<void> {
    agent.connectedTo = undefined;
    if (agent.heldNote !== undefined) await ledger.confront(agent.heldNote);
    const checkpoint = await this.#published(ledger);
    await this.#heard(agent.accept(ledger, checkpoint));
    agent.connectedTo = ledger;
  }

  /** What two live collectors write to one file at once is right again within a second. */
  settle(): void {
    for (const { file } of this.#collectors) file.settle();
    this.disk.sync();
  }

  restartAgent(who: number, forgets: number): void {
    this.#agent(who).restart(forgets);
  }

  /** Kills a collector `turns` steps into an append. */
  crash(who: number, where: number, turns: number): Promise<void> {
    const { author, pending } = this.#agent(who);
    pending.push(...author.more(1));
    const offered = [...pending];
    return this.#killDuring(where, turns, (ledger) => ledger.append(offered));
  }

  /** Kills a collector `turns` steps into publishing; nobody hears of that checkpoint. */
  crashPublishing(where: number, turns: number): Promise<void> {
    return this.#killDuring(where, turns, (ledger) => ledger.checkpoint());
  }

  /** The collectors' machine loses power, and with it what was not synced; it is up again before anything else happens. */
  async powerCut(): Promise<void> {
    this.#killAll();
    this.disk.powerCut();
    for (let tries = 0; tries < 100 && this.#complete; tries++) {
      if ((await this.#atCollector(0, async () => 'up')) === 'up') return;
    }
    assert.ok(!this.#complete, 'a collector starts again when the faults are over');
  }

  backUp(): void {
    this.#backup = this.store.snapshot();
  }

  /** The database is put back to the last backup under the running collectors, which takes longer than a sync of the file. */
  restore(): void {
    if (this.#backup === undefined || !this.#complete) return;
    this.settle();
    this.#undo = this.store.snapshot();
    this.#backup();
  }

  /** The data directory is put back as well, to a time before there was a ledger. */
  restoreWithoutFile(): void {
    if (this.#backup === undefined || !this.#complete) return;
    this.publications.mustAgree = false;
    this.restore();
    this.#killAll();
    this.disk.lose();
  }

  /** Somebody reads what the collectors say, puts the newer database in place again, and starts them. */
  repair(): void {
    if (this.#undo === undefined || this.#complete || !this.publications.mustAgree) return;
    this.#killAll();
    this.#undo();
  }

  /** Lets everything come to rest, and looks at every promise. */
  async audit(): Promise<void> {
    await this.#rest();
    if (!this.#complete) {
      await this.#auditRefusal();
      this.repair();
    }
    if (this.#undo === undefined) assert.deepEqual(this.disk.contradictions, [], 'no false alarm');
    else this.#killAll();
    for (const who of this.#agents.keys()) await this.offer(who, who, 1);
    const { ledger } = this.#newProcess();
    await ledger.start();
    await this.#published(ledger);
    this.#auditEntries();
    for (const agent of this.#agents) this.#auditAgent(agent);
    await assertOneHistory(
      ledger,
      this.publications.all.map(({ checkpoint }) => checkpoint),
    );
  }

  /** Where the file was lost with the database: an agent that holds more stops every collector, restarts included. */
  async auditByAgents(): Promise<void> {
    await this.#rest();
    for (const { held, heldNote } of this.#agents) {
      if (held === undefined || heldNote === undefined) continue;
      const process = this.#newProcess();
      const refusal = await started(process).then(() => undefined, toAppError);
      // Looked at after the start: where the clock stands still, an empty database begins with the very entry it lost.
      if (this.publications.contains(held, this.store.entries)) continue;
      assert.equal(refusal?.code ?? tampered.code, tampered.code);
      if (refusal === undefined) await assert.rejects(process.ledger.confront(heldNote), tampered);
      await this.#assertRefuses(process);
      await this.#assertRefuses(this.#newProcess());
    }
  }

  /** All that was published is still stored, and so is what was going to be: the file is written first. */
  get #complete(): boolean {
    const { note } = this.disk;
    const { entries } = this.store;
    return this.publications.keptBy(entries) && (note === undefined || holdsTreeOf(note, entries));
  }

  async #rest(): Promise<void> {
    this.store.faults = [];
    this.store.failingReads = 0;
    this.disk.faults = [];
    await Promise.all(this.#dying);
  }

  async #auditRefusal(): Promise<void> {
    for (const process of [...this.#collectors, this.#newProcess()]) await this.#assertRefuses(process);
  }

  /** Whether it has been running all along or is only now being started. */
  async #assertRefuses(process: Process): Promise<void> {
    const { ledger } = process;
    const stored = [...this.store.entries];
    await assert.rejects(
      started(process).then(() => ledger.checkpoint()),
      tampered,
    );
    await assert.rejects(ledger.checkpoint(), tampered);
    await assert.rejects(ledger.append(testAuthor('node9').more(1)), tampered);
    assert.deepEqual(this.store.entries, stored);
  }

  #auditEntries(): void {
    const heads = new Map<string, typeof genesis>();
    for (const [at, { entry, bytes, signature, index }] of this.store.entries.entries()) {
      const head = heads.get(entry.author) ?? genesis;
      assert.equal(index, at);
      assert.equal(entry.seq, head.seq + 1);
      assert.equal(entry.prev, head.hash);
      assert.deepEqual(parseEntry(bytes), entry);
      assert.ok(verifyBytes(testAuthor(entry.author).keys.publicKey, bytes, signature));
      heads.set(entry.author, headAfter({ entry, bytes }));
    }
    const created = this.store.entries.filter(({ entry }) => entry.kind === 'ledger.created');
    assert.deepEqual(
      created.map(({ index }) => index),
      [0],
    );
  }

  #auditAgent({ author, pending, acknowledged }: SimulatedAgent): void {
    assert.deepEqual(pending, []);
    const seqs = acknowledged.map(({ signed }) => signed.entry.seq);
    assert.deepEqual(
      seqs,
      Array.from({ length: author.head.seq }, (_, i) => i + 1),
    );
    for (const { signed, index } of acknowledged) {
      const stored = this.store.entries[index];
      assert.ok(stored);
      assert.deepEqual(leafData(stored), leafData(signed));
    }
  }

  async #published(ledger: Ledger) {
    const checkpoint = await ledger.checkpoint();
    this.publications.add(checkpoint, this.store.entries);
    return checkpoint;
  }

  /** A fork is shown to nobody, unless whatever remembers outside the database was lost with it. */
  async #heard(hearing: Promise<void>): Promise<void> {
    await hearing.catch((thrown) => {
      if (this.publications.mustAgree || toAppError(thrown).code !== 'ledger.forked') throw thrown;
    });
  }

  /** Starts the collector when it is not up; undefined when something failed that may fail. */
  async #atCollector<T>(where: number, call: (ledger: Ledger) => Promise<T>): Promise<T | undefined> {
    try {
      return await call(await this.#start(where));
    } catch (thrown) {
      const { code } = toAppError(thrown);
      if (excuses.has(code) || (code === 'ledger.tampered' && this.#undo !== undefined)) return undefined;
      // Entries go on from ones that were lost with the database, and nobody here has looked up what else was.
      if (code === 'ledger.sequence' && this.#undo !== undefined) return undefined;
      throw thrown;
    }
  }

  /** A process that cannot start ends, and the next one is started when it is needed. */
  async #start(where: number): Promise<Ledger> {
    const process = this.#process(where);
    try {
      return (await started(process)).ledger;
    } catch (thrown) {
      if (this.#process(where) === process) this.#kill(where);
      throw thrown;
    }
  }

  async #killDuring(where: number, turns: number, call: (ledger: Ledger) => Promise<unknown>): Promise<void> {
    const doing = this.#start(where).then(call);
    this.#dying.push(doing.catch(() => {}));
    for (let turn = 0; turn < turns; turn++) await this.#pause();
    this.#kill(where);
  }

  #kill(where: number): void {
    this.#process(where).file.kill();
    this.#collectors[where % this.#collectors.length] = this.#newProcess();
  }

  #killAll(): void {
    for (const where of this.#collectors.keys()) this.#kill(where);
  }

  #newProcess(): Process {
    const file = this.disk.open();
    const memory = { file, evidence: file.evidence, logger: quietLogger };
    const options = { store: this.store, memory, wait: turnsForMs };
    return {
      file,
      up: undefined,
      ledger: new Ledger({ origin: testOrigin, keys: collectorKeys, clock: stoppedClock, ...options }),
    };
  }

  #process(where: number): Process {
    const process = this.#collectors[where % this.#collectors.length];
    assert.ok(process);
    return process;
  }

  #agent(who: number): SimulatedAgent {
    const agent = this.#agents[who % this.#agents.length];
    assert.ok(agent);
    return agent;
  }
}

/** Starts the process once; it goes on running until it is killed. */
async function started(process: Process): Promise<Process> {
  process.up ??= process.ledger.start();
  await process.up;
  return process;
}
