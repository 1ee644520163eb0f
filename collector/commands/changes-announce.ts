import { rfc3339 } from '../../common/clock.ts';
import { type Announcement, announcementNamespace, announcementText } from '../../common/enforcement/announcement.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { changeAnnounce } from '../api/governance-contract.ts';
import { systemClock } from '../clock.ts';
import { signWithKeyFile } from '../enforcement/ssh-keygen.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { parseDeadline } from './moment.ts';
import { readSignature, requirePrincipal } from './orders-approve.ts';

/** What is announced, as it is typed. */
export interface ChangeOptions {
  /** A node's name, or `*` for all of them. */
  readonly node: string;
  readonly container: string;
  /** An image reference, or `sha256:<64 hex>`. */
  readonly becomes: string;
  readonly before: string;
}

export interface AnnounceOptions extends ChangeOptions {
  /** Whose signature it is, as in `allowed_signers`. */
  readonly as?: string;
  /** File of a private key to sign with. */
  readonly key?: string;
  /** File of a signature that was made elsewhere. */
  readonly signature?: string;
  readonly allowedSigners?: string;
}

/** Announces a change: signed here with a key, or with a signature that is brought along. */
export async function changesAnnounce(context: CommandContext, options: AnnounceOptions): Promise<number> {
  const { key, signature } = options;
  const text = announcementText(announcementOf(options));
  const approver = requirePrincipal(options.as);
  if ((key === undefined) === (signature === undefined)) {
    throw new AppError(
      'validation.request',
      'give --key FILE to sign here, or --signature FILE that was made elsewhere',
    );
  }
  return withApi(
    context,
    async ({ api }) => {
      const signed =
        key === undefined
          ? await readSignature(signature ?? '')
          : await signWithKeyFile(key, text, announcementNamespace);
      const body = { text, approval: { approver, signature: signed } };
      show(context, await api.call(changeAnnounce, { body }), ({ index }) => `on record as entry ${index}: ${text}`);
      return exitCodes.done;
    },
    options,
  );
}

/** Prints what is signed, for a key that is elsewhere. */
export async function changesText(context: CommandContext, options: ChangeOptions): Promise<number> {
  const text = announcementText(announcementOf(options));
  show(context, { text, namespace: announcementNamespace }, () => text);
  return exitCodes.done;
}

/** @throws AppError `validation.request`. */
function announcementOf({ node, container, becomes, before }: ChangeOptions): Announcement {
  const until = rfc3339(parseDeadline(before, systemClock.now()));
  return { node: node === '*' ? null : requireNodeName(node), container, image: becomes, until };
}
