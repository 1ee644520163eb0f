import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { makeTemporaryFolder } from '../system/leftovers.ts';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A root of its own with next to nothing in it: no Node.js, no network, no systemd. */
export interface Machine {
  readonly root: string;
  /** Runs a script of its shell as root. Whatever it leaves behind is ended with it. */
  run(script: string): Ran;
  /** Puts a file or folder of this machine there. */
  bring(from: string, to: string): void;
  read(path: string): string;
  has(path: string): boolean;
  remove(): Promise<void>;
}

const deadlineMs = 120_000;
const maxOutputBytes = 16 * 1024 * 1024;

/** Beside busybox: how users are made on most systems, and dpkg with what it calls. */
const commands = ['useradd', 'groupadd', 'usermod', 'dpkg', 'dpkg-deb', 'dpkg-split', 'tar', 'ldconfig'];

/** Wherever that is, and asked for by name only when they are needed. */
const partsOfLibc = ['librt.so.1', 'libresolv.so.2', 'libnss_files.so.2', 'libnss_dns.so.2'];

/** Why there can be none here; false when there can. */
export function withoutMachines(): string | false {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0)
    return 'another root takes Linux and the rights of root';
  const missing = ['busybox', 'unshare', 'chroot', 'dpkg', 'useradd'].filter((name) => which(name) === undefined);
  return missing.length > 0 ? `missing: ${missing.join(', ')}` : false;
}

/** Devices, processes and a loopback of its own; gone with the script. */
const enter = `
  mount -t tmpfs none "$1/dev" && mount -t proc none "$1/proc" && mkdir "$1/dev/shm" && chmod 1777 "$1/dev/shm"
  mknod -m 666 "$1/dev/null" c 1 3 && mknod -m 666 "$1/dev/zero" c 1 5 && mknod -m 666 "$1/dev/urandom" c 1 9
  mknod -m 666 "$1/dev/random" c 1 8 && exec chroot "$1" /bin/sh -c 'ip link set lo up; . /script'`;

export function makeMachine(): Machine {
  const folder = makeTemporaryFolder('sigilwatch-machine-');
  const root = join(folder.path, 'root');
  furnish(root);
  const run = (script: string): Ran => {
    writeFileSync(join(root, 'script'), script);
    const isolation = ['--net', '--mount', '--pid', '--ipc', '--fork', '--kill-child'];
    const { status, stdout, stderr } = spawnSync('unshare', [...isolation, 'sh', '-euc', enter, 'sh', root], {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LC_ALL: 'C' },
      timeout: deadlineMs,
      maxBuffer: maxOutputBytes,
    });
    return { code: status, stdout, stderr };
  };
  return {
    root,
    run,
    bring: (from, to) =>
      cpSync(from, join(root, to), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true }),
    read: (path) => readFileSync(join(root, path), 'utf8'),
    has: (path) => existsSync(join(root, path)),
    remove: () => folder.remove(),
  };
}

function furnish(root: string): void {
  for (const path of [
    'usr/bin',
    'usr/lib',
    'etc',
    'dev',
    'proc',
    'root',
    'var/lib/dpkg/info',
    'var/lib/dpkg/updates',
    'tmp',
  ]) {
    mkdirSync(join(root, path), { recursive: true });
  }
  chmodSync(join(root, 'tmp'), 0o1777);
  for (const [link, target] of Object.entries({
    bin: 'usr/bin',
    sbin: 'usr/bin',
    lib: 'usr/lib',
    lib64: 'usr/lib',
    'usr/sbin': 'bin',
  })) {
    symlinkSync(target, join(root, link));
  }
  const busybox = which('busybox') ?? '';
  cpSync(realpathSync(busybox), join(root, 'usr/bin/busybox'));
  for (const applet of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    if (!commands.includes(applet) && applet !== 'busybox') symlinkSync('busybox', join(root, 'usr/bin', applet));
  }
  const paths = commands.map((name) => which(name)).filter((path) => path !== undefined);
  for (const path of [...paths, ...librariesOf([process.execPath, ...paths])]) {
    // By the names that they are asked for, in the one folder for libraries or for commands that there is.
    const to = path.includes('/lib')
      ? `usr/lib/${path.slice(path.lastIndexOf('/') + 1)}`
      : `usr/bin/${path.slice(path.lastIndexOf('/') + 1)}`;
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(realpathSync(path), join(root, to));
  }
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  const present = ['libc6:2.36', 'libstdc++6:12', 'libgcc-s1:12'].map((one) => one.split(':'));
  const status = present.map(([name, version]) => {
    return `Package: ${name}\nStatus: install ok installed\nArchitecture: all\nMaintainer: x\nVersion: ${version}\nDescription: x\n`;
  });
  writeFileSync(join(root, 'var/lib/dpkg/status'), status.join('\n'));
}

export function which(name: string): string | undefined {
  const { stdout } = spawnSync('sh', ['-c', `command -v ${name}`], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  return stdout.trim() === '' ? undefined : stdout.trim();
}

/** What the dynamic linker finds for these programs, and the linker itself. Node.js itself stays here. */
export function librariesOf(programs: readonly string[]): string[] {
  const told = programs.map((path) => spawnSync('ldd', [path], { encoding: 'utf8' }).stdout);
  const found = told.flatMap((text) => [...text.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path = '']) => path));
  const libc = found.find((path) => path.endsWith('/libc.so.6')) ?? '';
  return [...new Set([...found, ...partsOfLibc.map((name) => join(dirname(libc), name))])];
}
