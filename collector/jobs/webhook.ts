import { isIP } from 'node:net';
import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { webhookHeaders } from '../alerts/channels/webhook.ts';
import { type ChannelHttp, type ChannelHttpOptions, createChannelHttp } from '../alerts/http.ts';
import type { AddressGuard } from '../outgoing/addresses.ts';
import type { Action } from './actions.ts';
import type { Requested } from './runs.ts';

/*
 * `webhook_alert`: a POST to a URL that somebody who may request enforcements has named, signed as webhooks of alerts are. Every try
 * sends the same body under the same key; only the time of signing is another.
 */

/** What is signed and sent, as JSON. */
export function enforcementMessage(
  { id, artifact, action, reason, actor, index, atMs, retryOf }: Requested,
  origin: string,
) {
  const data = {
    ...{ enforcement_id: id, ledger: origin, artifact_id: artifact, action, reason, actor },
    ...{ retry_of: retryOf, ledger_entry: index },
  };
  return { type: 'enforcement.requested', timestamp: rfc3339(atMs), data };
}

export interface WebhookActionOptions {
  /** Undefined where none is set: then there is nothing that receivers could check. */
  readonly secret: string | undefined;
  readonly guard: AddressGuard;
  /** PEM of the authorities that count instead of those of the system; read when something is sent. */
  readonly ca: () => Promise<string | undefined>;
  /** Of the ledger. */
  readonly origin: string;
  readonly now: () => number;
  /** As `dns.lookup`. */
  readonly resolve?: ChannelHttpOptions['resolve'];
}

/** @returns the action, and what closes its connections. */
export function webhookAction({ secret, guard, ca, origin, now, resolve }: WebhookActionOptions) {
  let opening: Promise<ChannelHttp> | undefined;
  const open = async () => createChannelHttp({ name: 'webhook_alert', ca: await ca(), guard, resolve });
  const action: Action = {
    isSpooled: false,
    check: (target) => {
      if (secret === undefined) {
        throw new AppError(
          'state.conflict',
          'webhook_alert is not set up: set jobs.webhook.secret, which receivers check messages by',
        );
      }
      checkTarget(target, guard);
    },
    serviceOf: (target) => `webhook:${new URL(target).host}`,
    run: async (requested) => {
      const body = JSON.stringify(enforcementMessage(requested, origin));
      const { id, target } = requested;
      const signed = webhookHeaders(body, { id, atMs: now(), secret: secret ?? '' });
      opening ??= open();
      const http = await opening;
      await http.post({ url: target, body, headers: { ...signed, 'idempotency-key': id } });
      return { state: 'done' };
    },
  };
  return { action, close: async () => (await opening)?.close() };
}

/** What can be seen from the URL alone; where a name leads is looked at when it is connected to. */
function checkTarget(target: string, guard: AddressGuard): void {
  if (target.length > limits.maxTargetChars || !URL.canParse(target)) throw unfit('is no URL');
  const { protocol, hostname, username, password } = new URL(target);
  if (protocol !== 'https:' && protocol !== 'http:') throw unfit('is neither https:// nor http://');
  // It goes on record, where everybody who may read the ledger reads it.
  if (username !== '' || password !== '') throw unfit('has a user or password in it, and the ledger keeps it for ever');
  const host = hostname.replace(/^\[|\]$/g, '');
  const isRefused = protocol === 'https:' ? !guard.mayReach(host) : !guard.isAllowed(host);
  if (isIP(host) !== 0 && isRefused) {
    throw unfit(`leads to ${host}, which jobs.webhook.allowedAddresses does not name`);
  }
  if (isIP(host) === 0 && /^localhost$|\.localhost$/i.test(host) && !guard.isAllowed('127.0.0.1')) {
    throw unfit('leads to this machine, which jobs.webhook.allowedAddresses does not name');
  }
}

function unfit(why: string): AppError {
  return new AppError('validation.body', `the target of webhook_alert ${why}`, {
    details: { field: 'target' },
  });
}
