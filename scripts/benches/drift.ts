import { containerInspect, imageInspect } from '../../agent/docker/engine-json.ts';
import { type Looked, stateToJudge } from '../../agent/docker/images.ts';
import type { ImageConfig } from '../../common/config-drift.ts';
import type { DesiredState } from '../../common/desired.ts';
import { diff } from '../../common/drift.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import type { Bench, BenchReport } from './bench.ts';
import { keepsLimits, quantile, round } from './report.ts';

const most = { ms: 50 } as const;
const defaultRuns = 30;
const defaultContainers = 1_000;
/** One container in so many is not made as it should be. */
const driftedEvery = 10;
const node = 'lyra';

/** What comparing costs: from a manifest that is in memory to the drifts of one node. No engine takes part. */
export const drift: Bench = {
  run: async ({ runs = defaultRuns, records: containers = defaultContainers, progress }) => {
    progress(`${runs} comparisons of ${containers} containers`);
    const files = manifestOf(containers);
    const answers = Array.from({ length: containers }, (_, at) => inspectAnswer(at));
    const image = imageInspect.parse(imageAnswer);
    const [manifest, parseMs] = await timed(runs, async () => parseManifestFiles(files));
    const [seen, readMs] = await timed(runs, async () => answers.map((answer) => containerInspect.parse(answer)));
    const looked = {
      containers: new Map(seen.map((one) => [one.container.id, one])),
      unobserved: new Map<string, null>(),
      atMs: Date.now(),
    };
    const [drifts, compareMs] = await timed(runs, () => compare(compileDesired(manifest, node), looked, image));
    return report({ containers, drifts: drifts.length, parseMs, readMs, compareMs });
  },
};

async function compare(desired: DesiredState, looked: Looked, image: ImageConfig) {
  const images = { keep: async () => {}, of: () => image };
  return diff(desired, await stateToJudge(looked, desired, images));
}

/** How long each run took, milliseconds. The first one is the compiler's, and not counted. */
async function timed<T>(runs: number, work: () => Promise<T>): Promise<[result: T, tookMs: readonly number[]]> {
  const tookMs: number[] = [];
  let result = await work();
  for (let run = 0; run < runs; run++) {
    const began = performance.now();
    result = await work();
    tookMs.push(performance.now() - began);
  }
  return [result, tookMs];
}

interface Measured {
  readonly containers: number;
  readonly drifts: number;
  readonly parseMs: readonly number[];
  readonly readMs: readonly number[];
  readonly compareMs: readonly number[];
}

function report({ containers, drifts, parseMs, readMs, compareMs }: Measured): BenchReport {
  const median = (values: readonly number[]) => quantile(values, 0.5);
  const figures = {
    ms_1000: (median(compareMs) * defaultContainers) / containers,
    p99_ms: quantile(compareMs, 0.99),
    parse_ms: median(parseMs),
    inspect_ms: median(readMs),
  };
  const rows = [
    { what: 'compile and compare 1,000 containers', measured: figures.ms_1000, unit: 'ms', limit: most.ms },
    { what: `of ${containers}, p99`, measured: figures.p99_ms, unit: 'ms' },
    { what: 'read manifest and compose file, once per commit', measured: figures.parse_ms, unit: 'ms' },
    { what: "read the engine's answers, once per change", measured: figures.inspect_ms, unit: 'ms' },
  ];
  const facts = Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, round(figure, 3)]));
  return {
    title: `${containers} containers of one node compared with what is wanted of them: medians of ${compareMs.length} runs`,
    rows,
    notes: [`Half of them are wanted by the manifest, half by a compose file; ${drifts} differ.`],
    facts: { ...facts, limit_ms_1000: most.ms, containers, drifts, kept: keepsLimits(rows) },
  };
}

/** Written as JSON, which YAML includes. */
function manifestOf(containers: number): ManifestFiles {
  const numbers = Array.from({ length: containers }, (_, at) => at);
  const listed = numbers.filter((at) => at % 2 === 0);
  const composed = numbers.filter((at) => at % 2 === 1);
  const said = (at: number) => ({
    image: `registry.local/app-${at % 20}:1.${at % 7}`,
    environment: variablesOf(at),
    ports: [`${20_000 + at}:8080`, `127.0.0.1:${10_000 + at}:9090/tcp`],
    volumes: [`/srv/app-${at}:/data`, '/etc/app:/etc/app:ro'],
    labels: { app: `app-${at}`, tier: 'web' },
    cap_drop: ['ALL'],
    mem_limit: '256m',
    cpus: 0.5,
  });
  const manifest = { containers: listed.map((at) => ({ name: `app-${at}`, ...said(at), restart_policy: 'always' })) };
  const services = composed.map((at) => [`s${at}`, { container_name: `app-${at}`, ...said(at), restart: 'always' }]);
  return new Map([
    [manifestFile, JSON.stringify(manifest)],
    ['manifests/docker/apps.yaml', JSON.stringify({ services: Object.fromEntries(services) })],
  ]);
}

function variablesOf(at: number): Record<string, string> {
  return {
    MODE: 'production',
    NUMBER: String(at),
    URL: `http://app-${at}.local`,
    LEVEL: 'info',
    ZONE: 'a',
    REGION: 'eu',
  };
}

const brought = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG=C.UTF-8', 'VERSION=1'];
const imageAnswer = { Config: { Env: brought, Cmd: ['serve'], Labels: { vendor: 'us' } } };

function inspectAnswer(at: number): unknown {
  const drifted = at % driftedEvery === 0;
  const time = '2026-01-01T00:00:00.000000000Z';
  return {
    ...{ Id: at.toString(16).padStart(64, '0'), Name: `/app-${at}`, Image: `sha256:${'a'.repeat(64)}` },
    ...{ Created: time, RestartCount: 0 },
    State: { Status: 'running', ExitCode: 0, StartedAt: time, FinishedAt: '0001-01-01T00:00:00Z' },
    Config: {
      Image: `registry.local/app-${at % 20}:1.${at % 7}`,
      Cmd: ['serve'],
      Env: [...Object.entries(variablesOf(at)).map(([name, value]) => `${name}=${value}`), ...brought],
      Labels: { app: `app-${at}`, tier: drifted ? 'db' : 'web', vendor: 'us' },
    },
    HostConfig: {
      PortBindings: {
        '8080/tcp': [{ HostIp: '', HostPort: String(20_000 + at) }],
        '9090/tcp': [{ HostIp: '127.0.0.1', HostPort: String(10_000 + at) }],
      },
      ...{ CapDrop: ['ALL'], Memory: 256 << 20, NanoCpus: 500_000_000, NetworkMode: 'bridge' },
      RestartPolicy: { Name: 'always' },
    },
    Mounts: [
      { Type: 'bind', Source: `/srv/app-${at}`, Destination: '/data', RW: true },
      { Type: 'bind', Source: '/etc/app', Destination: '/etc/app', RW: false },
    ],
  };
}
