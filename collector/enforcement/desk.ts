import { setTimeout } from 'node:timers';
import pLimit from 'p-limit';
import { backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { createAnnouncements } from './announcements.ts';
import type { EnforcementMetrics, OrderVouchers, PlanningStore, VerifyAnnouncement } from './desk-ports.ts';
import { createDispatcher, type Dispatcher } from './dispatcher.ts';
import { createFreezer } from './freezer.ts';
import { NodeClocks } from './graces.ts';
import type { OrderCarrier, Recorder } from './ports.ts';
import { EnforcementRounds } from './rounds.ts';
import type { HeldDrift, HoldCode, ManifestInForce } from './situation.ts';

export interface EnforcementDeskOptions {
  readonly store: PlanningStore;
  readonly ledger: Recorder;
  readonly carrier: OrderCarrier;
  /** The manifest in force at this moment; nothing is ordered without one. */
  readonly manifest: () => ManifestInForce | undefined;
  /** For manifests that have orders witnessed. */
  readonly vouchers?: OrderVouchers;
  readonly verifyAnnouncement: VerifyAnnouncement;
  readonly clock: Clock;
  /** As many random bytes, never used before. */
  readonly random: (bytes: number) => Buffer;
  readonly logger: Logger;
  readonly metrics: EnforcementMetrics;
  /** Runs work once so many milliseconds have passed, unless it is called off; without it, by real ones. */
  readonly schedule?: Schedule;
}

/** @returns what calls it off. */
export type Schedule = (ms: number, work: () => void) => () => void;

/**
 * Where orders are decided: for every node with an open session here, from an entry that tells of a drift to the order on its
 * way. No call throws or waits, so that whatever fails here never holds up an append; it is logged and tried again.
 *
 * A node has its session at one collector, so of several on one database one plans for it. While a session moves, both may
 * believe that it is theirs for some seconds, and both order: the two orders differ in their nonces, and the node obeys the
 * one that comes first. For the other the cooldown lasts, or its drift does not stand any more.
 */
export interface EnforcementDesk {
  /** Entries of these kinds were appended for a node. The way from a drift to its order, so it begins at once. */
  saw(node: string, kinds: readonly Kind[]): void;
  /** A node has opened a session: it gets what waits for it. */
  nodeCame(node: string): void;
  /** Somebody else has put something on record: an approval, a manual order, a silence, a release; or the manifest is another. */
  heard(): void;
  /** Witnesses have seen more of the ledger: orders that wait for them may go. */
  vouched(): void;
  /** Begins to look by itself every now and then, for what no call tells of. */
  start(): void;
  /** Begins nothing more; resolves when what is under way is done. */
  stop(): Promise<void>;
}

export function createEnforcementDesk(options: EnforcementDeskOptions): EnforcementDesk {
  return new Desk(options);
}

/** Entries after which something else may have to be ordered on their node. */
const telling: ReadonlySet<Kind> = new Set<Kind>([
  'drift.opened',
  'drift.changed',
  'order.result',
  'order.local',
  'desired.adopted',
]);

interface NodeState {
  /** The rounds under way, one after another. */
  running: Promise<void> | undefined;
  /** Something has happened that the round under way may not have seen. */
  again: boolean;
  callOff: () => void;
  /** In a row. */
  failures: number;
  held: readonly HeldDrift[];
  readonly clocks: NodeClocks;
}

class Desk implements EnforcementDesk {
  readonly #options: EnforcementDeskOptions;
  readonly #rounds: EnforcementRounds;
  readonly #dispatcher: Dispatcher;
  readonly #schedule: Schedule;
  /** Others need the database too. */
  readonly #slots = pLimit(limits.enforcementRoundsAtOnce);
  readonly #nodes = new Map<string, NodeState>();
  /** Work outside of rounds. */
  readonly #sending = new Set<Promise<void>>();
  #netIsOff: () => void = () => {};
  /** Where the next look at everything goes on. */
  #cursor = '';
  #hearing = false;
  #heardAgain = false;
  #stopped = false;
  #told = '';

  constructor(options: EnforcementDeskOptions) {
    const { verifyAnnouncement: verify, logger } = options;
    this.#options = options;
    this.#schedule = options.schedule ?? schedule;
    const announcements = createAnnouncements({ verify, logger });
    const believed = announcements.inForce;
    this.#dispatcher = createDispatcher({ ...options, believed });
    const freezer = createFreezer(options);
    this.#rounds = new EnforcementRounds({ ...options, dispatcher: this.#dispatcher, freezer, announcements });
  }

  saw(node: string, kinds: readonly Kind[]): void {
    if (kinds.some((kind) => telling.has(kind))) this.#look(node);
  }

  nodeCame(node: string): void {
    this.#dispatcher.forget(node);
    this.#send([node]);
    this.#look(node);
  }

  heard(): void {
    this.#heardAgain = true;
    if (!this.#hearing) this.#track(this.#hear());
  }

  vouched(): void {
    const nodes = this.#dispatcher.unwitnessed;
    if (nodes.length > 0) this.#send(nodes);
  }

  start(): void {
    const jitteredMs = limits.enforcementLookMs * (0.75 + this.#uniform() / 2);
    this.#netIsOff = this.#schedule(jitteredMs, () =>
      this.#track(this.#lookAround().finally(() => this.#stopped || this.start())),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#netIsOff();
    for (const { callOff } of this.#nodes.values()) callOff();
    await Promise.all([...this.#sending, ...[...this.#nodes.values()].map(({ running }) => running)]);
  }

  /** Undefined while there is nothing to decide: then nobody asks the database anything. */
  #manifest(): ManifestInForce | undefined {
    const manifest = this.#stopped ? undefined : this.#options.manifest();
    return manifest?.policy.mode === 'audit' ? undefined : manifest;
  }

  #look(node: string): void {
    if (this.#manifest() === undefined) return;
    const state = this.#nodes.get(node) ?? newState();
    this.#nodes.set(node, state);
    state.again = true;
    state.running ??= this.#work(node, state);
  }

  async #work(node: string, state: NodeState): Promise<void> {
    while (state.again && !this.#stopped) {
      state.again = false;
      state.callOff();
      await this.#slots(() => this.#round(node, state));
    }
    state.running = undefined;
  }

  async #round(node: string, state: NodeState): Promise<void> {
    const { carrier, clock, metrics, logger } = this.#options;
    const manifest = this.#manifest();
    if (manifest === undefined || !carrier.nodes().includes(node)) return this.#drop(node, state);
    try {
      const { held, untilMs } = await this.#rounds.run(node, manifest, state.clocks);
      this.#count(state, held);
      state.failures = 0;
      this.#told = '';
      if (untilMs !== undefined) this.#lookIn(node, state, Math.max(1, untilMs - clock.now()));
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      metrics.failed();
      if (this.#told !== message) logger.warn('enforcement.round_failed', { node, code, message });
      this.#told = message;
      const bounds = { minMs: limits.backoffMinMs, maxMs: limits.backoffMaxMs };
      const waitMs = backoffDelayMs(state.failures++, bounds, () => this.#uniform());
      this.#lookIn(node, state, Math.max(limits.backoffMinMs / 2, waitMs));
    }
  }

  #lookIn(node: string, state: NodeState, ms: number): void {
    state.callOff();
    if (!this.#stopped) state.callOff = this.#schedule(Math.min(ms, maxTimerMs), () => this.#look(node));
  }

  /** Looked after by another collector, or by nobody while nothing is enforced. */
  #drop(node: string, state: NodeState): void {
    this.#count(state, []);
    state.callOff();
    this.#dispatcher.forget(node);
    if (!state.again) this.#nodes.delete(node);
  }

  #count(state: NodeState, held: readonly HeldDrift[]): void {
    const change = new Map<HoldCode, number>();
    for (const { code } of held) change.set(code, (change.get(code) ?? 0) + 1);
    for (const { code } of state.held) change.set(code, (change.get(code) ?? 0) - 1);
    for (const [code, by] of change) if (by !== 0) this.#options.metrics.held(code, by);
    state.held = held;
  }

  /** Sends what is on record; what cannot be sent now is sent when everything is looked at. */
  #send(nodes: readonly string[]): void {
    this.#track(this.#sendWaiting(nodes));
  }

  async #sendWaiting(nodes: readonly string[]): Promise<void> {
    const manifest = this.#manifest();
    if (manifest === undefined) return;
    try {
      await this.#dispatcher.waiting(nodes, manifest, this.#options.clock.now());
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      this.#options.logger.warn('enforcement.dispatch_failed', { code, message });
    }
  }

  /** Words that come while one is looked into are looked into together. */
  async #hear(): Promise<void> {
    this.#hearing = true;
    while (this.#heardAgain && !this.#stopped) {
      this.#heardAgain = false;
      await this.#sendWaiting(this.#options.carrier.nodes());
      // A silence that has ended, or a release, can only let go what was held.
      for (const [node, { held }] of this.#nodes) if (held.length > 0) this.#look(node);
    }
    this.#hearing = false;
  }

  /** The net under everything: orders that were not sent, and a number of nodes, others each time, one after another. */
  async #lookAround(): Promise<void> {
    const here = [...this.#options.carrier.nodes()].sort();
    for (const [node, state] of this.#nodes) {
      if (state.running === undefined && (this.#manifest() === undefined || !here.includes(node)))
        this.#drop(node, state);
    }
    await this.#sendWaiting(here);
    const after = here.findIndex((node) => node > this.#cursor);
    const from = Math.max(0, after);
    for (const node of [...here.slice(from), ...here.slice(0, from)].slice(0, limits.enforcementLookNodes)) {
      this.#cursor = node;
      this.#look(node);
      await this.#nodes.get(node)?.running;
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch((thrown: unknown) => {
      const { code, message } = toAppError(thrown);
      this.#options.logger.error('enforcement.failed', { code, message });
    });
    const done = tracked.finally(() => this.#sending.delete(done));
    this.#sending.add(done);
  }

  /** In [0, 1). */
  #uniform(): number {
    return this.#options.random(uniformBytes).readUInt32BE() / 2 ** (8 * uniformBytes);
  }
}

const uniformBytes = 4;
/** What a timer can wait at most; who waits for longer looks in between. */
const maxTimerMs = 2 ** 31 - 1;

function newState(): NodeState {
  return { running: undefined, again: false, callOff: () => {}, failures: 0, held: [], clocks: new NodeClocks() };
}

const schedule: Schedule = (ms, work) => {
  const timer = setTimeout(work, ms);
  return () => clearTimeout(timer);
};
