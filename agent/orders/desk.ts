import pLimit from 'p-limit';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { type Refusal, refusalOf, resumptionRefusal } from '../../common/enforcement/permission.ts';
import { makesContainer } from '../../common/enforcement/wanted.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Order } from '../../common/order.ts';
import type { Origin } from '../desired/standing.ts';
import type { EngineControl } from '../docker/control.ts';
import type { Engine } from '../docker/engine.ts';
import type { InHand } from '../observer.ts';
import type { Journal } from '../ports.ts';
import { type ActNeeds, act, type Done, keptUntil, resume, type Task } from './acts.ts';
import { type Aftermath, createAftermath } from './aftermath.ts';
import { createAlone } from './alone.ts';
import type { VerifyApprovals } from './approvers.ts';
import { type Ending, OrderBook } from './book.ts';
import { createCircumstances, type NodeCircumstances } from './circumstances.ts';
import type { EvidenceFolder } from './evidence.ts';
import type { IssuedOrder } from './issued.ts';
import { LocalRules } from './local.ts';
import type { MakeContainer } from './make.ts';
import type { MeasureBook } from './measure-book.ts';
import type { AdoptedPolicy, OrderWatch } from './ports.ts';
import type { OrderRecord } from './records.ts';
import { Unsettled } from './replace.ts';
import { createUnwitnessed } from './unwitnessed.ts';

export interface OrderDeskOptions {
  readonly node: string;
  readonly watch: OrderWatch;
  readonly journal: Journal;
  readonly engine: Pick<Engine, 'inspect' | 'list'>;
  /** The engine's levers, for what the signed entry of an order asks for. @param wanted what it makes */
  readonly controlFor: (entry: OrderRecord['entry'], wanted?: DesiredContainer) => EngineControl;
  readonly make: MakeContainer;
  readonly evidence: EvidenceFolder;
  readonly verifyApprovals: VerifyApprovals;
  readonly adopted: () => AdoptedPolicy | undefined;
  /** Where the commit in force came from. */
  readonly origin: () => Origin | undefined;
  /** False while the ledger stands contradicted. */
  readonly trusted: () => boolean;
  /** How long the collector has not been heard, milliseconds; undefined while it is. */
  readonly cutOffMs: () => number | undefined;
  /** For how long it has been heard since this program began, milliseconds. */
  readonly connectedMs: () => number;
  readonly random: (bytes: number) => Buffer;
  readonly clock: Clock;
  /** Rejects when the signal ends it. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

/**
 * Where orders are obeyed, or not. Whether one is permitted is decided for one order at a time, so that each counts for the next;
 * the work itself goes on side by side, once for a container.
 *
 * Crash points: an order is on record as begun, durably, before anything is touched. One that was begun and not ended is finished
 * or undone at the next start. Nothing is begun twice, whoever sends it however often.
 */
export class OrderDesk {
  readonly #options: OrderDeskOptions;
  readonly #book: OrderBook;
  readonly #aftermath: Aftermath;
  readonly #circumstances: NodeCircumstances;
  readonly #local: LocalRules;
  readonly #unwitnessed: ReturnType<typeof createUnwitnessed>;
  readonly #oneAtATime = pLimit(1);
  /** Work under way, by name of the container. */
  readonly #working = new Map<string, Task>();
  /** Hashes of orders that somebody is at. */
  readonly #attended = new Set<string>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();
  readonly #decideAlone: () => Promise<void>;
  #followUpWaits = false;
  /** A decision waits or is under way. */
  #isDeciding = false;
  #refusals = { minute: 0, count: 0 };

  constructor(options: OrderDeskOptions) {
    this.#options = options;
    this.#book = new OrderBook(options);
    this.#aftermath = createAftermath({ ...options, book: this.#book });
    this.#circumstances = createCircumstances({ ...options, book: this.#book });
    this.#local = new LocalRules(options);
    this.#unwitnessed = createUnwitnessed(options);
    this.#decideAlone = createAlone({
      ...{ ...options, local: this.#local, book: this.#book },
      surroundings: () => this.#circumstances.surroundings(),
      isBusy: (container) => this.#working.has(container),
      look: (order) => this.#circumstances.look(order),
      begin: (task, entry) => this.#begin(task, entry),
    });
  }

  /** Reads back what is remembered, which comes before anything is observed. */
  async restore(): Promise<void> {
    await this.#book.restore();
    await this.#local.restore();
  }

  /** What this node was told of measures that hold orders back. */
  get measures(): MeasureBook {
    return this.#local.measures;
  }

  /** What is not to be taken for drift: containers that are being replaced, and those that were put aside. */
  get inHand(): InHand {
    return this.#book.inHand;
  }

  /** Takes an order that is in the ledger. Resolves when it is decided; what is done about it goes on. Never rejects. */
  receive(issued: IssuedOrder): Promise<void> {
    if (this.#oneAtATime.pendingCount >= limits.maxOrdersWaiting) {
      this.#options.logger.warn('order.not_taken', { order: issued.hash, reason: 'too many wait; it is sent again' });
      return Promise.resolve();
    }
    return this.#track(this.#oneAtATime(() => this.#guarded('order', () => this.#consider(issued))));
  }

  /** Ends what was begun when this program ended the last time. */
  async resume(): Promise<void> {
    const idle = this.#book.begun.filter(
      ([hash, { order }]) => !this.#working.has(order.container) && !this.#attended.has(hash),
    );
    // Side by side: one that waits for its container to become healthy must not keep another one's from being put back.
    await Promise.all(idle.map(([hash, record]) => this.#guarded('resume', () => this.#resume(hash, record))));
  }

  /** The journal was replaced; the memory of orders must not end with it. */
  retell(): Promise<void> {
    void this.#track(this.#guarded('retell', () => this.#local.retell()));
    return this.#track(this.#oneAtATime(() => this.#guarded('retell', () => this.#book.retell())));
  }

  /**
   * What was seen may say more about orders that were executed, and call for a decision. One of each waits at most: it sees all that
   * was seen before its turn. A decision looks at containers itself, and is not called for by what that shows.
   */
  compared(): void {
    if (!this.#followUpWaits) {
      this.#followUpWaits = true;
      const followUp = async () => {
        this.#followUpWaits = false;
        await this.#guarded('outcome', () => this.#aftermath.followUp());
      };
      void this.#track(this.#oneAtATime(followUp));
    }
    // Asked every time, since a commit settles from when it is seen.
    const isAlone = this.#local.inForce() !== undefined;
    if (!isAlone || this.#isDeciding) return;
    this.#isDeciding = true;
    const decide = async () => {
      await this.#guarded('local', this.#decideAlone);
      this.#isDeciding = false;
    };
    void this.#track(this.#oneAtATime(decide));
  }

  /** Removes what has been kept for long enough. */
  tidy(): Promise<void> {
    void this.#track(this.#local.tidy());
    return this.#track(this.#oneAtATime(() => this.#guarded('tidy', () => this.#aftermath.tidy())));
  }

  /** Resolves when nothing is under way. What waits for a container to become healthy is taken up again at the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.settled();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #consider(issued: IssuedOrder): Promise<void> {
    const { hash, order } = issued;
    // An outbox that was lost takes its memory along; the evidence does not go with it.
    if (this.#book.all.has(hash) || (await this.#options.evidence.has(hash))) return;
    const task = await this.#find(issued);
    const refusal = 'refusal' in task ? task.refusal : await this.#refusal(issued, task);
    if (refusal !== undefined) {
      if (this.#unwitnessed.has(hash, refusal) || !this.#mayRefuse()) return;
      if (refusal.code === 'unwitnessed') return this.#unwitnessed.tell(hash, refusal);
      const outcome = refusal.code === 'expired' ? 'expired' : 'refused';
      await this.#book.refuse(hash, { order, entry: issued.proof.entry }, { outcome, ...refusal });
      return;
    }
    if (!('refusal' in task)) await this.#begin(task, issued.proof.entry);
  }

  /** Whoever owns the collector can make up as many orders as he likes; they must not fill the outbox with answers. */
  #mayRefuse(): boolean {
    const minute = Math.floor(this.#options.clock.monotonicMs() / 60_000);
    if (minute !== this.#refusals.minute) this.#refusals = { minute, count: 0 };
    this.#refusals.count += 1;
    if (this.#refusals.count === limits.maxRefusalsPerMinute + 1) this.#options.logger.warn('order.refusals_untold');
    return this.#refusals.count <= limits.maxRefusalsPerMinute;
  }

  async #begin(task: Task, entry: OrderRecord['entry']): Promise<void> {
    const { hash, order } = task;
    const record = await this.#book.begin(hash, { order, entry }, task.target);
    void this.#track(this.#work(task, record, (needs) => act(task, needs)));
  }

  /** Looks again at what the order is about: what was true when it was decided may not be any more. */
  async #find(issued: IssuedOrder): Promise<Task | { readonly refusal: Refusal }> {
    // What is not for us, or too old, is not worth a look.
    const unseen = { ...(await this.#circumstances.of(issued, undefined)), drifts: new Map() };
    const hopeless = refusalOf(issued.order, unseen);
    if (hopeless !== undefined && cheap.has(hopeless.code)) return { refusal: hopeless };
    try {
      return { ...issued, ...(await this.#circumstances.look(issued.order)) };
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      return { refusal: { code: 'gone', reason: `the container cannot be looked at (${code}): ${message}` } };
    }
  }

  async #refusal(issued: IssuedOrder, task: Task): Promise<Refusal | undefined> {
    if (this.#working.has(issued.order.container)) {
      return { code: 'busy', reason: `another order is being carried out on ${issued.order.container}` };
    }
    if (this.#options.watch.standing === undefined) {
      return { code: 'gone', reason: 'nothing can be said of what runs: the engine has not been seen in full' };
    }
    return refusalOf(issued.order, await this.#circumstances.of(issued, task.target));
  }

  async #work(task: Task, record: OrderRecord, how: (needs: ActNeeds) => Promise<Done | undefined>): Promise<void> {
    const { hash, order } = task;
    this.#working.set(order.container, task);
    this.#attended.add(hash);
    try {
      const done = await how(this.#needs(task, record));
      const undone: Ending = {
        outcome: 'failed',
        code: 'interrupted',
        reason: 'the agent ended in the middle of it; it was undone',
      };
      const executed: Ending = { outcome: 'executed', code: null, reason: 'done', ...(done && { done }) };
      this.#working.delete(order.container);
      await this.#insist(hash, task, done === undefined ? undone : executed);
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      this.#working.delete(order.container);
      // Left as begun, it is finished or undone by the next run.
      if (this.#stopping.signal.aborted) return;
      if (thrown instanceof Unsettled) {
        this.#options.logger.error('order.unsettled', { order: hash, container: order.container, error: thrown });
        return;
      }
      await this.#insist(hash, task, { outcome: 'failed', code, reason: message });
    } finally {
      this.#attended.delete(hash);
    }
    // Where nothing is to be kept, this is the time. In its turn: whoever changes a record has to know what others made of it.
    await this.#oneAtATime(() => this.#guarded('tidy', () => this.#aftermath.letGo()));
    // What was left alone meanwhile is judged now.
    await this.#guarded('look', () => this.#lookAfter(order));
  }

  /** A replacement touches containers that its order does not name. */
  #lookAfter({ action, containerId }: Order): Promise<void> {
    const { watch } = this.#options;
    return containerId === null || makesContainer(action) ? watch.scan() : watch.look(containerId);
  }

  #needs({ hash, wanted }: Task, record: OrderRecord): ActNeeds {
    const { engine, controlFor, make, evidence, clock, sleep } = this.#options;
    const control = controlFor(record.entry, wanted);
    return {
      ...{ engine, control, make, evidence, clock },
      sleep: (ms) => sleep(ms, this.#stopping.signal),
      signal: this.#stopping.signal,
      at: rfc3339(clock.now()),
      rememberNetworks: async (networks) => {
        await this.#book.remember(hash, { ...(this.#book.all.get(hash) ?? record), networks });
      },
      networksBefore: this.#book.networksBefore(record.order),
    };
  }

  /** The journal may be full, or its disk: what has been done is said as soon as it takes it. */
  async #insist(hash: string, task: Task, ending: Ending): Promise<void> {
    const { sleep, logger } = this.#options;
    for (let attempt = 0; attempt < maxSayAttempts; attempt += 1) {
      const record = this.#book.all.get(hash);
      if (record === undefined) return;
      try {
        await this.#book.end(hash, record, ending, this.#keptUntil(task, ending));
        return;
      } catch (thrown) {
        if (this.#stopping.signal.aborted) return;
        logger.error('order.unsaid', { order: hash, outcome: ending.outcome, error: toAppError(thrown) });
        await sleep(sayAgainMs, this.#stopping.signal).catch(() => {});
      }
    }
  }

  #keptUntil(task: Task, { outcome }: Ending): number | null {
    const { adopted, clock } = this.#options;
    return outcome === 'executed' ? keptUntil(task, adopted()?.policy.rollback.keptMs, clock.now()) : null;
  }

  async #resume(hash: string, record: OrderRecord): Promise<void> {
    this.#attended.add(hash);
    try {
      const task = await this.#takeUp(hash, record);
      if (task !== undefined) await this.#track(this.#work(task, record, (needs) => resume(task, record.was, needs)));
    } finally {
      this.#attended.delete(hash);
    }
  }

  /** A replacement is settled in any case; whatever else was begun is gone on with only if it is still due. */
  async #takeUp(hash: string, record: OrderRecord): Promise<Task | undefined> {
    const { watch, adopted, engine, logger } = this.#options;
    const { order, entry } = record;
    logger.warn('order.resumed', { order: hash, action: order.action, container: order.container });
    const isSettled = order.action === 'restore' || order.action === 'rollback';
    // Not from what was seen: a container that could not be inspected is not gone.
    const found = order.containerId === null || isSettled ? undefined : await engine.inspect(order.containerId);
    const target = found?.container;
    const wanted = adopted()?.containers.find(({ name }) => name === order.container);
    const proof = { entry, index: 0, hashes: [], checkpoint: '' };
    const task: Task = { hash, order, approvals: [], proof, target, wanted };
    if (isSettled || target === undefined) return task;
    if (watch.standing === undefined && adopted() !== undefined) return undefined;
    const refusal = resumptionRefusal(order, await this.#circumstances.of(task, target));
    if (refusal === undefined) return task;
    const reason = `the agent ended in the middle of it, and by now it is not due any more: ${refusal.reason}`;
    await this.#book.end(hash, record, { outcome: 'failed', code: 'interrupted', reason });
    return undefined;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const forget = () => this.#running.delete(work);
    work.then(forget, forget);
    return work;
  }

  /** The boundary of all that the desk does: nothing that goes wrong here ends the agent. */
  async #guarded(doing: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const error: AppError = toAppError(thrown);
      this.#options.logger.error('order.failed', { doing, code: error.code, error });
    }
  }
}

/** Refusals that do not depend on what runs. */
const cheap: ReadonlySet<Refusal['code']> = new Set([
  ...(['misdirected', 'expired', 'untrusted', 'commit', 'unwitnessed'] as const),
  ...(['mode', 'rule', 'manual', 'approvals', 'window'] as const),
]);
const maxSayAttempts = 1_000;
const sayAgainMs = 1_000;
