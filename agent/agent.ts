import { setTimeout as delay } from 'node:timers/promises';
import { backoffDelayMs } from '../common/backoff.ts';
import type { Clock } from '../common/clock.ts';
import type { DesiredContainer } from '../common/desired.ts';
import { enforcementPolicy } from '../common/enforcement/policy.ts';
import { type AppError, toAppError } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import type { DiskSpace } from './data/disk.ts';
import type { Adopted, DesiredSource } from './desired/desired-source.ts';
import type { HoldingBoard } from './desired/holding.ts';
import { DesiredUpkeep } from './desired/upkeep.ts';
import type { Engine } from './docker/engine.ts';
import { type EngineDown, type EngineUp, watchEngine } from './docker/watch.ts';
import { ContainerObserver, type InHand } from './observer.ts';
import { OrderDesk, type OrderDeskOptions } from './orders/desk.ts';
import type { IssuedOrder } from './orders/issued.ts';
import type { MeasureWord } from './orders/measure-book.ts';
import type { AdoptedPolicy } from './orders/ports.ts';
import { createGoodImages, type GoodImages, type GoodImagesOptions } from './orders/protect.ts';
import type { Journal } from './ports.ts';
import { everySlot, type Tick } from './schedule.ts';
import type { StoreWatch } from './stores.ts';
import { CoverageAccount, type Cycle } from './told/coverage-account.ts';
import { Owed } from './told/owed.ts';

/** What obeying orders takes beyond what watching does. */
export type OrderNeeds = Omit<
  OrderDeskOptions,
  'node' | 'watch' | 'journal' | 'engine' | 'adopted' | 'origin' | 'clock' | 'logger'
>;

export interface AgentOptions {
  readonly node: string;
  readonly about: { readonly version: string; readonly runtime: string; readonly hostname: string };
  readonly engine: Engine;
  /** What git wants; without it, containers are watched but not judged. */
  readonly desired: DesiredSource | undefined;
  readonly stores: readonly StoreWatch[];
  /** What obeying orders takes; without it, none is obeyed. */
  readonly orders?: OrderNeeds;
  /** Where it is said what the node has of the desired state. */
  readonly holding?: Pick<HoldingBoard, 'put'>;
  /** Where images that wanted containers ran with are kept by a tag; without it, none is. */
  readonly images?: GoodImagesOptions['control'];
  /** Free space where the agent keeps its data; never rejects. Without it, reports say nothing of it. */
  readonly disk?: () => Promise<DiskSpace | undefined>;
  /** An `Account`, so that everything said stands after a baseline. */
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly scanIntervalMs: number;
  /** Collector's clock minus ours, once known. */
  readonly clockOffsetMs: () => number | undefined;
  /** Told after every tick, for metrics and the watchdog. */
  readonly onCycle?: (cycle: Cycle) => void;
}

/** Whether the engine answers; `unknown` until the first word from it. */
export type EngineState = 'unknown' | 'up' | 'down';

const nothingInHand: InHand = { names: new Set(), ids: new Set() };

/** Asked at every comparison; the policy is read out of each manifest once. */
function policyOf(adopted: () => Adopted | undefined): () => AdoptedPolicy | undefined {
  let known: { readonly of: Adopted; readonly policy: AdoptedPolicy } | undefined;
  return () => {
    const of = adopted();
    if (of === undefined) return undefined;
    if (known?.of !== of) {
      const { commit, manifest, desired } = of;
      known = { of, policy: { commit, policy: enforcementPolicy(manifest), containers: desired.containers } };
    }
    return known.policy;
  };
}

/**
 * The agent's cycle: engine events and the minute tick go in, signed entries come out. It neither knows the network nor
 * waits for it.
 */
export class Agent {
  readonly #options: AgentOptions;
  readonly #observer: ContainerObserver;
  readonly #desk: OrderDesk | undefined;
  readonly #goodImages: GoodImages | undefined;
  readonly #owed: Owed;
  readonly #coverage: CoverageAccount;
  readonly #stopping = new AbortController();
  /** Everything under way; stopping waits for it. */
  readonly #running = new Set<Promise<unknown>>();
  #engine: EngineState = 'unknown';
  #insisting = false;
  readonly #desired: DesiredUpkeep;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { desired, journal, logger, engine, clock } = options;
    this.#observer = new ContainerObserver({
      ...{ engine, journal, logger, clock },
      desired: () => desired?.adopted,
      inHand: () => this.#desk?.inHand ?? nothingInHand,
      onCompared: () => this.#desk?.compared(),
    });
    this.#desk = this.#openDesk(options);
    const { images } = options;
    this.#goodImages = images && createGoodImages({ control: images, journal, clock, logger });
    this.#owed = new Owed(journal, logger);
    this.#coverage = this.#openCoverage(options);
    this.#desired = new DesiredUpkeep({
      source: desired,
      holding: options.holding,
      guarded: (work) => this.#guarded('desired', work),
      onAdopted: () => this.#observer.compare(),
    });
  }

  #openCoverage({ journal, scanIntervalMs, clockOffsetMs, stores, disk, logger }: AgentOptions): CoverageAccount {
    return new CoverageAccount({
      ...{ journal, scanIntervalMs, clockOffsetMs, disk, logger, owed: this.#owed },
      containers: () => this.#observer.observed.values(),
      settled: (work) => this.#observer.settled(work),
      contents: () => ({ ...this.summary, stores: stores.map((store) => store.summary) }),
      guarded: (doing, work) => this.#guarded(doing, work),
    });
  }

  #openDesk({ orders, node, journal, engine, desired, clock, logger }: AgentOptions): OrderDesk | undefined {
    if (orders === undefined) return undefined;
    return new OrderDesk({
      ...orders,
      ...{ node, journal, engine, clock, logger },
      watch: this.#observer,
      adopted: policyOf(() => desired?.adopted),
      origin: () => desired?.origin,
    });
  }

  /** Takes what is told of measures that hold orders back. */
  heed(word: MeasureWord): void {
    if (this.#desk === undefined) return;
    this.#desk.measures.take(word);
    this.#run(this.#desk.measures.flush());
  }

  /** Takes an order that is in the ledger; resolves when nothing more is to be done about it now. Never rejects. */
  async obey(issued: IssuedOrder): Promise<void> {
    if (this.#desk !== undefined) await this.#run(this.#desk.receive(issued));
  }

  /**
   * Takes a git bundle with the commit that the collector has adopted; whether it is to be believed is looked into. Resolves when
   * it was. Never rejects.
   */
  async offer(commit: string, bundle: Buffer): Promise<void> {
    await this.#run(this.#desired.offer(commit, bundle));
  }

  get engine(): EngineState {
    return this.#engine;
  }

  /** Containers that git wants here, by the commit in force. */
  get wanted(): readonly DesiredContainer[] {
    return this.#desired.adopted?.desired.containers ?? [];
  }

  get summary() {
    const measures = this.#desk?.measures;
    return {
      ...this.#observer.summary,
      commit: this.#desired.adopted?.commit ?? null,
      measures: { known: measures?.all.size ?? 0, complete: measures?.isComplete ?? true },
    };
  }

  /**
   * Takes up where the last run ended and begins to watch. Never rejects: what the journal does not take now is said
   * once it does.
   */
  async start(): Promise<void> {
    const { about, stores, logger } = this.#options;
    await this.#guarded('restore', () => this.#restore());
    await this.#guarded('start', () => this.#owed.say({ kind: 'agent.started', body: about }));
    await this.#guarded('desired', () => this.#desired.refresh());
    await this.#guarded('desired', () => this.#desired.tellHolding());
    this.#run(this.#watch());
    this.#run(this.#tick());
    for (const store of stores) this.#run(store.run(this.#stopping.signal));
    logger.info('agent.started', { node: this.#options.node, version: about.version });
  }

  /** The journal was replaced and may not know what was told: what it does not know is told again. */
  retell(): void {
    this.#observer.forget();
    if (this.#desk !== undefined) this.#run(this.#desk.retell());
    this.#options.desired?.forget();
    for (const store of this.#options.stores) store.forget();
    this.#run(this.#guarded('retell', () => this.#desired.refresh()));
    this.#run(this.#guarded('retell', () => this.#observer.scan()));
  }

  /** Stops watching; resolves when nothing uses the journal any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#desk?.stop();
    this.#options.engine.close();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #restore(): Promise<void> {
    await this.#coverage.restore();
    await this.#desk?.restore();
    await this.#observer.restore();
    await this.#options.desired?.restore();
  }

  #run<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
    return work;
  }

  #watch(): Promise<void> {
    const { engine, clock, random, logger } = this.#options;
    return watchEngine(engine, {
      clock,
      random,
      backoff: { minMs: limits.backoffMinMs, maxMs: limits.engineBackoffMaxMs },
      signal: this.#stopping.signal,
      onUp: (up) => this.#run(this.#engineCame(up)),
      onDown: (down) => this.#engineWent(down),
      onEvent: (event) => this.#run(this.#guarded('event', () => this.#observer.look(event.containerId))),
      onUnreadable: (reason) => {
        logger.warn('engine.unreadable_event', { reason });
        this.#run(this.#guarded('scan', () => this.#observer.scan()));
      },
    });
  }

  async #engineCame({ atMs, missedSinceMs }: EngineUp): Promise<void> {
    this.#engine = 'up';
    this.#options.logger.info('engine.up');
    await this.#guarded('engine', () => this.#observer.scan());
    await this.#desk?.resume();
    if (missedSinceMs === undefined) return;
    await this.#guarded('gap', () =>
      this.#coverage.tellGap({ fromMs: missedSinceMs, toMs: atMs, reason: 'engine-down' }),
    );
  }

  #engineWent({ error }: EngineDown): void {
    this.#engine = 'down';
    this.#observer.engineAway();
    this.#options.logger.warn('engine.down', { reason: error.message });
  }

  #tick(): Promise<void> {
    const { clock, scanIntervalMs } = this.#options;
    const onTick = async (tick: Tick) => {
      await this.#guarded('tick', () => this.#cycle(tick));
    };
    return everySlot({ clock, intervalMs: scanIntervalMs, signal: this.#stopping.signal, onTick });
  }

  /** One minute: what git wants, everything that runs, and the report. */
  async #cycle({ slot, delayMs }: Tick): Promise<void> {
    const { clock, stores } = this.#options;
    const began = { wallMs: slot + delayMs, monotonicMs: clock.monotonicMs() };
    for (const store of stores) store.wake();
    if (this.#desk !== undefined) this.#run(this.#desk.tidy());
    // A repository that does not answer must not make the scan late.
    const refreshed = this.#guarded('desired', () => this.#desired.refresh());
    this.#run(this.#desired.again());
    const engineUp = await this.#scan();
    // What the engine went away in the middle of, for less time than it takes to notice.
    if (engineUp && this.#desk !== undefined) this.#run(this.#desk.resume());
    // A scan that was broken off says nothing about the engine.
    if (this.#stopping.signal.aborted) return;
    const scanMs = Math.round(clock.monotonicMs() - began.monotonicMs);
    await refreshed;
    const cycle = await this.#coverage.tell({ slot, delayMs, began, scanMs, engineUp });
    if (engineUp) this.#run(this.#guarded('images', () => this.#keepImages()));
    this.#options.onCycle?.(cycle);
  }

  /** Where nothing is ever done about drift, nothing is changed for it either. */
  async #keepImages(): Promise<void> {
    const { adopted } = this.#desired;
    const { standing, observed } = this.#observer;
    if (adopted === undefined || standing === undefined || adopted.manifest.config.enforcement_mode === 'audit') return;
    const drifts = [...standing.values()].map(({ drift }) => drift);
    await this.#goodImages?.keep({ wanted: adopted.desired.containers, observed: observed.values(), drifts });
  }

  /** Whether the engine answered; what else may go wrong with a scan is not its fault. */
  async #scan(): Promise<boolean> {
    let engineUp = true;
    await this.#guarded('scan', () =>
      this.#observer.scan().catch((thrown: unknown) => {
        engineUp = !toAppError(thrown).code.startsWith('engine.');
        throw thrown;
      }),
    );
    return engineUp;
  }

  /** What a refusing journal left unsaid is said as soon as it takes it, not only at the next tick. */
  async #insist(): Promise<void> {
    if (this.#insisting) return;
    this.#insisting = true;
    const { random, scanIntervalMs } = this.#options;
    const { signal } = this.#stopping;
    const bounds = { minMs: limits.backoffMinMs, maxMs: scanIntervalMs };
    for (let attempt = 0, said = false; !said && !signal.aborted; attempt += 1) {
      await delay(backoffDelayMs(attempt, bounds, random), undefined, { signal }).catch(() => {});
      said = signal.aborted || (await this.#attempt('insist', () => this.#sayAll()));
    }
    this.#insisting = false;
  }

  async #sayAll(): Promise<void> {
    await this.#owed.settle();
    await this.#observer.compare();
  }

  /** The boundary of everything the agent does by itself: nothing that goes wrong here stops the watching. */
  async #guarded(doing: string, work: () => Promise<unknown>): Promise<boolean> {
    const done = await this.#attempt(doing, work);
    if (!done && !this.#stopping.signal.aborted) this.#run(this.#insist());
    return done;
  }

  async #attempt(doing: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (thrown) {
      this.#tellFailure(doing, toAppError(thrown));
      return false;
    }
  }

  /** That the engine is away is said once, by itself; what cannot be done meanwhile fails every minute, and its stack says nothing. */
  #tellFailure(doing: string, error: AppError): void {
    const { logger } = this.#options;
    const { code, message } = error;
    if (!code.startsWith('engine.')) logger.error('agent.failed', { doing, code, error });
    else if (this.#engine === 'down') logger.debug('agent.failed', { doing, code, reason: message });
    else logger.warn('agent.failed', { doing, code, reason: message });
  }
}
