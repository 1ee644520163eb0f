import { announcementIn } from '../../common/enforcement/announcement.ts';
import { collectorAuthor, type Entry } from '../../common/entry.ts';
import { nodeName } from '../../common/fields.ts';
import { alertNameOf } from '../alerts/catalog.ts';

/** What has to be looked up to know which node an entry is about. */
export interface Lookup {
  /** Of the orders that entries speak of, by hash: the node each is for. */
  readonly orders: ReadonlyMap<string, string>;
}

/** Alerts whose keys name something else than a node behind the slash. */
const alertsOfNoNode: ReadonlySet<string> = new Set([
  'enforcement.frozen',
  'witness.behind',
  'ledger.integrity',
  'ledger.overdue',
  'alerts.rule_failed',
  'notifications.dead',
  'jobs.dead_letters',
  'test',
]);

/** Hash of an order that an entry of the collector speaks of without naming its node; undefined for any other entry. */
export function orderSpokenOf(entry: Entry): string | undefined {
  return entry.kind === 'order.approved' || entry.kind === 'order.rejected' ? entry.body.order : undefined;
}

/** The nodes an entry is about: its author, or whom the collector speaks of; none where it speaks of all of them or of itself. */
export function nodesOf(entry: Entry, { orders }: Lookup): readonly string[] {
  if (entry.author !== collectorAuthor) return [entry.author];
  const node = nodeNamedIn(entry, orders);
  return typeof node === 'string' ? [node] : (node ?? []);
}

function nodeNamedIn(entry: Entry, orders: Lookup['orders']): string | readonly string[] | null | undefined {
  switch (entry.kind) {
    case 'node.enrolled':
    case 'node.revoked':
    case 'ledger.equivocation':
    case 'alert.raised':
      return entry.body.node;
    case 'alert.resolved':
    case 'alert.acknowledged':
      return nodeOfAlert(entry.body.key);
    case 'order.issued':
      return entry.body.order.node;
    case 'order.approved':
    case 'order.rejected':
      return orders.get(entry.body.order);
    case 'enforcement.frozen':
      return entry.body.nodes;
    case 'drift.silenced':
      return entry.body.scope.node;
    case 'change.announced':
      return announcementIn(entry.body.text)?.node;
    default:
      return undefined;
  }
}

/** The end of an alert names only its key: `drift.missing/node1`, `sigils.findings/node1/main`. */
function nodeOfAlert(key: string): string | undefined {
  const named = key.split('/')[1];
  return alertsOfNoNode.has(alertNameOf(key)) || !nodeName.safeParse(named).success ? undefined : named;
}
