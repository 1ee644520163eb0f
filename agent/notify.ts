import { execFile } from 'node:child_process';
import type { Logger } from '../common/log.ts';

/** Tells the service manager how the agent is; does nothing when no service manager started it. Calls never fail. */
export interface Notifier {
  /** Start-up is over. `status` is the line `systemctl status` shows. */
  ready(status: string): Promise<void>;
  status(text: string): Promise<void>;
  /** Still alive; due at least every half of `WatchdogSec=`. Dropped while earlier messages are still being sent. */
  watchdog(): Promise<void>;
  stopping(): Promise<void>;
}

/** Sending takes a few milliseconds; a service manager that does not take it in this time is not waited for. */
const sendTimeoutMs = 5_000;

/**
 * The sd_notify(3) protocol through the `systemd-notify` program, since Node.js has no Unix datagram sockets. The
 * program is a child, so the unit needs `NotifyAccess=all`; it waits until the manager has taken the message, so the
 * sender is still known when it is judged.
 * @param socket The value of `NOTIFY_SOCKET`; undefined outside systemd.
 */
export function systemdNotifier(socket: string | undefined, log: Logger): Notifier {
  if (socket === undefined || socket === '') return silentNotifier;
  let underWay = 0;
  let last = Promise.resolve();
  let reported = false;

  // One after the other: READY must not be overtaken by STOPPING.
  const send = (...assignments: readonly string[]): Promise<void> => {
    underWay++;
    last = last.then(async () => {
      const failure = await runSystemdNotify(socket, assignments);
      underWay--;
      if (failure !== undefined && !reported) log.warn('notify.failed', { error: failure });
      reported = failure !== undefined;
    });
    return last;
  };
  return {
    ready: (status) => send('READY=1', statusLine(status)),
    status: (text) => send(statusLine(text)),
    watchdog: () => (underWay > 0 ? Promise.resolve() : send('WATCHDOG=1')),
    stopping: () => send('STOPPING=1'),
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

/** Assignments are separated by line feeds, so a status may not smuggle one in. */
function statusLine(text: string): string {
  return `STATUS=${text.replace(/\s+/g, ' ')}`;
}

function runSystemdNotify(socket: string, assignments: readonly string[]): Promise<Error | undefined> {
  const options = { env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin:/usr/local/bin' }, timeout: sendTimeoutMs };
  return new Promise((resolve) => {
    execFile('systemd-notify', assignments, options, (error) => resolve(error ?? undefined));
  });
}
