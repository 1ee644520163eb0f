import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { exitCodes } from '../../common/exit-codes.ts';
import { nodeToken } from '../api/fleet-contract.ts';
import type { CollectorSettings } from '../config.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { addressForNodes, joinText } from './join-text.ts';

/** Makes a join token and says how to use it. */
export async function nodesToken(context: CommandContext, options: { node: string }): Promise<number> {
  const node = requireNodeName(options.node);
  const address = context.server?.url ?? (await ownAddress(context.settings));
  return withApi(context, async ({ api }) => {
    const made = await api.call(nodeToken, { params: { node } });
    show(context, made, ({ token, expires_at: expires, log_fingerprint: logFingerprint }) =>
      joinText({ node, address, token, expires, logFingerprint }),
    );
    return exitCodes.done;
  });
}

async function ownAddress({ http: { host, port, tls } }: CollectorSettings): Promise<string> {
  const { certificate: path } = tls;
  const scheme = path === undefined ? 'http' : 'https';
  // A certificate that cannot be read is for "doctor" to tell; a token can be made without.
  const certificate = path === undefined ? undefined : await readFile(path, 'utf8').catch(() => undefined);
  return addressForNodes({ host, port, certificate, scheme, hostname: hostname() });
}
