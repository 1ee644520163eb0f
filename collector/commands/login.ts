import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { sessionEnd, sessionStart, setup } from '../api/sessions-contract.ts';
import { createClient } from '../client/client.ts';
import { networkTransport } from '../client/network.ts';
import { type CommandContext, show } from './context.ts';
import { ask, askForPassword } from './passwords.ts';
import { forgetSavedLogin, keptOf, readSavedLogin, savedLoginPath, writeSavedLogin } from './saved-login.ts';
import { runningServer } from './server.ts';

export interface LoginOptions {
  readonly user?: string;
  readonly passwordFile?: string;
  /** The code; true to be asked for it. */
  readonly setup?: string | boolean;
}

/** Signs in, and keeps the session for the commands to come; with a setup code, makes the first administrator before. */
export async function login(context: CommandContext, options: LoginOptions): Promise<number> {
  const path = pathOf(context);
  const server = runningServer(context);
  const { url, caFile } = server;
  const { stderr } = context;
  const code =
    options.setup === true
      ? await ask('setup code: ', stderr, 'give the code with --setup CODE: there is no terminal to ask on')
      : options.setup;
  const name = options.user ?? (await ask('user: ', stderr, 'say who you are with --user NAME'));
  const password = await askForPassword(`password of ${name} at ${url}: `, stderr, options.passwordFile);
  const api = createClient(networkTransport(server));
  if (typeof code === 'string') await api.call(setup, { body: { code, name, password } });
  const signedIn = await api.call(sessionStart, { body: { name, password } });
  const { session, role } = signedIn;
  await writeSavedLogin(path, keptOf({ server: url, ca_file: caFile, user: session.user }, signedIn));
  const told = { server: url, user: session.user, role, expires_at: session.expires_at, file: path };
  show(context, told, ({ user }) => `signed in to ${url} as ${user} (${role}); it is kept in ${path} until "logout"\n`);
  return exitCodes.done;
}

/** Ends the session that "login" began, here and at the collector. */
export async function logout(context: CommandContext): Promise<number> {
  const path = pathOf(context);
  const saved = await readSavedLogin(path);
  if (saved === undefined) {
    show(context, { signed_out: false }, () => 'nobody is signed in\n');
    return exitCodes.done;
  }
  const { server, ca_file: caFile, user, access_token } = saved;
  const api = createClient(networkTransport({ url: server, caFile }), async () => ({
    Authorization: `Bearer ${access_token}`,
  }));
  try {
    await api.call(sessionEnd, { params: { id: 'current' } });
  } catch (thrown) {
    // One that is over already needs no end.
    if (!(thrown instanceof AppError) || thrown.code !== 'auth.token') throw thrown;
  }
  await forgetSavedLogin(path);
  show(context, { server, user, signed_out: true }, () => `signed out of ${server}\n`);
  return exitCodes.done;
}

function pathOf({ env }: CommandContext): string {
  const path = savedLoginPath(env);
  if (path !== undefined) return path;
  throw new AppError('validation.request', 'a sign-in is kept in $HOME/.config/sigilwatch, and HOME is not set');
}
