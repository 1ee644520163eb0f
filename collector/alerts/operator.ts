import { isAlertPattern } from '../../common/alert-pattern.ts';
import { rfc3339 } from '../../common/clock.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { recordAct } from '../auth/audit.ts';
import type { RandomBytes } from '../auth/tokens.ts';
import { requireReason } from '../enforcement/operator.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { AlertSilence } from './standing.ts';
import { alertSilenceView } from './view.ts';

/** What an operator's wishes about alerts take. */
export interface AlertOperatorPorts {
  /** Silences that stand, also those that were put on record a moment ago. */
  readonly silences: (nowMs: number) => Promise<readonly AlertSilence[]>;
  /** Whether an alert stands. */
  readonly stands: (key: string) => Promise<boolean>;
  readonly ledger: Recorder;
  /** The clock that silences end by: that of the database, Unix milliseconds. */
  readonly now: () => Promise<number>;
  readonly randomBytes: RandomBytes;
  /** Who wishes it, for the record. */
  readonly actor: string;
  /** Of the request it was wished by. */
  readonly requestId?: string;
}

/** How long a silence lasts: for some time from now, or until a moment. */
export type SilenceEnd = { readonly forMs: number } | { readonly untilMs: number };

export interface AlertSilenceWish {
  readonly pattern: string;
  readonly end: SilenceEnd;
  readonly reason: string;
}

/**
 * Nobody is told of these alerts until then.
 * @throws AppError `validation.request` for a pattern of everything, an end that is too far or past, or no reason; `state.conflict` when
 *   too many silences stand.
 */
export async function silenceAlerts(ports: AlertOperatorPorts, { pattern, end, reason: why }: AlertSilenceWish) {
  const { actor, ledger } = ports;
  if (!isAlertPattern(pattern) || pattern.length > limits.maxOwnTextChars) {
    throw new AppError(
      'validation.request',
      `"${pattern.slice(0, 64)}" names no alerts: give a key, or the beginning of keys with a * at its end and nowhere else, such as node.silent/* or drift.*; all alerts at once cannot be silenced`,
      { details: { parameter: 'pattern' } },
    );
  }
  const nowMs = await ports.now();
  const untilMs = 'forMs' in end ? nowMs + end.forMs : end.untilMs;
  const days = limits.maxAlertSilenceMs / 86_400_000;
  if (!(untilMs > nowMs && untilMs <= nowMs + limits.maxAlertSilenceMs)) {
    throw new AppError(
      'validation.request',
      `a silence ends later than now and within ${days} days; make another one then`,
    );
  }
  const reason = requireReason(why);
  if ((await ports.silences(nowMs)).length >= limits.maxAlertSilences) {
    throw new AppError('state.conflict', `${limits.maxAlertSilences} silences of alerts stand; end some of them first`);
  }
  const until = rfc3339(untilMs);
  const id = ports.randomBytes(32).toString('hex');
  const detail = `until ${until}: ${reason}`.slice(0, limits.maxOwnTextChars);
  await recordAct(ports, { event: 'alert.silenced', subject: pattern, detail });
  const body = { id, pattern, until, actor, reason };
  const { index, entry } = await ledger.record({ kind: 'alert.silenced', body });
  return alertSilenceView({ id, pattern, untilMs, actor, reason, index, atMs: Date.parse(entry.at) });
}

/**
 * Ends a silence before its time: what still stands is told.
 * @param name its id, or the beginning of it.
 * @throws AppError `resource.not_found` when none like that stands, `state.conflict` when several begin so.
 */
export async function endAlertSilence(ports: AlertOperatorPorts, name: string, why: string) {
  const reason = requireReason(why);
  const standing = await ports.silences(await ports.now());
  const [silence, another] = standing.filter(
    ({ id }) => id === name || (name.length >= limits.minOrderPrefixChars && id.startsWith(name)),
  );
  if (silence === undefined) {
    throw new AppError(
      'resource.not_found',
      `no silence of alerts ${name.slice(0, 64)} stands (any more); "alerts silences" names those that do`,
    );
  }
  if (another !== undefined) {
    throw new AppError('state.conflict', `more than one silence begins with ${name}: give more of it`);
  }
  const { id, pattern } = silence;
  await recordAct(ports, { event: 'alert.unsilenced', subject: pattern, detail: reason });
  await ports.ledger.record({ kind: 'alert.unsilenced', body: { id, actor: ports.actor, reason } });
  return { ...alertSilenceView(silence), ended: true as const };
}

/**
 * Somebody knows of an alert: it is not told again, and to nobody else, until it ends or gets worse.
 * @throws AppError `resource.not_found` when no alert with this key stands.
 */
export async function acknowledgeAlert(ports: AlertOperatorPorts, key: string, why: string) {
  const reason = requireReason(why);
  if (key === '' || !(await ports.stands(key))) {
    throw new AppError(
      'resource.not_found',
      `no alert ${key.slice(0, 64)} stands (any more); "alerts list" names those that do`,
    );
  }
  const { actor } = ports;
  await recordAct(ports, { event: 'alert.acknowledged', subject: key, detail: reason });
  await ports.ledger.record({ kind: 'alert.acknowledged', body: { key, actor, reason } });
  return { key, acknowledged: true as const, actor, reason };
}

/** `overtaken`: what became of the alert was told since. */
export type Retried = 'waiting' | 'overtaken' | 'unknown';

/**
 * Puts a notification that was given up back into the queue of its channel; a running collector sends it at once.
 * @throws AppError `resource.not_found`; `state.conflict` when its channel knows better by now, or its alert is over.
 */
export async function retryNotification(retry: (id: number) => Promise<Retried>, name: string) {
  const id = decodeDecimal(name);
  const retried = id === undefined ? 'unknown' : await retry(id);
  if (id === undefined || retried === 'unknown') {
    throw new AppError(
      'resource.not_found',
      `there is no dead letter ${name.slice(0, 20)}; "alerts dead" lists those there are`,
    );
  }
  if (retried === 'waiting') return { id, state: retried };
  throw new AppError(
    'state.conflict',
    `dead letter ${id} is not sent any more: its alert is over, began anew, or its channel was told since what became of it`,
  );
}
