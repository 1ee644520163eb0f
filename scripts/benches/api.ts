import { join } from 'node:path';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { headAfter, sealEntry } from '../../common/entry.ts';
import { fingerprint, generateKeyPair, rawPublicKey } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { fromSource } from '../../test/from-source.ts';
import { jsonLine, makeTemporaryFolder, startCollector, startProgram } from '../../test/system.ts';
import { type Load, type Offered, offerLoad } from './api-load.ts';
import {
  appendAll,
  type BenchLedger,
  benchOrigin,
  openBenchLedger,
  sessions,
  startBenchPostgres,
} from './append-ground.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { keepsLimits, quantile, round } from './report.ts';

const least = { ratio: 0.7, readsPerS: 2_000 } as const;
const most = { p99Ms: 50 } as const;
const defaultRecords = 1_000_000;
/** Of the entries, so many open a drift. */
const driftShare = 0.1;
const driftNode = 'drifting';
const defaultRuns = 5;
const defaultSeconds = 6;
const connections = 16;
const appendedAtOnce = 20_000;

/** What a console or a script asks for all the time. */
const paths = [
  '/api/v1/drifts?limit=25',
  '/api/v1/drifts?state=open&limit=25',
  `/api/v1/drifts?node=${driftNode}&limit=25`,
  '/api/v1/entries?limit=25',
  '/api/v1/nodes?limit=25',
];

/** Lists of the API with a ledger of a million entries behind them, beside bare handlers that send the same statements. */
export const api: Bench = {
  run: async ({ progress, records = defaultRecords, runs = defaultRuns, seconds = defaultSeconds }) => {
    progress('starting PostgreSQL');
    const postgres = await startBenchPostgres();
    const databaseUrl = await postgres.createDatabase('bench_api');
    const dir = join(makeTemporaryFolder('sgw-bench-').path, 'collector');
    await fill(databaseUrl, { dir, records, progress });
    await postgres.settle(databaseUrl);
    progress('starting the collector and the bare handlers');
    const collector = await startCollector({
      dir,
      env: {
        DATABASE_URL: databaseUrl,
        SIGILWATCH_LEDGER_ORIGIN: benchOrigin,
        // All of the load is one caller's.
        SIGILWATCH_HTTP_RATES_READS_PER_MINUTE: '100000000',
      },
    });
    const bare = await startBareApi(databaseUrl);
    const ours = {
      ...{ url: collector.url, pid: collector.pid, paths },
      headers: { Authorization: `Bearer ${collector.token}` },
    };
    const rounds: Round[] = [];
    for (let run = -1; run < runs; run++) {
      const measured = await takeTurns({ ours, bare: bare.load }, run, seconds);
      if (run >= 0) rounds.push(measured);
      const rates = `${perSecond(measured.ours).toFixed(0)} reads/s, bare ${perSecond(measured.bare).toFixed(0)}`;
      progress(`${run < 0 ? 'warming up' : `round ${run + 1} of ${runs}`}: ${rates}`);
    }
    await bare.stop();
    await collector.stop();
    await postgres.stop();
    return report(rounds, records);
  },
};

type Way = 'ours' | 'bare';
type Round = Readonly<Record<Way, Offered>>;

/** Each round begins with the other one. */
async function takeTurns(loads: Readonly<Record<Way, Load>>, run: number, seconds: number): Promise<Round> {
  const measure = (way: Way) => offerLoad(loads[way], { connections, seconds });
  if (run % 2 === 0) {
    const ours = await measure('ours');
    return { ours, bare: await measure('bare') };
  }
  const bare = await measure('bare');
  return { ours: await measure('ours'), bare };
}

interface FillOptions {
  readonly dir: string;
  readonly records: number;
  readonly progress: (text: string) => void;
}

/** A ledger as a collector has it: real entries, and projections of them. */
async function fill(url: string, { dir, records, progress }: FillOptions): Promise<void> {
  const bench = await openBenchLedger(url, 'api', await loadCollectorKey(collectorKeyPath(dir)));
  const drifts = Math.round(records * driftShare);
  for (let done = 0; done < records - drifts; done += appendedAtOnce) {
    const perAuthor = Math.ceil(Math.min(appendedAtOnce, records - drifts - done) / sessions);
    await appendAll(
      bench,
      bench.authors.map((author) => author.take(perAuthor)),
    );
    progress(`${Math.min(done + appendedAtOnce, records - drifts)} of ${records} entries`);
  }
  await openDrifts(bench, drifts, progress);
  await bench.close();
}

async function openDrifts({ ledger }: BenchLedger, drifts: number, progress: (text: string) => void): Promise<void> {
  const keys = generateKeyPair();
  const publicKey = rawPublicKey(keys.publicKey).toString('base64');
  const print = fingerprint(keys.publicKey);
  await ledger.record({
    kind: 'node.enrolled',
    body: { node: driftNode, publicKey, fingerprint: print, agentVersion: 'bench' },
  });
  let head = await ledger.authorHead(driftNode);
  for (let done = 0; done < drifts; ) {
    const count = Math.min(limits.maxAppendEntries, drifts - done);
    const batch = Array.from({ length: count }, (_, at) => {
      const signed = sealEntry(driftOf(done + at), {
        ...{ author: driftNode, head, now: Date.now(), privateKey: keys.privateKey },
      });
      head = headAfter(signed);
      return signed;
    });
    await ledger.append(batch);
    done += count;
    if (done % appendedAtOnce < count) progress(`${done} of ${drifts} drifts`);
  }
}

function driftOf(at: number): Statement {
  const container = `app-${at}`;
  const differences = [{ field: 'image', desired: 'registry.local/app:1.0', observed: `registry.local/app:1.${at}` }];
  const drift = {
    id: `IMAGE_DRIFT:${container}`,
    kind: 'IMAGE_DRIFT',
    container,
    containerId: null,
    differences,
  } as const;
  return { kind: 'drift.opened', body: { drift, commit: null } };
}

async function startBareApi(databaseUrl: string): Promise<{ readonly load: Load; stop(): Promise<void> }> {
  const script = join(import.meta.dirname, 'bare-api.ts');
  const args = [...fromSource(script), databaseUrl];
  const program = startProgram({ name: 'bare api', command: process.execPath, args });
  const url = await program.find('says its address', (line) => {
    const said = jsonLine(line)?.url;
    return typeof said === 'string' ? said : undefined;
  });
  return { load: { url, pid: program.pid, headers: {}, paths }, stop: () => program.stop() };
}

const perSecond = ({ requests, seconds }: Offered) => requests / seconds;
const perCoreSecond = ({ requests, cpuSeconds }: Offered) => requests / cpuSeconds;
const middle = (values: readonly number[]) => quantile(values, 0.5);

function report(rounds: readonly Round[], records: number): BenchReport {
  const figures = {
    ratio: middle(rounds.map(({ ours, bare }) => perSecond(ours) / perSecond(bare))),
    cpu_ratio: middle(rounds.map(({ ours, bare }) => perCoreSecond(ours) / perCoreSecond(bare))),
    reads_per_s: middle(rounds.map(({ ours }) => perCoreSecond(ours))),
    wall_reads_per_s: middle(rounds.map(({ ours }) => perSecond(ours))),
    p99_ms: middle(rounds.map(({ ours }) => quantile(ours.tookMs, 0.99))),
    p50_ms: middle(rounds.map(({ ours }) => quantile(ours.tookMs, 0.5))),
    bare_p99_ms: middle(rounds.map(({ bare }) => quantile(bare.tookMs, 0.99))),
    bare_reads_per_s: middle(rounds.map(({ bare }) => perCoreSecond(bare))),
  };
  const rows: Row[] = [
    { what: 'reads, share of bare handlers', measured: figures.ratio, unit: '', atLeast: least.ratio },
    { what: 'the same by processor time', measured: figures.cpu_ratio, unit: '' },
    {
      what: "reads in a second of the collector's processor time",
      measured: figures.reads_per_s,
      unit: 'reads/s',
      atLeast: least.readsPerS,
    },
    { what: 'of the bare handlers', measured: figures.bare_reads_per_s, unit: 'reads/s' },
    {
      what: `reads by ${connections} clients, database and clients beside it`,
      measured: figures.wall_reads_per_s,
      unit: 'reads/s',
    },
    { what: 'a read, p99', measured: figures.p99_ms, unit: 'ms', limit: most.p99Ms },
    { what: 'a read, median', measured: figures.p50_ms, unit: 'ms' },
    { what: 'of the bare handlers, p99', measured: figures.bare_p99_ms, unit: 'ms' },
  ];
  const facts = Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, round(figure, 3)]));
  return {
    title: `Lists of 25 rows, ${records} entries and a tenth as many drifts in the database: medians of ${rounds.length} rounds`,
    rows,
    notes: ['Bare handlers send the same statements through the same pool; they check, cut and count nothing.'],
    facts: { ...facts, records, rounds: rounds.length, kept: keepsLimits(rows) },
  };
}
