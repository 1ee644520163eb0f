import { readFile } from 'node:fs/promises';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type Approval, approvalText } from '../../common/order.ts';
import { orderApprove, orderReject, orderShow } from '../api/orders-contract.ts';
import { signWithKeyFile } from '../enforcement/ssh-keygen.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
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
  return withApi(
    context,
    async ({ api }) => {
      const { hash } = await api.call(orderShow, { params: { hash: name } });
      const approval = await approvalBy(hash, { as, key, signature });
      show(context, await api.call(orderApprove, { params: { hash }, body: approval }), formatStory);
      return exitCodes.done;
    },
    options,
  );
}

/** Ends an order before it is carried out. */
export async function ordersReject(context: CommandContext, name: string, reason: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    show(context, await api.call(orderReject, { params: { hash: name }, body: { reason } }), formatStory);
    return exitCodes.done;
  });
}

/** @throws AppError `validation.request`. */
export function requirePrincipal(as: string | undefined): string {
  if (as !== undefined && as !== '') return as;
  throw new AppError('validation.request', 'say who signs it with --as NAME, the name in allowed_signers');
}

interface Signing {
  readonly as: string;
  readonly key?: string | undefined;
  readonly signature?: string | undefined;
}

/** @throws AppError `auth.key_file`, `validation.request`. */
export async function approvalBy(hash: string, { as, key, signature }: Signing): Promise<Approval> {
  if (key !== undefined) return { approver: as, signature: await signWithKeyFile(key, approvalText(hash)) };
  return { approver: as, signature: await readSignature(signature ?? '') };
}

/** @throws AppError `validation.request`. */
export async function readSignature(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `cannot read ${file}: ${errnoOf(cause) ?? String(cause)}`, { cause });
  });
}
