import { parseCheckpoint } from '../../common/checkpoint.ts';
import type { Clock } from '../../common/clock.ts';
import { type AppError, errnoOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { parseNote } from '../../common/note.ts';
import type { LinkOutbox } from '../ports.ts';
import type { Welcomed } from './connection.ts';
import type { StandingFork } from './fork-desk.ts';
import type { Cosigned } from './session.ts';

export type LinkState =
  | 'disconnected'
  | 'connecting'
  | 'connected'
  /** The collector will not have us, or we will not have it; tried again all the while, since somebody may fix it. */
  | 'refused'
  /** The ledger contradicted itself. Nothing is sent to it until a person has looked and released the agent. */
  | 'forked';

/** Why the last connection ended or failed. */
export interface LinkError {
  readonly code: string;
  readonly message: string;
  /** The code that the collector refused with, or the word of the system or of TLS for why it cannot be reached. */
  readonly reason?: string | undefined;
  /** Unix milliseconds. */
  readonly atMs: number;
}

export interface LinkStatus {
  readonly state: LinkState;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  /** Since when there has been no welcomed connection, as far as this process knows; undefined while there is one. */
  readonly cutOffSinceMs: number | undefined;
  /** For how long, milliseconds: by a clock that nobody sets, since a wall clock that jumps must make no node act by itself. */
  readonly cutOffMs: number | undefined;
  /** For how long there has been one since this process began, all of them together, milliseconds by the same clock. */
  readonly connectedMs: number;
  readonly lastError: LinkError | undefined;
  /** Version of the collector at the last welcome, as it says, and the subprotocol it has chosen; null before the first. */
  readonly collector: { readonly version: string | null; readonly protocol: string } | null;
  /** The collector's clock minus ours at the last welcome. */
  readonly clockOffsetMs: number | undefined;
  readonly ackedSeq: number;
  readonly witness: WitnessStatus;
}

/** What this node vouches for. */
export interface WitnessStatus {
  /** The last checkpoint accepted, and the signed note it came in. */
  readonly held: { readonly size: number; readonly root: string; readonly note: string } | null;
  /** The last checkpoint cosigned since the agent started, and how many there were. */
  readonly cosigned: Cosigned | null;
  readonly cosignatures: number;
  readonly fork: StandingFork | null;
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
  /** The collector's clock when our monotonic one stood at 0: whoever sets the clock on the wall changes the offset, not this. */
  let collectorZeroMs: number | undefined;
  let collector: LinkStatus['collector'] = null;
  /** When it was connected last, or lost that, monotonic; and how much came together in connections before. */
  let turnedMs = clock.monotonicMs();
  let connectedBeforeMs = 0;
  let told = '';
  let cosigned: Cosigned | null = null;
  let cosignatures = 0;
  const enter = (next: LinkState, nowMs: number): void => {
    if (next !== state) sinceMs = nowMs;
    if ((next === 'connected') !== (state === 'connected')) {
      const turned = clock.monotonicMs();
      if (state === 'connected') connectedBeforeMs += turned - turnedMs;
      turnedMs = turned;
    }
    state = next;
  };
  const spans = (): Pick<LinkStatus, 'cutOffMs' | 'connectedMs'> => {
    const ms = clock.monotonicMs() - turnedMs;
    if (state === 'connected') return { cutOffMs: undefined, connectedMs: connectedBeforeMs + ms };
    return { cutOffMs: ms, connectedMs: connectedBeforeMs };
  };
  return {
    enter,
    status: (outbox: Pick<LinkOutbox, 'acked' | 'checkpoint'>, fork: StandingFork | undefined): LinkStatus => {
      const witness = { held: readHeld(outbox.checkpoint()), cosigned, cosignatures, fork: fork ?? null };
      // From the moment it is found: saying so must not wait for whoever showed the fork to let go of the connection.
      const shown = fork === undefined ? state : 'forked';
      const { cutOffMs, connectedMs } = spans();
      const cutOffSinceMs = cutOffMs === undefined ? undefined : clock.now() - cutOffMs;
      const counts = { sinceMs, cutOffSinceMs, cutOffMs, connectedMs };
      const clockOffsetMs =
        collectorZeroMs === undefined ? undefined : Math.round(collectorZeroMs + clock.monotonicMs() - clock.now());
      return { state: shown, ...counts, lastError, collector, clockOffsetMs, ackedSeq: outbox.acked.seq, witness };
    },
    cosigned: (latest: Cosigned): void => {
      cosigned = latest;
      cosignatures += 1;
    },
    connecting: (): void => {
      // Who was refused stays refused until welcomed.
      if (state !== 'refused') enter('connecting', clock.now());
    },
    welcomed: (welcomed: Welcomed, nowMs: number): void => {
      const { protocol, version } = welcomed.collector;
      enter('connected', nowMs);
      const { clockOffsetMs } = welcomed;
      collectorZeroMs = clockOffsetMs === undefined ? undefined : clockOffsetMs + nowMs - clock.monotonicMs();
      collector = { protocol, version: version ?? null };
      told = '';
      logger.info('link.connected', { collector: collectorUrl, version, protocol, clockOffsetMs });
    },
    ended: (error: AppError, ending: LinkEnding): void => {
      const { code, message } = error;
      lastError = { code, message, reason: reasonOf(error), atMs: ending.nowMs };
      enter(ending.state, ending.nowMs);
      const what = `${ending.state} ${code}`;
      const level = what === told ? 'debug' : ending.state === 'forked' ? 'error' : 'warn';
      logger[level](`link.${ending.state}`, { code, message, retryInMs: ending.waitMs });
      told = what;
    },
  };
}

function reasonOf({ details, cause }: AppError): string | undefined {
  return typeof details.code === 'string' ? details.code : errnoOf(cause);
}

function readHeld(note: string | undefined): WitnessStatus['held'] {
  if (note === undefined) return null;
  const { size, root } = parseCheckpoint(parseNote(note).text);
  return { size, root: root.toString('base64'), note };
}
