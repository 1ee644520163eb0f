import { isFile, type TreeEntry, type TreeFile } from '../../scripts/packaging/tree.ts';

/** `e_machine` of the ELF header. */
export const elfMachines = { x64: 0x3e, arm64: 0xb7 } as const;

/** Programs, libraries and modules. */
export function nativeFiles(entries: readonly TreeEntry[]): TreeFile[] {
  return entries.filter(isFile).filter(({ bytes }) => isElf(bytes));
}

export function isElf(bytes: Buffer): boolean {
  return bytes.subarray(0, 4).toString('latin1') === '\x7fELF';
}

export function elfMachine(bytes: Buffer): number {
  return bytes.readUInt16LE(18);
}

/** The minor version of the C library that it asks for: 28 for GLIBC_2.28; 0 when it asks for none. */
export function asksForGlibc(bytes: Buffer): number {
  const names = bytes.toString('latin1').matchAll(/\0GLIBC_2\.(\d{1,2})(?=[.\0])/g);
  return Math.max(0, ...[...names].map(([, minor]) => Number(minor)));
}
