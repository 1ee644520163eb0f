import { AppError } from '../../common/errors.ts';

/** The first descriptor that a service manager passes on (sd_listen_fds(3)). */
const firstPassed = 3;

/**
 * The listening socket that the service manager opened for this program, so that connections wait in its queue while the
 * program is away; undefined where there is none.
 * @param env `LISTEN_FDS`, and `LISTEN_PID`: children inherit both, and they are meant for one process only.
 * @throws AppError `validation.config` for more than one.
 */
export function passedSocket(env: Readonly<Record<string, string | undefined>>, pid: number): number | undefined {
  const { LISTEN_PID: meantFor, LISTEN_FDS: count } = env;
  if (meantFor !== String(pid) || count === undefined || count === '0') return undefined;
  if (count === '1') return firstPassed;
  throw new AppError(
    'validation.config',
    `the service manager passes ${count} sockets, and the collector listens on one: leave one ListenStream= in sigilwatch-collector.socket, ` +
      'after an empty one that takes back what stands there before',
    { details: { count } },
  );
}
