import { join } from 'node:path';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { publicKeyFromRaw } from '../../common/keys.ts';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../common/note.ts';
import { makeTemporaryFolder, type RunningCollector, startCollector } from '../../test/system.ts';
import { until } from '../../test/until.ts';
import { benchOrigin, enrolment, openLedgerAt, startBenchPostgres } from './append-ground.ts';
import type { Bench } from './bench.ts';
import { auditFleet, postmasterOf, readTables, readVolume } from './fleet-ledger.ts';
import { type FleetProcesses, startFleetProcesses } from './fleet-processes.ts';
import { type FleetMeasured, fleetReport, type Phase } from './fleet-report.ts';
import { type FleetCommand, minuteMs } from './fleet-words.ts';
import { parentOf, sample } from './processes.ts';

const defaultAgents = 1_000;
const defaultSeconds = 180;
const defaultReports = 60;
/** The collector gives a silent agent up after `pingIntervalMs` and `pongTimeoutMs`. */
const silencePatienceMs = 90_000;

type Reader = Awaited<ReturnType<typeof openLedgerAt>>['db'];

/**
 * Many agents on one collector: all connect at once, report each minute, fall silent without a goodbye, come back in the same
 * instant with what has gathered, and the ledger is asked what it holds.
 */
export const fleet: Bench = {
  run: async (options) => {
    const { agents = defaultAgents, seconds = defaultSeconds, records: waiting = defaultReports, progress } = options;
    const steady = { reports: Math.max(1, Math.floor((1_000 * seconds) / minuteMs)), everyMs: minuteMs };
    if (1_000 * seconds < minuteMs) steady.everyMs = 1_000 * seconds;
    progress(`starting PostgreSQL and ${agents} agents`);
    const postgres = await startBenchPostgres();
    const databaseUrl = await postgres.createDatabase('bench_fleet');
    const dir = join(makeTemporaryFolder('sgw-bench-fleet-').path, 'collector');
    // Reports are of the minutes up to now: those of the partition are made at once, and say so of earlier ones.
    const firstMinuteMs = Math.floor(Date.now() / minuteMs - steady.reports - waiting) * minuteMs;
    const processes = await startFleetProcesses(agents, firstMinuteMs);
    const ground = await openGround({ databaseUrl, dir, processes, progress });
    const measured = await measure({ ...ground, processes, progress }, { steady, waiting });
    await processes.stop();
    await ground.collector.stop();
    await ground.close();
    await postgres.stop();
    return fleetReport({ ...measured, agents, steady, waiting });
  },
};

interface Ground {
  readonly collector: RunningCollector;
  /** For questions to the database beside the collector. */
  readonly db: Reader;
  readonly vkey: string;
  close(): Promise<void>;
}

interface GroundOptions {
  readonly databaseUrl: string;
  readonly dir: string;
  readonly processes: FleetProcesses;
  readonly progress: (text: string) => void;
}

/** A built collector in whose ledger all the nodes are enrolled. */
async function openGround({ databaseUrl, dir, processes, progress }: GroundOptions): Promise<Ground> {
  const keys = await loadCollectorKey(collectorKeyPath(dir));
  const { ledger, db, close } = await openLedgerAt(databaseUrl, keys);
  progress(`enrolling ${processes.nodes.length} nodes`);
  await Promise.all(
    processes.nodes.map(({ node, publicKey }) =>
      ledger.record(enrolment(node, publicKeyFromRaw(Buffer.from(publicKey, 'base64')))),
    ),
  );
  const env = { DATABASE_URL: databaseUrl, SIGILWATCH_LEDGER_ORIGIN: benchOrigin };
  const collector = await startCollector({ dir, env });
  const vkey = formatVerifierKey(verifierKey(benchOrigin, signatureTypes.ed25519, keys.publicKey));
  return { collector, db, vkey, close };
}

interface Scene extends Omit<Ground, 'close'> {
  readonly processes: FleetProcesses;
  readonly progress: (text: string) => void;
}

interface Course {
  readonly steady: { readonly reports: number; readonly everyMs: number };
  readonly waiting: number;
}

async function measure(
  scene: Scene,
  { steady, waiting }: Course,
): Promise<Omit<FleetMeasured, keyof Course | 'agents'>> {
  const { collector, db, vkey, processes, progress } = scene;
  const url = collector.url;
  const phase = await phases(scene);
  progress('all connect at once');
  const connected = await phase({ do: 'connect', url, origin: benchOrigin, vkey });
  progress(`${steady.reports} reports of each agent, one in ${steady.everyMs / 1_000} s`);
  const reported = await phase({ do: 'report', ...steady });
  const silence = await fallSilent(scene);
  progress(
    `the collector has given the last one up after ${silence.seconds.toFixed(1)} s; ${waiting} reports each wait`,
  );
  const cut = phase({ do: 'cut', reports: waiting });
  processes.thaw();
  await cut;
  progress('all come back at once');
  const drained = await phase({ do: 'rejoin' });
  progress('asking the ledger');
  const audit = await auditFleet(db, drained.done.heads);
  const verified = await collector.cli('--json', 'ledger', 'verify');
  await db.query('analyze');
  return {
    ...{ connected, reported, silence, drained, audit },
    verified: verified.exitCode === 0,
    refusals: await readRefusals(collector),
    tables: await readTables(db),
  };
}

/** Frozen, they neither answer nor close: what the collector sees of a cable that was pulled. */
async function fallSilent({ collector, processes, progress }: Scene): Promise<FleetMeasured['silence']> {
  progress('all fall silent');
  const startedMs = performance.now();
  const usage = sample(collector.pid);
  processes.freeze();
  try {
    await until(
      'the collector has given all agents up',
      async () => (await readMetric(collector, 'sigilwatch_collector_agent_sessions')) === 0,
      silencePatienceMs,
    );
  } catch (thrown) {
    processes.thaw();
    throw thrown;
  }
  return { seconds: (performance.now() - startedMs) / 1_000, collector: usage.stop() };
}

/** @returns what does one thing, and says what it took. */
async function phases({ collector, db, processes }: Scene): Promise<(command: FleetCommand) => Promise<Phase>> {
  const postmaster = await postmasterOf(db, parentOf);
  return async (command) => {
    const before = await readVolume(db);
    const [usage, postgres] = [sample(collector.pid), sample(postmaster)];
    const startedMs = performance.now();
    const done = await processes.run(command);
    const seconds = (performance.now() - startedMs) / 1_000;
    const after = await readVolume(db);
    return {
      ...{ done, seconds, collector: usage.stop(), postgres: postgres.stop() },
      walBytes: after.wal - before.wal,
      databaseBytes: after.database,
    };
  };
}

async function readMetrics({ url, token }: RunningCollector): Promise<string> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  return answer.text();
}

async function readMetric(collector: RunningCollector, name: string): Promise<number> {
  const [, value] = new RegExp(`^${name} (\\d+)$`, 'm').exec(await readMetrics(collector)) ?? [];
  return Number(value);
}

const refusedLine = /^sigilwatch_collector_agent_refused_total\{code="([^"]+)"\} (\d+)$/gm;

/** Connections and messages that the collector has refused, by error code. */
async function readRefusals(collector: RunningCollector): Promise<Readonly<Record<string, number>>> {
  const lines = (await readMetrics(collector)).matchAll(refusedLine);
  return Object.fromEntries([...lines].map(([, code = '', count]) => [code, Number(count)]));
}
