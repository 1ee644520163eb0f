import { collectorAuthor } from '../../common/entry.ts';
import type { Body, Kind, StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { BacktestAccount } from './account.ts';
import type { Occasion, PastNode } from './past-node.ts';
import type { PastStatement } from './ports.ts';
import type { Simulation } from './simulation.ts';

/** Kinds that a backtest listens to. */
export const heardKinds: readonly Kind[] = [
  ...(['node.enrolled', 'node.revoked', 'desired.adopted', 'report', 'observed', 'coverage.gap'] as const),
  ...(['drift.opened', 'drift.changed', 'drift.resolved'] as const),
  ...(['order.issued', 'order.local', 'order.approved', 'order.rejected', 'order.result'] as const),
  ...(['drift.silenced', 'drift.unsilenced', 'change.announced'] as const),
];

/** Entries that were received together. */
export interface PastBatch {
  /** By the collector's clock, Unix milliseconds. */
  readonly receivedMs: number;
  readonly statements: readonly PastStatement[];
}

/** What a batch is judged and looked at for, gathered while it is heard. */
interface Gathered {
  readonly judged: Map<PastNode, Occasion>;
  readonly looked: Set<PastNode>;
  readonly named: Set<string>;
}

/** Tells a simulation what was put on record, batch by batch. */
export class Hearing {
  readonly #simulation: Simulation;
  readonly #account: BacktestAccount;

  constructor(simulation: Simulation, account: BacktestAccount) {
    this.#simulation = simulation;
    this.#account = account;
  }

  /**
   * What a node has written at once is received at once, so nodes are judged between batches: within one, a container may be gone
   * under its old id and not there yet under its new one.
   */
  async take({ receivedMs, statements }: PastBatch): Promise<void> {
    const simulation = this.#simulation;
    await simulation.advance(receivedMs);
    const gathered: Gathered = { judged: new Map(), looked: new Set(), named: new Set() };
    for (const statement of statements) {
      const node = simulation.nodes.get(statement.author);
      const wasMissed = simulation.heard(statement.index, node, statement.atMs);
      if (wasMissed && node !== undefined) gathered.looked.add(node);
      if (node === undefined) await this.#collectorSaid(statement, gathered);
      else await this.#nodeSaid(node, statement, gathered);
    }
    await simulation.settle(gathered.judged, gathered.looked, gathered.named);
  }

  async #nodeSaid(node: PastNode, { index, atMs, said }: PastStatement, gathered: Gathered): Promise<void> {
    // A drift is said to come from what was observed, and from another entry only where there was nothing new.
    if (said.kind === 'observed' || !gathered.judged.has(node)) {
      gathered.judged.set(node, { index, atMs, nowMs: this.#simulation.nowMs });
    }
    switch (said.kind) {
      case 'observed':
        for (const name of node.observe(said.body)) gathered.named.add(name);
        break;
      case 'report':
        this.#reported(node, said.body, atMs);
        break;
      case 'drift.opened':
      case 'drift.changed':
        node.foundConfigDrift(said.body.drift);
        break;
      case 'drift.resolved':
        node.resolvedDrift(said.body.id);
        break;
      case 'desired.adopted':
        await this.#simulation.follows(node, said.body.commit);
        break;
      case 'coverage.gap':
        this.#gap(node, said.body);
        break;
      case 'order.local':
        node.handiwork.begin(said.body.order);
        break;
      case 'order.result':
        if (node.handiwork.end(said.body.order)) node.touch();
        this.#saidOfOrder({ index, author: node.name, atMs, said }, gathered);
        break;
      default:
    }
  }

  #reported(node: PastNode, { coverage, containers, minute }: Body<'report'>, atMs: number): void {
    const looked = coverage !== 'engine-down';
    const unobserved = containers.unobserved > 0;
    if (unobserved !== node.unobserved) node.touch();
    node.unobserved = unobserved;
    if (looked && !node.complete) {
      node.complete = true;
      node.touch();
    }
    if (node.complete && node.active && node.adoptedMs === undefined) this.#simulation.adopt(node, atMs);
    if (looked && !unobserved) return;
    const fromMs = Date.parse(minute);
    const reason = looked ? 'unobserved' : 'engine-down';
    this.#account.gap(node.name, { fromMs, toMs: fromMs + limits.scanIntervalMs, reason });
  }

  #gap(node: PastNode, { from, to, reason }: Body<'coverage.gap'>): void {
    this.#account.gap(node.name, { fromMs: Date.parse(from), toMs: Date.parse(to), reason });
  }

  async #collectorSaid({ index, author, atMs, said }: PastStatement, gathered: Gathered): Promise<void> {
    if (author !== collectorAuthor) return;
    const { nodes, book } = this.#simulation;
    switch (said.kind) {
      case 'node.enrolled': {
        const node = nodes.get(said.body.node) ?? (await this.#simulation.enrol(said.body.node));
        node.active = true;
        break;
      }
      case 'node.revoked': {
        const node = nodes.get(said.body.node);
        if (node !== undefined) node.active = false;
        break;
      }
      case 'order.issued': {
        const { order } = said.body;
        nodes.get(order.node)?.handiwork.begin(order);
        if (order.origin === 'operator') book.add(index, order);
        break;
      }
      case 'order.approved':
        for (const node of nodes.values()) node.handiwork.approved(said.body.order);
        this.#saidOfOrder({ index, author, atMs, said }, gathered);
        break;
      case 'order.rejected':
        for (const node of nodes.values()) node.handiwork.end(said.body.order);
        this.#saidOfOrder({ index, author, atMs, said }, gathered);
        break;
      case 'drift.silenced':
      case 'drift.unsilenced':
      case 'change.announced':
        takeMeasure(this.#simulation, { index, said });
        for (const node of nodes.values()) gathered.looked.add(node);
        break;
      default:
    }
  }

  #saidOfOrder(
    { index, author, atMs, said }: Omit<PastStatement, 'said'> & { readonly said: OrderWord },
    { looked }: Gathered,
  ): void {
    const name = this.#simulation.book.say({ index, author, atMs, said });
    const node = name === undefined ? undefined : this.#simulation.nodes.get(name);
    if (node !== undefined) looked.add(node);
  }
}

type OrderWord = StatementOf<'order.approved'> | StatementOf<'order.rejected'> | StatementOf<'order.result'>;

/** Silences and announced changes are those that there really were: people would have had the same reasons. */
export function takeMeasure(
  { silences, announced }: Simulation,
  { index, said }: Pick<PastStatement, 'index' | 'said'>,
): void {
  if (said.kind === 'drift.silenced') silences.set(said.body.id, { index, body: said.body });
  if (said.kind === 'drift.unsilenced') silences.delete(said.body.id);
  if (said.kind !== 'change.announced') return;
  announced.push({ index, body: said.body });
  if (announced.length > limits.maxAnnouncementsRead) announced.shift();
}
