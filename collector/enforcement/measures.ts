import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { recordAct } from '../auth/audit.ts';
import { type OperatorPorts, requireReason } from './operator.ts';

type MeasurePorts = Pick<OperatorPorts, 'store' | 'ledger' | 'clock' | 'randomBytes' | 'actor'>;
type Silence = Body<'drift.silenced'>;

/** A silence that is wished for. */
export interface SilenceWish {
  /** What is null is any. */
  readonly scope: Silence['scope'];
  readonly forMs: number;
  readonly reason: string;
}

/**
 * Nothing is ordered because of these drifts for so long.
 * @throws AppError `validation.request` for a scope of everything, a time that is too long, or no reason; `resource.not_found` for
 *   a node that nobody knows.
 */
export async function silenceDrifts(ports: MeasurePorts, { scope, forMs, reason: why }: SilenceWish): Promise<Silence> {
  const { node, container, kind } = scope;
  if (node === null && container === null && kind === null) {
    throw new AppError(
      'validation.request',
      'say which drifts: a node, a container, a kind, or several of them; for all of them there is config.enforcement_mode in the manifest',
    );
  }
  const maxChars = limits.maxForeignTextChars;
  if (container !== null && (container === '' || container.length > maxChars || container.includes('\0'))) {
    throw new AppError('validation.request', `a container's name has 1 to ${maxChars} characters, and no zero byte`);
  }
  const days = limits.maxSilenceMs / 86_400_000;
  if (!(forMs > 0 && forMs <= limits.maxSilenceMs)) {
    throw new AppError('validation.request', `a silence ends within ${days} days; make another one then`);
  }
  const reason = requireReason(why);
  if (node !== null && !(await ports.store.nodes()).some((known) => known.node === node)) {
    throw new AppError('resource.not_found', `there is no node ${node} whose key is in force; "nodes list" names them`);
  }
  const until = rfc3339(ports.clock.now() + forMs);
  const body = { id: ports.randomBytes(32).toString('hex'), scope, until, actor: ports.actor, reason };
  await recordAct(ports, {
    event: 'drift.silenced',
    subject: scopeText(scope),
    detail: `until ${until}: ${reason}`.slice(0, limits.maxOwnTextChars),
  });
  await ports.ledger.record({ kind: 'drift.silenced', body });
  return body;
}

/** A scope in one line. */
export function scopeText({ node, container, kind }: Silence['scope']): string {
  return `${kind ?? 'any drift'} of ${container ?? 'any container'} on ${node ?? 'any node'}`;
}

/**
 * Ends a silence before its time.
 * @param name its id, or the beginning of it.
 * @throws AppError `resource.not_found` when none like that stands, `state.conflict` when several begin so.
 */
export async function endSilence(ports: MeasurePorts, name: string, why: string): Promise<Silence> {
  const reason = requireReason(why);
  const { silences } = await ports.store.measures(ports.clock.now());
  const found = silences.filter(
    ({ body }) => body.id === name || (name.length >= limits.minOrderPrefixChars && body.id.startsWith(name)),
  );
  const [silence, another] = found;
  if (silence === undefined) {
    throw new AppError(
      'resource.not_found',
      `no silence ${name.slice(0, 64)} stands (any more); "silence list" names those that do`,
    );
  }
  if (another !== undefined)
    throw new AppError('state.conflict', `more than one silence begins with ${name}: give more of it`);
  const { id, scope } = silence.body;
  await recordAct(ports, { event: 'drift.unsilenced', subject: scopeText(scope), detail: reason });
  await ports.ledger.record({ kind: 'drift.unsilenced', body: { id, actor: ports.actor, reason } });
  return silence.body;
}

/**
 * Lets orders be given by a commit again that was suspected.
 * @param name the commit, or at least its first 7 characters.
 * @throws AppError `state.conflict` when it is not frozen, or several begin so.
 */
export async function releaseCommit(
  ports: MeasurePorts,
  name: string,
  why: string,
): Promise<Body<'enforcement.frozen'>> {
  const reason = requireReason(why);
  const { frozen } = await ports.store.measures(ports.clock.now());
  const found = frozen.filter(
    ({ body }) => body.commit === name || (name.length >= minCommitChars && body.commit.startsWith(name)),
  );
  const [freeze, another] = found;
  if (freeze === undefined || another !== undefined) {
    const commits = frozen.map(({ body }) => body.commit);
    const which = commits.length === 0 ? 'no commit is' : `frozen are ${commits.join(', ')}`;
    throw new AppError(
      'state.conflict',
      `${name.slice(0, 64)} names no one commit that is frozen: ${which}`.slice(0, limits.maxRefusalChars),
      {
        details: { commits },
      },
    );
  }
  const { commit } = freeze.body;
  await recordAct(ports, { event: 'enforcement.released', subject: commit, detail: reason });
  await ports.ledger.record({ kind: 'enforcement.released', body: { commit, actor: ports.actor, reason } });
  return freeze.body;
}

const minCommitChars = 7;
