import { readFile } from 'node:fs/promises';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type Approval, approvalText } from '../../common/order.ts';
import { approveOrder, rejectOrder } from '../enforcement/approvals.ts';
import { findOrder } from '../enforcement/operator.ts';
import { signWithKeyFile } from '../enforcement/ssh-keygen.ts';
import { storyOf } from '../enforcement/story.ts';
import { type CommandContext, show } from './context.ts';
import { operate } from './enforcing.ts';
import { formatStory } from './orders-show.ts';

export interface ApproveOptions {
  /** The approver, as in `allowed_signers`. */
  readonly as?: string;
  /** File of a private key to sign with. */
  readonly key?: string;
  /** File of a signature that was made elsewhere. */
  readonly signature?: string;
  readonly allowedSigners?: string;
}

/** Adds the signature of an approver: made here with a key, or brought along. */
export async function ordersApprove(context: CommandContext, name: string, options: ApproveOptions): Promise<number> {
  const { key, signature } = options;
  const as = requirePrincipal(options.as);
  if ((key === undefined) === (signature === undefined)) {
    throw new AppError(
      'validation.request',
      'give --key FILE to sign here, or --signature FILE that was made elsewhere',
    );
  }
  await operate(context, options, async (ports) => {
    const { hash } = await findOrder(ports, name);
    const approval = await approvalBy(hash, { as, key, signature });
    show(context, await storyOf(ports, await approveOrder(ports, hash, approval)), formatStory);
  });
  return exitCodes.done;
}

/** Ends an order before it is carried out. */
export async function ordersReject(context: CommandContext, name: string, reason: string): Promise<number> {
  await operate(context, {}, async (ports) => {
    show(context, await storyOf(ports, await rejectOrder(ports, name, reason)), formatStory);
  });
  return exitCodes.done;
}

/** @throws AppError `validation.request`. */
export function requirePrincipal(as: string | undefined): string {
  if (as !== undefined && as !== '') return as;
  throw new AppError('validation.request', 'say who approves it with --as NAME, the name in allowed_signers');
}

interface Signing {
  readonly as: string;
  readonly key?: string | undefined;
  readonly signature?: string | undefined;
}

/** @throws AppError `auth.key_file`, `validation.request`. */
export async function approvalBy(hash: string, { as, key, signature }: Signing): Promise<Approval> {
  if (key !== undefined) return { approver: as, signature: await signWithKeyFile(key, approvalText(hash)) };
  const file = signature ?? '';
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `cannot read ${file}: ${errnoOf(cause) ?? String(cause)}`, { cause });
  });
  return { approver: as, signature: text };
}
