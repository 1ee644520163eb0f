/** Machines that packages are made for, as Node.js and npm call them. */
export const arches = ['x64', 'arm64'] as const;
export type Arch = (typeof arches)[number];

export const debianArch: Readonly<Record<Arch, string>> = { x64: 'amd64', arm64: 'arm64' };

/** What `uname -m` says there. */
export const machineOf: Readonly<Record<Arch, string>> = { x64: 'x86_64', arm64: 'aarch64' };

export function isArch(name: string): name is Arch {
  return arches.some((arch) => arch === name);
}
