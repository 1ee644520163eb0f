import { hash } from 'node:crypto';
import { laterOutcome } from '../../../agent/orders/outcome.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { rfc3339 } from '../../../common/clock.ts';
import type { MadeContainer } from '../../../common/config-drift.ts';
import type { DesiredState } from '../../../common/desired.ts';
import { type Drift, diff, driftChanges } from '../../../common/drift.ts';
import { type ChainHead, genesis, headAfter, parseEntry, sealEntry } from '../../../common/entry.ts';
import { fingerprint, rawPublicKey } from '../../../common/keys.ts';
import type { Body, Statement } from '../../../common/kinds.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import type { Manifest } from '../../../common/manifest/manifest.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { firstEntryMs, testAuthor } from '../../authors.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';

/** A ledger that is written in virtual time. */
export interface RecordedFleet {
  readonly db: Db;
  readonly ledger: Ledger;
  readonly clock: { now(): number; monotonicMs(): number };
  /** Milliseconds go by. */
  pass(ms: number): void;
  enrol(node: string): Promise<void>;
  /** A node says this in one write, which is received at once. */
  say(node: string, statements: readonly Statement[]): Promise<void>;
}

export async function recordedFleet(db: Db): Promise<RecordedFleet> {
  let nowMs = firstEntryMs;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs - firstEntryMs };
  const ledger = new Ledger({ store: postgresLedgerStore(db), origin: testOrigin, keys: collectorKeys, clock });
  await ledger.start();
  const heads = new Map<string, ChainHead>();
  return {
    ...{ db, ledger, clock },
    pass: (ms) => {
      nowMs += ms;
    },
    enrol: async (node) => {
      const { publicKey } = testAuthor(node).keys;
      const key = rawPublicKey(publicKey).toString('base64');
      const body = { node, publicKey: key, fingerprint: fingerprint(publicKey), agentVersion: '0.1.0' };
      await ledger.record({ kind: 'node.enrolled', body });
    },
    say: async (node, statements) => {
      const { privateKey } = testAuthor(node).keys;
      const sealed = statements.map((statement) => {
        const head = heads.get(node) ?? genesis;
        const signed = sealEntry(statement, { author: node, head, now: nowMs, privateKey });
        heads.set(node, headAfter(signed));
        return { ...signed, entry: parseEntry(signed.bytes) };
      });
      if (sealed.length > 0) await ledger.append(sealed);
    },
  };
}

const bareImage = { command: [], entrypoint: [], environment: {}, labels: {}, user: '', volumes: [] };
const bareConfig = {
  ...bareImage,
  ...{ ports: [], restart_policy: 'no', cap_add: [], cap_drop: [], privileged: false, network_mode: 'default' },
  ...{ mem_limit: 0, cpus: 0 },
};

/** How a container is made of which nothing is known but its user. */
export function madeFor(user: string): MadeContainer {
  return { config: { ...bareConfig, user }, image: bareImage };
}

/** What an agent does, in few words: looks, tells what is new, and obeys. */
export class RecordedNode {
  readonly name: string;
  readonly #fleet: RecordedFleet;
  readonly #desired: DesiredState;
  readonly #commit: string;
  readonly containers = new Map<string, ObservedContainer>();
  readonly made = new Map<string, MadeContainer>();
  #told = new Map<string, ObservedContainer>();
  readonly #drifts = new Map<string, Drift>();
  readonly #since = new Map<string, number>();
  readonly #done = new Map<
    string,
    { readonly order: Order; state: 'executed' | 'verified' | 'relapsed'; atMs: number }
  >();
  #made = 0;

  constructor(fleet: RecordedFleet, name: string, of: { readonly manifest: Manifest; readonly commit: string }) {
    this.name = name;
    this.#fleet = fleet;
    this.#desired = compileDesired(of.manifest, name);
    this.#commit = of.commit;
  }

  /** Names of the containers that are wanted here. */
  get wanted(): readonly string[] {
    return this.#desired.containers.map(({ name }) => name);
  }

  async start(): Promise<void> {
    await this.#fleet.enrol(this.name);
    const body = { commit: this.#commit, digest: '0'.repeat(64), containers: this.#desired.containers.length };
    await this.#fleet.say(this.name, [
      { kind: 'observed', body: { baseline: true, upserted: [], removed: [] } },
      { kind: 'desired.adopted', body },
    ]);
    await this.look();
    await this.report();
  }

  /** Somebody runs a container; one of this name is gone then. @returns its id. */
  run(name: string, image: string, others: Partial<ObservedContainer> = {}): string {
    this.remove(name);
    this.#made += 1;
    const id = hash('sha256', `${this.name} ${name} ${this.#made}`, 'hex');
    const at = rfc3339(this.#fleet.clock.now());
    this.containers.set(id, {
      ...{ id, name, image, imageId: `sha256:${hash('sha256', image, 'hex')}`, state: 'running', health: 'none' },
      ...{ exitCode: 0, restartCount: 0, createdAt: at, startedAt: at, finishedAt: null, ...others },
    });
    this.made.set(id, madeFor('1000'));
    return id;
  }

  remove(name: string): void {
    for (const [id, container] of this.containers) if (container.name === name) this.containers.delete(id);
  }

  change(name: string, change: Partial<ObservedContainer>): void {
    for (const [id, container] of this.containers) {
      if (container.name === name) this.containers.set(id, { ...container, ...change });
    }
  }

  /** Tells what is new since the last look; orders that were executed are verified, or have relapsed. */
  async look(): Promise<void> {
    const nowMs = this.#fleet.clock.now();
    const { containers, made } = this;
    const standing = diff(this.#desired, { containers, made, unobserved: new Map(), atMs: nowMs });
    const { opened, changed, resolved } = driftChanges(this.#drifts, standing, new Set());
    const commit = this.#commit;
    for (const drift of [...opened, ...changed]) this.#drifts.set(drift.id, drift);
    for (const { id } of opened) this.#since.set(id, nowMs);
    for (const id of resolved) this.#drifts.delete(id);
    const upserted = [...containers.values()].filter((seen) => this.#told.get(seen.id) !== seen);
    const removed = [...this.#told.keys()].filter((id) => !containers.has(id));
    this.#told = new Map(containers);
    const isNew = upserted.length + removed.length > 0;
    await this.#fleet.say(this.name, [
      ...opened.map((drift): Statement => ({ kind: 'drift.opened', body: { drift, commit } })),
      ...changed.map((drift): Statement => ({ kind: 'drift.changed', body: { drift, commit } })),
      ...resolved.map((id): Statement => ({ kind: 'drift.resolved', body: { id, commit } })),
      ...(isNew ? [{ kind: 'observed', body: { baseline: false, upserted, removed } } as const] : []),
      ...this.#followUp(nowMs),
    ]);
  }

  #followUp(nowMs: number): Statement[] {
    const standing = new Map(
      [...this.#drifts].map(([id, drift]) => [id, { drift, sinceMs: this.#since.get(id) ?? 0 }]),
    );
    return [...this.#done].flatMap(([hashOf, done]) => {
      const record = {
        beganMs: done.atMs,
        was: null,
        madeId: null,
        keptUntilMs: null,
        entry: { text: '', signature: '' },
      };
      const later = laterOutcome({ ...record, ...done }, { standing, containers: this.containers }, nowMs);
      if (later === undefined) return [];
      done.state = later.state;
      done.atMs = nowMs;
      return [this.#result(hashOf, later.state)];
    });
  }

  #result(order: string, outcome: Body<'order.result'>['outcome']): Statement {
    return {
      kind: 'order.result',
      body: { order, outcome, code: null, reason: '', evidence: null, containerId: null },
    };
  }

  async report(others: Partial<Body<'report'>> = {}): Promise<void> {
    const digest = '0'.repeat(64);
    const nowMs = this.#fleet.clock.now();
    const body: Body<'report'> = {
      ...{ minute: rfc3339(Math.floor(nowMs / 60_000) * 60_000), coverage: 'observed', scanMs: 1, stores: [] },
      containers: { count: this.containers.size, unobserved: 0, digest },
      drifts: { open: this.#drifts.size, digest },
      ...{ commit: this.#commit, ...others },
    };
    await this.#fleet.say(this.name, [{ kind: 'report', body }]);
  }

  /** Carries out an order, says so, and looks. */
  async obey(order: Order): Promise<void> {
    const { container, action } = order;
    const wanted = this.#desired.containers.find(({ name }) => name === container);
    if (action === 'terminate') this.remove(container);
    else if (wanted !== undefined) this.run(container, wanted.image);
    const hashOf = orderHash(order);
    this.#done.set(hashOf, { order, state: 'executed', atMs: this.#fleet.clock.now() });
    await this.#fleet.say(this.name, [this.#result(hashOf, 'executed')]);
    await this.look();
  }
}
