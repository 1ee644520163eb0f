import { rfc3339 } from '../../common/clock.ts';
import { type Announcement, announcementIn, parseAnnouncement } from '../../common/enforcement/announcement.ts';
import { AppError } from '../../common/errors.ts';
import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Approval } from '../../common/order.ts';
import { recordAct } from '../auth/audit.ts';
import { requireSigner } from './approvals.ts';
import type { OperatorPorts } from './operator.ts';
import type { CheckSignature } from './ssh-keygen.ts';
import { signingKeyOf } from './ssh-signature.ts';

/** What announcing a change takes. */
export interface ChangePorts extends Pick<OperatorPorts, 'store' | 'ledger' | 'clock' | 'actor' | 'requestId'> {
  /** For signatures in the namespace of announcements. */
  readonly checkSignature: CheckSignature;
}

/** A signed announcement, and where it is in the ledger. */
export interface AnnouncedChange extends Announcement {
  readonly index: number;
  readonly approval: Approval;
}

/**
 * Puts an announced change on record, once its signature is known to hold. Whoever relies on it checks that again.
 * @param text as `announcementText` writes it.
 * @throws AppError `validation.request` for a text that announces nothing, or not for a time to come within
 *   `limits.maxAnnouncedMs`; `resource.not_found` for a node that nobody knows; `state.conflict` when it has been announced
 *   already, or nobody's signatures can be checked here; `auth.signature` for one that does not hold.
 */
export async function announceChange(ports: ChangePorts, text: string, approval: Approval): Promise<AnnouncedChange> {
  const announcement = parseAnnouncement(text);
  requireSigner(approval);
  await requireSense(ports, announcement, text);
  const { approver, signature } = approval;
  const verdict = await ports.checkSignature(approval, text);
  if (!verdict.holds) {
    throw new AppError(
      'auth.signature',
      `the signature is not one of ${approver} over this announcement: ${verdict.reason}`,
      { details: { approver } },
    );
  }
  const detail = `by ${approver}, with the key ${signingKeyOf(signature)}`;
  await recordAct(ports, { event: 'change.announced', subject: text.trimEnd(), detail });
  const { index } = await ports.ledger.record({ kind: 'change.announced', body: { text, approval } });
  return { ...announcement, index, approval };
}

async function requireSense(ports: ChangePorts, { node, until }: Announcement, text: string): Promise<void> {
  const nowMs = ports.clock.now();
  const untilMs = Date.parse(until);
  if (untilMs <= nowMs) throw new AppError('validation.request', `${until} is over already`);
  if (untilMs > nowMs + limits.maxAnnouncedMs) {
    const days = limits.maxAnnouncedMs / 86_400_000;
    throw new AppError('validation.request', `a change is announced for the next ${days} days at most`);
  }
  if (node !== null && !(await ports.store.nodes()).some((known) => known.node === node)) {
    throw new AppError('resource.not_found', `there is no node ${node} whose key is in force; "nodes list" names them`);
  }
  const { announcements } = await ports.store.measures(nowMs);
  const before = announcements.find(({ body }) => body.text === text);
  if (before !== undefined) {
    throw new AppError('state.conflict', `this has been announced already, by entry ${before.index}`, {
      details: { index: before.index },
    });
  }
}

interface Recorded {
  readonly index: number;
  readonly atMs: number;
  readonly body: Body<'change.announced'>;
}

/**
 * An announced change as the API and the commands tell of it; undefined for an entry whose text announces nothing, which no collector
 * of ours has written.
 */
function changeView({ index, atMs, body: { text, approval } }: Recorded, nowMs: number) {
  const announcement = announcementIn(text);
  if (announcement === undefined) return undefined;
  const { node, container, image, until } = announcement;
  return {
    ...{ index, at: rfc3339(atMs), node, container, becomes: image, before: until },
    ...{ approver: approval.approver, key: signingKeyOf(approval.signature) ?? null },
    stands: nowMs < Date.parse(until),
  };
}

type ChangeView = NonNullable<ReturnType<typeof changeView>>;

/** The announced changes that stand, or all that are remembered; oldest first. */
export function changeViews(recorded: readonly Recorded[], nowMs: number, which: 'standing' | 'all'): ChangeView[] {
  const views = recorded.flatMap((one) => changeView(one, nowMs) ?? []);
  return which === 'all' ? views : views.filter(({ stands }) => stands);
}
