import { execFile } from 'node:child_process';
import type { Logger } from '../common/log.ts';
import { type ManagerVariables, type Notifier, notifierOver } from '../common/notify.ts';

/** Sending takes a few milliseconds; a service manager that does not take it in this time is not waited for. */
const sendTimeoutMs = 5_000;

/**
 * Speaks to systemd through its `systemd-notify` program, since Node.js has no Unix datagram sockets. The program is a
 * child, so the unit needs `NotifyAccess=all`; it waits until the manager has taken the message, so the sender is still
 * known when it is judged.
 */
export function systemdNotifier(variables: ManagerVariables, log: Logger): Notifier {
  return notifierOver(runSystemdNotify, variables, log);
}

function runSystemdNotify(socket: string, assignments: readonly string[]): Promise<Error | undefined> {
  const options = { env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin:/usr/local/bin' }, timeout: sendTimeoutMs };
  return new Promise((resolve) => {
    execFile('systemd-notify', assignments, options, (error) => resolve(error ?? undefined));
  });
}
