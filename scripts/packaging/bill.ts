import { createHash } from 'node:crypto';
import type { Arch } from './arch.ts';
import type { LockedPackage } from './lock.ts';

/** What a bill of materials is made of. */
export interface BillFacts {
  readonly name: string;
  readonly summary: string;
  readonly version: string;
  readonly arch: Arch;
  /** Seconds since 1970. */
  readonly seconds: number;
  /** Parts of our programs: their code is in ours. */
  readonly bundled: readonly LockedPackage[];
  /** In node_modules of the package, and its runtime. */
  readonly beside: readonly LockedPackage[];
}

/**
 * The bill of materials as CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/): every npm package that our programs hold or
 * load, with the hash of its archive in the registry. The same facts give the same text.
 */
export function billText(facts: BillFacts): string {
  const { name, summary, version, arch, seconds, bundled, beside } = facts;
  const ours = `pkg:generic/${name}@${version}?arch=${arch}`;
  const components = new Map([
    ...bundled.map((one) => [purlOf(one), componentOf(one, 'bundled')] as const),
    ...beside.map((one) => [purlOf(one), componentOf(one, 'beside')] as const),
  ]);
  const purls = [...components.keys()].sort();
  const bill = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf([ours, String(seconds), ...purls].join('\n'))}`,
    version: 1,
    metadata: {
      timestamp: `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`,
      component: {
        type: 'application',
        'bom-ref': ours,
        name,
        version,
        description: summary,
        licenses: [{ license: { id: 'Apache-2.0' } }],
        purl: ours,
      },
    },
    components: purls.map((purl) => components.get(purl)),
    dependencies: [{ ref: ours, dependsOn: purls }, ...purls.map((ref) => ({ ref }))],
  };
  return `${JSON.stringify(bill, null, 2)}\n`;
}

/** https://github.com/package-url/purl-spec: the scope's `@` is escaped. */
function purlOf({ name, version }: LockedPackage): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function componentOf(one: LockedPackage, how: 'bundled' | 'beside') {
  const [, group, name = one.name] = /^(@[^/]+)\/(.+)$/.exec(one.name) ?? [];
  return {
    type: one.name.startsWith('node-linux-') ? 'platform' : 'library',
    'bom-ref': purlOf(one),
    ...(group !== undefined && { group }),
    name,
    version: one.version,
    scope: 'required',
    hashes: [{ alg: 'SHA-512', content: Buffer.from(one.integrity.slice('sha512-'.length), 'base64').toString('hex') }],
    ...(one.license !== undefined && { licenses: [licenceOf(one.license)] }),
    purl: purlOf(one),
    properties: [{ name: 'sigilwatch:held', value: how === 'bundled' ? 'in the programs' : `in ${one.place}` }],
  };
}

/** One identifier of SPDX, or an expression of several. */
function licenceOf(text: string) {
  return /^[A-Za-z0-9.+-]+$/.test(text) ? { license: { id: text } } : { expression: text };
}

/** Version 8 of RFC 9562: ours to fill, here with a hash. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
