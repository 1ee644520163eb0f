import { exitCodes } from '../../common/exit-codes.ts';
import { printable } from '../../common/printable.ts';
import { type Client, createClient } from '../client/client.ts';
import { networkTransport } from '../client/network.ts';
import type { CommandContext } from './context.ts';
import type { Contradicted } from './contradicted.ts';
import { signersFor } from './enforcing.ts';
import { withLocalApi } from './local-api.ts';
import { type ServerChoice, serverFor, tokenFor } from './server.ts';

/** What a command asks of the API, and what it has to say beside its result. */
export interface ApiSession {
  readonly api: Client;
  /** Spread into a result in JSON: nothing while the database is the one that was published. */
  contradictedField(): { readonly contradicted?: Contradicted };
}

export interface ApiOptions {
  /** Stands for the file of the settings; only where the command works on the data directory. */
  readonly allowedSigners?: string | undefined;
}

/**
 * Does something with the API: of the collector that `--server` names, or of the one whose data directory is here.
 * @returns exit code: that of `work`, or 1 when what it was told may be wrong.
 * @throws AppError `auth.required` where a server is named and no token; what the collector refuses, with its own code.
 */
export async function withApi(
  context: CommandContext,
  work: (session: ApiSession) => Promise<number>,
  { allowedSigners }: ApiOptions = {},
): Promise<number> {
  const server = await serverFor(context);
  if (server === undefined) {
    const signers = signersFor(context, allowedSigners);
    return withLocalApi(context, signers, (transport, contradicted) =>
      finished(
        work({ api: createClient(transport), contradictedField: () => field(contradicted) }),
        () => contradicted,
      ),
    );
  }
  const api = clientOf(server, context);
  const contradicted = () => toldContradicted(api);
  const code = await finished(work({ api, contradictedField: () => field(contradicted()) }), contradicted);
  const found = contradicted();
  if (found !== undefined)
    context.stderr.write(`CONTRADICTED: what this command shows may be wrong: ${printable(found.reason)}\n`);
  return code;
}

/** A collector elsewhere, asked in the name of whoever has its token. */
export function clientOf(server: ServerChoice, { env }: Pick<CommandContext, 'env'>): Client {
  const credentials = async () => ({ Authorization: `Bearer ${await tokenFor(server, env)}` });
  return createClient(networkTransport(server), credentials);
}

async function finished(work: Promise<number>, contradicted: () => Contradicted | undefined): Promise<number> {
  const code = await work;
  return code === exitCodes.done && contradicted() !== undefined ? exitCodes.findings : code;
}

function field(contradicted: Contradicted | undefined): { readonly contradicted?: Contradicted } {
  return contradicted === undefined ? {} : { contradicted };
}

function toldContradicted({ contradicted: reason }: Client): Contradicted | undefined {
  return reason === undefined ? undefined : { reason, where: null, published: null, found: null };
}
