import type { Logger } from './log.ts';

/** Tells the service manager how a program is; does nothing when no service manager started it. Calls never fail. */
export interface Notifier {
  /**
   * Start-up is over. `status` is the line `systemctl status` shows.
   * @param lifeSignMs How far apart {@link Notifier.watchdog} can come: a manager that is less patient is asked to wait for so long.
   */
  ready(status: string, lifeSignMs?: number): Promise<void>;
  status(text: string): Promise<void>;
  /** Still alive; due at least every half of `WatchdogSec=`. Dropped while earlier messages are still being sent. */
  watchdog(): Promise<void>;
  stopping(): Promise<void>;
}

/** The variables by which the manager says where it listens, and how patient it is (sd_notify(3), sd_watchdog_enabled(3)). */
export interface ManagerVariables {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
}

/** Sends the assignments as one message. @returns why it could not. */
export type SendAssignments = (socket: string, assignments: readonly string[]) => Promise<Error | undefined>;

/** The sd_notify(3) protocol; `send` is how a message gets to the manager. */
export function notifierOver(send: SendAssignments, variables: ManagerVariables, log: Logger): Notifier {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdogUsec } = variables;
  if (socket === undefined || socket === '') return silentNotifier;
  let underWay = 0;
  let last = Promise.resolve();
  let reported = false;

  // One after the other: READY must not be overtaken by STOPPING.
  const say = (...assignments: readonly string[]): Promise<void> => {
    underWay++;
    last = last.then(async () => {
      const failure = await send(socket, assignments);
      underWay--;
      if (failure !== undefined && !reported) log.warn('notify.failed', { error: failure });
      reported = failure !== undefined;
    });
    return last;
  };
  return {
    ready: (status, lifeSignMs = 0) => say('READY=1', statusLine(status), ...morePatience(watchdogUsec, lifeSignMs)),
    status: (text) => say(statusLine(text)),
    watchdog: () => (underWay > 0 ? Promise.resolve() : say('WATCHDOG=1')),
    stopping: () => say('STOPPING=1'),
  };
}

/**
 * How often {@link Notifier.watchdog} is due, in milliseconds, or undefined when the manager watches nobody here.
 * @param watchdogUsec The value of `WATCHDOG_USEC` (sd_watchdog_enabled(3)).
 */
export function watchdogIntervalMs(watchdogUsec: string | undefined): number | undefined {
  const usec = Number(watchdogUsec);
  return Number.isFinite(usec) && usec > 0 ? usec / 2_000 : undefined;
}

const silentNotifier: Notifier = {
  ready: () => Promise.resolve(),
  status: () => Promise.resolve(),
  watchdog: () => Promise.resolve(),
  stopping: () => Promise.resolve(),
};

/** Settings decide how far apart life signs are, and the unit does not know them: without this it would end a healthy program. */
function morePatience(watchdogUsec: string | undefined, lifeSignMs: number): readonly string[] {
  const dueMs = watchdogIntervalMs(watchdogUsec);
  return dueMs !== undefined && dueMs < lifeSignMs ? [`WATCHDOG_USEC=${Math.ceil(lifeSignMs * 2_000)}`] : [];
}

/** Assignments are separated by line feeds, so a status may not smuggle one in. */
function statusLine(text: string): string {
  return `STATUS=${text.replace(/\s+/g, ' ')}`;
}
