import type { Clock } from '../common/clock.ts';
import type { AppError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';

export type LinkState =
  | 'disconnected'
  | 'connecting'
  | 'connected'
  /** The collector will not have us, or we will not have it; tried again slowly, since somebody may fix it. */
  | 'refused'
  /** The ledger contradicted itself. Nothing is sent to it until a person has looked and restarted the agent. */
  | 'forked';

export interface LinkStatus {
  readonly state: LinkState;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  /** Why the last connection ended or failed. */
  readonly lastError: { readonly code: string; readonly message: string; readonly atMs: number } | undefined;
  /** The collector's clock minus ours at the last welcome. */
  readonly clockOffsetMs: number | undefined;
  readonly ackedSeq: number;
}

export interface AccountOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly collectorUrl: string;
}

export interface LinkEnding {
  readonly state: 'disconnected' | 'refused' | 'forked';
  readonly waitMs: number | undefined;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

export type LinkAccount = ReturnType<typeof createLinkAccount>;

/** Keeps the link's status and says each change once, however many attempts it takes. */
export function createLinkAccount({ clock, logger, collectorUrl }: AccountOptions) {
  let state: LinkState = 'disconnected';
  let sinceMs = clock.now();
  let lastError: LinkStatus['lastError'];
  let clockOffsetMs: number | undefined;
  let told = '';
  const enter = (next: LinkState, nowMs: number): void => {
    if (next !== state) sinceMs = nowMs;
    state = next;
  };
  return {
    enter,
    status: (ackedSeq: number): LinkStatus => ({ state, sinceMs, lastError, clockOffsetMs, ackedSeq }),
    connecting: (): void => {
      // Who was refused stays refused until welcomed.
      if (state !== 'refused') enter('connecting', clock.now());
    },
    welcomed: (offsetMs: number | undefined, nowMs: number): void => {
      enter('connected', nowMs);
      clockOffsetMs = offsetMs;
      told = '';
      logger.info('link.connected', { collector: collectorUrl, clockOffsetMs });
    },
    ended: ({ code, message }: AppError, ending: LinkEnding): void => {
      lastError = { code, message, atMs: ending.nowMs };
      enter(ending.state, ending.nowMs);
      const what = `${ending.state} ${code}`;
      const level = what === told ? 'debug' : ending.state === 'forked' ? 'error' : 'warn';
      logger[level](`link.${ending.state}`, { code, message, retryInMs: ending.waitMs });
      told = what;
    },
  };
}
