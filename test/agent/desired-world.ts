import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../agent/clock.ts';
import { DesiredSource } from '../../agent/desired/desired-source.ts';
import { DesiredFolder } from '../../agent/desired/folder.ts';
import { gitRepository } from '../../agent/desired/git.ts';
import type { Trust } from '../../agent/desired/signature.ts';
import { type FakeJournal, fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';

/** Why tests with these programs cannot run here; false where they can. */
export function missing(...programs: readonly string[]): string | false {
  const gone = programs.filter((name) => spawnSync(name, ['--version']).error !== undefined);
  return gone.length > 0 && `${gone.join(' and ')} not installed`;
}

const isolated = {
  PATH: process.env.PATH,
  LC_ALL: 'C',
  HOME: '/nonexistent',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_SYSTEM: '/dev/null',
};

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}, input = ''): string {
  const options = { encoding: 'utf8', env: { ...isolated, ...env }, input, stdio: 'pipe' } as const;
  return execFileSync(program, args, options).trim();
}

/** A person with an SSH key. */
export interface SshSigner {
  readonly keyFile: string;
  /** As it stands in an allowed_signers file, without the principal. */
  readonly publicKey: string;
}

export function sshSigner(dir: string, name: string): SshSigner {
  const keyFile = join(dir, `${name}-key`);
  run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', keyFile]);
  const [type, key] = readFileSync(`${keyFile}.pub`, 'utf8').split(' ');
  return { keyFile, publicKey: `${type} ${key}` };
}

/** How a commit is signed: with an SSH key, an OpenPGP key, or not at all. */
export type SignedBy = SshSigner | { readonly gpgHome: string; readonly fingerprint: string } | undefined;

function signing(by: SignedBy): { readonly config: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  if (by === undefined) return { config: [], env: {} };
  if ('keyFile' in by) {
    const config = ['-c', 'gpg.format=ssh', '-c', `user.signingkey=${by.keyFile}`, '-c', 'commit.gpgsign=true'];
    return { config, env: {} };
  }
  const config = ['-c', `user.signingkey=${by.fingerprint}`, '-c', 'commit.gpgsign=true'];
  return { config, env: { GNUPGHOME: by.gpgHome } };
}

/** A git repository with the manifest, in which anybody may commit. */
export function fleetRepository(dir: string, format = 'sha1') {
  mkdirSync(dir, { recursive: true });
  const git = (args: readonly string[], by?: SignedBy, env: Readonly<Record<string, string>> = {}): string => {
    const { config, env: keys } = signing(by);
    const author = ['-c', 'user.name=t', '-c', 'user.email=t@example.org'];
    return run('git', ['-C', dir, ...author, ...config, ...args], { ...keys, ...env });
  };
  git(['init', '-q', '-b', 'main', `--object-format=${format}`]);
  const id = (what = 'HEAD') => git(['rev-parse', what]);
  return {
    dir,
    git,
    id,
    /** Commits the text as the manifest. @returns the commit's id */
    commit: (text: string, by?: SignedBy, env?: Readonly<Record<string, string>>): string => {
      writeFileSync(join(dir, 'bloodline_manifest.yaml'), text);
      git(['add', '-A']);
      git(['commit', '-q', '--allow-empty', '-m', 'change'], by, env);
      return id();
    },
    /** A bundle of these revisions, as git itself makes it. */
    bundle: (...revisions: readonly string[]): Buffer => {
      const path = join(mkdtempSync(join(dir, '.git', 'bundle-')), 'bundle');
      git(['bundle', 'create', '--quiet', path, ...revisions]);
      return readFileSync(path);
    },
    /** Stores an object as it stands. @returns its id */
    object: (type: string, content: string): string => {
      const path = join(dir, '.git', 'object');
      writeFileSync(path, content, 'latin1');
      return git(['hash-object', '-w', '-t', type, '--literally', path]);
    },
  };
}
export type FleetRepository = ReturnType<typeof fleetRepository>;

/** A manifest that wants one container of this name. */
export function wanting(name: string, more = ''): string {
  return `containers:\n  - {name: ${name}, image: x}\n${more}`;
}

export const mustBeSigned = 'audit: {require_signed_commits: true}\n';

/** One node with its journal and data directory, which outlive runs of the agent. */
export class TestNode {
  readonly dataDir: string;
  readonly journal: FakeJournal = fakeJournal();
  trust: Trust = {};
  repository: string | undefined;
  #source: DesiredSource | undefined;

  constructor(temp: string) {
    this.dataDir = mkdtempSync(join(temp, 'node-'));
  }

  get source(): DesiredSource {
    this.#source ??= new DesiredSource({
      ...{ node: 'node1', dataDir: this.dataDir, trust: this.trust, journal: this.journal },
      repository: this.repository === undefined ? undefined : gitRepository(this.repository),
      ...{ clock: systemClock, logger: quietLogger },
    });
    return this.#source;
  }

  /** Another run of the agent, with the settings of now. */
  async restart(): Promise<void> {
    this.#source = undefined;
    await this.source.restore();
  }

  get wanted(): readonly string[] | undefined {
    return this.source.adopted?.desired.containers.map(({ name }) => name);
  }

  get told(): readonly string[] {
    return this.journal.said.map(({ kind }) => kind);
  }

  get lastReason(): string {
    return this.journal.saidOf('desired.rejected').at(-1)?.body.reason ?? '';
  }

  /** Why it refused a commit the last time, as commands see it. */
  async lastCode(): Promise<string | undefined> {
    return (await new DesiredFolder(this.dataDir).shown())?.lastRefused?.code;
  }

  /** What looking at commits has left behind; nothing but the cache may be there. */
  get leftovers(): readonly string[] {
    const scratch = join(this.dataDir, 'desired.tmp');
    return existsSync(scratch) ? readdirSync(scratch) : [];
  }

  /** Puts a bundle on a stick. @returns its path */
  stick(bytes: Buffer): string {
    const path = join(mkdtempSync(join(this.dataDir, 'stick-')), 'fleet.bundle');
    writeFileSync(path, bytes);
    return path;
  }
}

/** GnuPG homes of somebody who signs, and of a node that trusts the key, with what belongs to it. */
export function gpgSigner(dir: string, options: { readonly expired?: boolean; readonly trusted?: boolean } = {}) {
  const [own, node] = [join(dir, 'own'), join(dir, 'node')];
  for (const home of [own, node]) mkdirSync(home, { recursive: true, mode: 0o700 });
  const gpg = (home: string, args: readonly string[], input = '') =>
    run('gpg', ['--batch', '--quiet', '--no-autostart', '--homedir', home, ...args], {}, input);
  // Whoever signs lives in the past, and the key for a day.
  if (options.expired === true) writeFileSync(join(own, 'gpg.conf'), 'faked-system-time 20200101T000000!\n');
  const make = [
    '--batch',
    '--quiet',
    '--passphrase',
    '',
    '--quick-gen-key',
    'Bob <bob@example.org>',
    'ed25519',
    'sign',
  ];
  run('gpg', [...make, options.expired === true ? '1d' : 'never'], { GNUPGHOME: own });
  const fingerprint = /^fpr:+([0-9A-F]+):/m.exec(gpg(own, ['--list-keys', '--with-colons']))?.[1] ?? '';
  const install = () => gpg(node, ['--import'], gpg(own, ['--armor', '--export']));
  install();
  if (options.trusted !== false) gpg(node, ['--import-ownertrust'], `${fingerprint}:6:\n`);
  return {
    signer: { gpgHome: own, fingerprint },
    home: node,
    /** Revokes the key; the node learns of it. */
    revoke: () => {
      const file = join(own, 'openpgp-revocs.d', `${fingerprint}.rev`);
      // GnuPG puts a colon before the armor, so that nobody imports it by mistake.
      gpg(own, ['--import'], readFileSync(file, 'utf8').replace(/^:-----/m, '-----'));
      install();
    },
    /** Ends what GnuPG keeps running for the key. */
    close: () => void spawnSync('gpgconf', ['--homedir', own, '--kill', 'all']),
  };
}
