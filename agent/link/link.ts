import { setTimeout as delay } from 'node:timers/promises';
import { type BackoffBounds, backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { KeyPair } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { parseVerifierKey, type VerifierKey } from '../../common/note.ts';
import { socketPath } from '../../common/protocol.ts';
import type { HoldingBoard } from '../desired/holding.ts';
import type { LinkOutbox } from '../ports.ts';
import { type ConnectionBounds, type ConnectionContext, holdConnection } from './connection.ts';
import { createErrands, type Errands } from './errands.ts';
import type { ForkDesk, StandingFork } from './fork-desk.ts';
import type { Receiver } from './mailbox.ts';
import { createLinkAccount, type LinkAccount, type LinkStatus } from './status.ts';
import { createWitness, type Witness } from './witness.ts';

export type { LinkState, LinkStatus } from './status.ts';

export interface LinkBounds extends ConnectionBounds {
  readonly backoff: BackoffBounds;
  /** How often to look whether a fork was released. */
  readonly releasePollMs: number;
}

export interface LinkOptions {
  readonly node: string;
  readonly version: string;
  readonly keys: KeyPair;
  /** What enrolment pinned: where the collector is, and the name and C2SP verifier key of its log. */
  readonly collector: { readonly url: string; readonly origin: string; readonly vkey: string };
  /** PEM of the authorities that the collector is checked by; without it those of the system. */
  readonly ca?: string | undefined;
  readonly outbox: LinkOutbox;
  /** Where forks are kept until somebody releases them. */
  readonly forks: ForkDesk;
  /** Takes what the collector sends beside acks; without it, nobody does. */
  readonly receiver?: Receiver;
  /** What the node has of the desired state, for the collector to hear; without it, it hears nothing of that. */
  readonly holding?: HoldingBoard;
  readonly clock: Clock;
  /** Uniform in [0, 1), as `Math.random`. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly bounds?: Partial<LinkBounds>;
}

export interface Link {
  status(): LinkStatus;
  /** The one thing to ask before an order is obeyed: false while the ledger stands contradicted. */
  readonly trusted: boolean;
  /**
   * Does `work` between two connections, with the witness that all of them share: nobody else uses it or lets the outbox go of
   * anything meanwhile. A connection that stands is ended for it.
   * @throws AppError `ledger.forked` while a fork stands, `state.conflict` when the agent stops; and what `work` throws.
   */
  carry<T>(work: (witness: Witness) => Promise<T>): Promise<T>;
  /** Closes the connection; resolves when nothing uses the outbox any more. */
  stop(): Promise<void>;
}

const defaultBounds: LinkBounds = {
  handshakeTimeoutMs: limits.welcomeTimeoutMs,
  ackTimeoutMs: limits.ackTimeoutMs,
  cosignIntervalMs: limits.cosignIntervalMs,
  pingIntervalMs: limits.pingIntervalMs,
  pongTimeoutMs: limits.pongTimeoutMs,
  backoff: { minMs: limits.backoffMinMs, maxMs: limits.backoffMaxMs },
  releasePollMs: limits.witnessReleasePollMs,
};

const deaf: Receiver = { order: () => {}, measure: () => {}, bundle: () => {} };

/** An attempt so late that its backoff is at the upper bound. */
const lateAttempt = 64;

/**
 * Keeps a connection to the collector for as long as the process lives and empties the outbox through it. Whatever goes
 * wrong ends the connection, never the process; the next one begins where the last acknowledgement was proved.
 * @throws AppError `validation.config` or `auth.signature` when the collector pinned at enrolment is unusable.
 */
export function startLink(options: LinkOptions): Link {
  const { clock, outbox } = options;
  const stopping = new AbortController();
  const bounds = { ...defaultBounds, ...options.bounds };
  const address = { url: socketUrl(options.collector.url), logKey: pinnedKey(options.collector) };
  const account = createLinkAccount({ ...options, collectorUrl: options.collector.url });
  const { forks } = options;
  const errands = createErrands(stopping.signal);
  const done = keepConnected({ ...options, bounds, ...address, account, errands, signal: stopping.signal })
    .catch((thrown: unknown) => options.logger.error('link.failed', { error: toAppError(thrown) }))
    .finally(() => errands.close());
  return {
    status: () => account.status(outbox, forks.standing),
    get trusted() {
      return forks.standing === undefined;
    },
    carry: (work) => {
      const { standing } = forks;
      return standing === undefined ? errands.add(work) : Promise.reject(forkStands(standing));
    },
    stop: async () => {
      stopping.abort();
      await done;
      account.enter('disconnected', clock.now());
    },
  };
}

interface LinkContext extends LinkOptions {
  readonly bounds: LinkBounds;
  readonly url: URL;
  readonly logKey: VerifierKey;
  readonly account: LinkAccount;
  readonly errands: Errands;
  readonly signal: AbortSignal;
}

async function keepConnected(context: LinkContext): Promise<void> {
  const { account, bounds, clock, errands, forks, signal } = context;
  let witness = openWitness(context);
  const connection: ConnectionContext = {
    ...context,
    origin: context.logKey.name,
    collectorKey: context.logKey.publicKey,
    receiver: context.receiver ?? deaf,
    onWelcome: (welcomed) => account.welcomed(welcomed, clock.now()),
    onCosigned: account.cosigned,
    keepFork: (fork) => forks.keep(fork),
  };
  let failures = 0;
  while (!signal.aborted) {
    if (forks.standing !== undefined) {
      await standBy(forks.standing, context, witness.held?.size ?? 0);
      // From the checkpoint held, as before the fork.
      witness = openWitness(context);
      continue;
    }
    const undisturbed = errands.undisturbed();
    await errands.run(witness);
    if (forks.standing !== undefined || undisturbed.aborted) continue;
    account.connecting();
    const { error, progressed } = await holdConnection({ ...connection, signal: undisturbed }, witness);
    if (signal.aborted) return;
    if (forks.standing !== undefined || undisturbed.aborted) continue;
    const lasting = isLasting(error);
    if (progressed) failures = 0;
    const waitMs = backoffDelayMs(lasting ? lateAttempt : failures, bounds.backoff, context.random);
    const state = lasting || needsSomebody(error) ? 'refused' : 'disconnected';
    account.ended(error, { state, waitMs, nowMs: clock.now() });
    failures += 1;
    await delay(waitMs, undefined, { signal: undisturbed }).catch(() => {});
  }
}

/** What no retry mends before somebody does something. */
function isLasting({ code, retryable }: AppError): boolean {
  if (code === 'collector.refused') return !retryable;
  return code === 'auth.signature' || code === 'ledger.sequence' || code === 'state.version';
}

/**
 * What somebody has to do something about, though not here: the collector has to be recovered, or another agent with our
 * key to be stopped. It may be done at any moment, so we come back as soon as after a lost connection.
 */
function needsSomebody({ code, details }: AppError): boolean {
  return code === 'collector.refused' && (details.code === 'ledger.tampered' || details.code === 'state.conflict');
}

/** Until somebody has looked at the evidence and released the agent, or it is stopped. */
async function standBy(fork: StandingFork, context: LinkContext, heldSize: number): Promise<void> {
  const { account, forks, clock, logger, signal } = context;
  account.ended(forkStands(fork), { state: 'forked', waitMs: undefined, nowMs: clock.now() });
  const everyMs = context.bounds.releasePollMs;
  let told = '';
  while (!signal.aborted) {
    const settled = await forks.settle(heldSize).catch((thrown: unknown) => {
      const { code, message } = toAppError(thrown);
      if (told !== message) logger.error('link.fork_unrecorded', { code, message, evidence: fork.id });
      told = message;
      return false;
    });
    if (settled) return account.enter('disconnected', clock.now());
    await delay(everyMs, undefined, { signal }).catch(() => {});
  }
}

function forkStands(fork: StandingFork): AppError {
  return new AppError('ledger.forked', `${fork.reason}; ${howToRelease(fork)}`);
}

function howToRelease({ id }: StandingFork): string {
  return `the evidence is evidence/${id}.json; once it is clear who changed the ledger: sigilwatch-agent witness release --reason TEXT`;
}

function openWitness({ outbox, logKey, logger }: LinkContext): Witness {
  try {
    return createWitness(logKey, outbox.checkpoint());
  } catch (thrown) {
    // Of another log (enrolled anew) or damaged. The log's key still has to sign whatever comes first.
    logger.error('link.checkpoint_unusable', { error: toAppError(thrown) });
    return createWitness(logKey, undefined);
  }
}

/** Address of the agents' socket on the collector at `collectorUrl` (http, https, ws or wss, a path prefix is kept). */
export function socketUrl(collectorUrl: string): URL {
  const url = URL.canParse(collectorUrl) ? new URL(collectorUrl) : undefined;
  const scheme = socketSchemes.get(url?.protocol ?? '');
  if (url === undefined || scheme === undefined) {
    throw new AppError('validation.config', `collector URL "${collectorUrl}" must start with http:// or https://`);
  }
  return new URL(`${scheme}//${url.host}${url.pathname.replace(/\/+$/, '')}${socketPath}`);
}

const socketSchemes = new Map([
  ['http:', 'ws:'],
  ['https:', 'wss:'],
  ['ws:', 'ws:'],
  ['wss:', 'wss:'],
]);

/** @throws AppError `auth.signature` when the key is not one, or not that of the log. */
function pinnedKey({ origin, vkey }: LinkOptions['collector']): VerifierKey {
  const key = parseVerifierKey(vkey);
  if (key.name === origin) return key;
  throw new AppError('auth.signature', `the pinned key is that of ${key.name}, not of the log ${origin}; enrol again`);
}
