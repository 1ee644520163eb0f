import type { Clock } from '../common/clock.ts';
import { rfc3339 } from '../common/clock.ts';
import { type AppError, toAppError } from '../common/errors.ts';
import type { Statement } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { coverageGap, coverageOf } from './coverage.ts';
import type { DesiredSource } from './desired/desired-source.ts';
import type { Engine } from './docker/engine.ts';
import { type EngineDown, type EngineUp, watchEngine } from './docker/watch.ts';
import { ContainerObserver } from './observer.ts';
import type { Journal } from './ports.ts';
import { everySlot, type Tick } from './schedule.ts';
import type { StoreWatch } from './stores.ts';

export interface AgentOptions {
  readonly node: string;
  readonly about: { readonly version: string; readonly runtime: string; readonly hostname: string };
  readonly engine: Engine;
  /** What git wants; without it, containers are watched but not judged. */
  readonly desired: DesiredSource | undefined;
  readonly stores: readonly StoreWatch[];
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

/** One scan interval, done. */
export interface Cycle {
  readonly slot: number;
  readonly coverage: ReturnType<typeof coverageOf>;
  readonly scanMs: number;
}

/** Key of the last reported interval, RFC 3339: where the next run finds out how long nobody watched. */
const lastSlotKey = 'slot';

/**
 * The agent's cycle: engine events and the minute tick go in, signed entries come out. It neither knows the network nor
 * waits for it.
 */
export class Agent {
  readonly #options: AgentOptions;
  readonly #observer: ContainerObserver;
  readonly #stopping = new AbortController();
  /** Everything under way; stopping waits for it. */
  readonly #running = new Set<Promise<unknown>>();
  #engineUp = false;
  #lastSlot: number | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { desired, journal, logger, engine } = options;
    this.#observer = new ContainerObserver({ engine, journal, logger, desired: () => desired?.adopted });
  }

  get engineUp(): boolean {
    return this.#engineUp;
  }

  get summary() {
    return { ...this.#observer.summary, commit: this.#options.desired?.adopted?.commit ?? null };
  }

  /** Takes up where the last run ended and begins to watch. Resolves once the agent has said that it is here. */
  async start(): Promise<void> {
    const { journal, about, stores, logger } = this.#options;
    await this.#restore();
    const lastSlot = (await journal.state(lastSlotKey)).get(lastSlotKey);
    if (typeof lastSlot === 'string') this.#lastSlot = Date.parse(lastSlot);
    await this.#say([{ kind: 'agent.started', body: about }]);
    await this.#guarded('desired', () => this.#refreshDesired());
    this.#run(this.#watch());
    this.#run(this.#tick());
    for (const store of stores) this.#run(store.run(this.#stopping.signal));
    logger.info('agent.started', { node: this.#options.node, version: about.version });
  }

  /** The journal has lost what was told and begins anew: so does the telling. */
  retell(): void {
    this.#run(
      this.#guarded('retell', async () => {
        await this.#restore();
        for (const store of this.#options.stores) store.wake();
        await this.#observer.scan();
      }),
    );
  }

  /** Stops watching; resolves when nothing uses the journal any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #restore(): Promise<void> {
    await this.#observer.restore();
    await this.#options.desired?.restore();
    for (const store of this.#options.stores) await store.restore();
  }

  #run(work: Promise<unknown>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  #watch(): Promise<void> {
    const { engine, clock, random, logger } = this.#options;
    return watchEngine(engine, {
      clock,
      random,
      backoff: { minMs: limits.backoffMinMs, maxMs: limits.engineBackoffMaxMs },
      signal: this.#stopping.signal,
      onUp: (up) => this.#run(this.#guarded('engine', () => this.#engineCame(up))),
      onDown: (down) => this.#engineWent(down),
      onEvent: (event) => this.#run(this.#guarded('event', () => this.#observer.look(event.containerId))),
      onUnreadable: (reason) => {
        logger.warn('engine.unreadable_event', { reason });
        this.#run(this.#guarded('scan', () => this.#observer.scan()));
      },
    });
  }

  async #engineCame({ atMs, missedSinceMs }: EngineUp): Promise<void> {
    this.#options.logger.info('engine.up');
    await this.#observer.scan();
    this.#engineUp = true;
    if (missedSinceMs !== undefined) await this.#sayGap(missedSinceMs, atMs, 'engine-down');
  }

  #engineWent({ error }: EngineDown): void {
    this.#engineUp = false;
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
    const { clock, clockOffsetMs, scanIntervalMs, stores } = this.#options;
    const startedMs = clock.monotonicMs();
    for (const store of stores) store.wake();
    await this.#guarded('desired', () => this.#refreshDesired());
    const engineUp = await this.#scan();
    if (this.#lastSlot !== undefined && slot - this.#lastSlot > scanIntervalMs) {
      await this.#sayGap(this.#lastSlot + scanIntervalMs, slot, 'agent-down');
    }
    const scanMs = Math.round(clock.monotonicMs() - startedMs);
    const wentBack = this.#lastSlot !== undefined && slot <= this.#lastSlot;
    const coverage = coverageOf({ engineUp, delayMs, clockOffsetMs: clockOffsetMs(), wentBack });
    await this.#report(slot, coverage, scanMs);
    this.#options.onCycle?.({ slot, coverage, scanMs });
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

  async #report(slot: number, coverage: Cycle['coverage'], scanMs: number): Promise<void> {
    const minute = rfc3339(slot);
    const { containers, drifts, commit } = this.summary;
    const stores = this.#options.stores.map((store) => store.summary);
    const report: Statement = {
      kind: 'report',
      body: { minute, coverage, scanMs, containers, drifts, stores, commit },
    };
    const change = { key: lastSlotKey, value: minute };
    const said = await this.#options.journal.append([report], [change]);
    // A report that a full outbox has dropped is accounted for there; it must not look like a missed minute too.
    if (said.length === 0) await this.#options.journal.append([], [change]);
    this.#lastSlot = slot;
  }

  async #refreshDesired(): Promise<void> {
    const before = this.#options.desired?.adopted;
    await this.#options.desired?.refresh();
    if (this.#options.desired?.adopted !== before) await this.#observer.compare();
  }

  async #sayGap(fromMs: number, toMs: number, reason: 'agent-down' | 'engine-down'): Promise<void> {
    await this.#say([coverageGap({ fromMs, toMs, reason }, this.#observer.observed.values())]);
    this.#options.logger.warn('coverage.gap', { from: rfc3339(fromMs), to: rfc3339(toMs), reason });
  }

  async #say(statements: readonly Statement[]): Promise<void> {
    await this.#options.journal.append(statements);
  }

  /** The boundary of everything the agent does by itself: nothing that goes wrong here stops the watching. */
  async #guarded(doing: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (thrown) {
      const error: AppError = toAppError(thrown);
      this.#options.logger.error('agent.failed', { doing, code: error.code, error });
      return false;
    }
  }
}
