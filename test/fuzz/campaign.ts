import { request } from 'node:http';
import fc from 'fast-check';
import { limits } from '../../common/limits.ts';
import { peakRssMb } from '../../scripts/benches/processes.ts';
import { type RunningCollector, startCollector } from '../system.ts';
import { until } from '../until.ts';
import { enrolFuzzNode } from './agent.ts';
import { answerDeadlineMs } from './exchange.ts';
import type { Known } from './from-schema.ts';
import { type Lane, lanesOf, type Target } from './lanes.ts';
import { knownOrigin, promiseLanesOf } from './promise-lanes.ts';
import { holdSlowSockets } from './slow.ts';

/** What a campaign may cost, and what it found. */
export interface CampaignOptions {
  readonly collector: RunningCollector;
  readonly seed: number;
  /** Ends after so many cases of each lane ... */
  readonly casesPerLane: number;
  /** ... or when so much time has passed. */
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

export interface Failure {
  readonly lane: string;
  /** What is wrong. */
  readonly fault: string;
  /** The smallest case that was found to do it, and how to make it again. */
  readonly how: string;
}

export interface CampaignReport {
  readonly cases: Readonly<Record<string, number>>;
  readonly answers: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
  /** How many times reads and sign-ins were tried meanwhile, and the slowest, in milliseconds. */
  readonly probes: number;
  readonly slowestProbeMs: number;
  readonly peakRssMb: number;
}

/** The most that a collector under fire may have resident, whatever it is sent. */
export const maxRssMb = 512;
/** Requests are to get as far as they can, so nobody is too fast. */
const noRates = {
  SIGILWATCH_HTTP_RATES_READS_PER_MINUTE: '100000000',
  SIGILWATCH_HTTP_RATES_WRITES_PER_MINUTE: '100000000',
  SIGILWATCH_HTTP_RATES_SIGN_INS_PER_MINUTE: '100000000',
};
const probeEveryMs = 500;
const casesPerRound = 100;
const maxFailuresPerLane = 5;
const slowSockets = 60;
/** A campaign that lasts longer sees all of them closed. */
const slowBoundMs = limits.httpRequestTimeoutMs + 30_000;
/** Another address than the one that all wrong sign-ins come from: those may be locked out. */
const visitorAddress = '127.0.0.2';
const account = { name: 'fuzz-visitor', password: 'a long enough password' };
/** May be revoked, locked and renamed; what the campaign needs itself is in no list. */
const victims = { node: 'lyra', name: 'victim' };
const known: Known = {
  node: [victims.node, 'node1'],
  author: [victims.node, 'collector'],
  name: [victims.name, 'web'],
  index: ['0', '1', '5'],
  id: ['0', '1', 'current'],
  hash: ['0'.repeat(64), '00000000'],
  container: ['web', 'api'],
  path: ['0/000', 'entries/000', '0/000.p/1'],
};

/** A collector to be fired at. */
export function startFuzzCollector(dir: string): Promise<RunningCollector> {
  return startCollector({ dir, env: { ...noRates, SIGILWATCH_HTTP_CORS_ORIGINS: knownOrigin } });
}

/**
 * All lanes at once against one collector, which is asked ordinary things meanwhile.
 * @throws when the ground cannot be laid: a node enrolled, an account made
 */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { collector, seed, progress } = options;
  const { port: portText } = new URL(collector.url);
  const port = Number(portText);
  const enrol = (name: string) => enrolFuzzNode(collector.url, collector.token, name);
  const [walker, teller] = [await enrol('walker'), await enrol('teller')];
  await enrol(victims.node);
  await makeAccount(collector, account.name);
  await makeAccount(collector, victims.name);
  const answers: Record<string, number> = {};
  const cases: Record<string, number> = {};
  const failures: Failure[] = [];
  const target: Target = {
    ...{ port, walker, teller, token: collector.token },
    known,
    onAnswer: (status) => {
      answers[status] = (answers[status] ?? 0) + 1;
    },
  };
  const endMs = performance.now() + options.seconds * 1_000;
  const probing = probe(collector, endMs, failures);
  const slowSinceMs = performance.now();
  const slow = await holdSlowSockets(port, slowSockets);
  await Promise.all(
    [...lanesOf(target), ...promiseLanesOf(target)].map(async (lane) => {
      await runLane(lane, {
        ...options,
        endMs,
        failures,
        count: () => (cases[lane.name] = (cases[lane.name] ?? 0) + 1),
      });
      progress(`${lane.name}: ${cases[lane.name] ?? 0} cases`);
    }),
  );
  const slowAgeMs = performance.now() - slowSinceMs;
  if (slowAgeMs > slowBoundMs && slow.closed() < slowSockets) {
    const fault = `${slowSockets - slow.closed()} of ${slowSockets} slow connections stand after ${slowAgeMs} ms`;
    failures.push({ lane: 'all', fault, how: 'see slow.ts' });
  }
  slow.release();
  const { probes, slowestMs } = await probing.stop();
  await allLeft(collector, failures);
  if (!lives(collector))
    failures.push({
      lane: 'all',
      fault: 'the collector has ended',
      how: `seed ${seed}:\n${collector.logs().slice(-20).join('\n')}`,
    });
  return {
    cases,
    answers,
    failures,
    probes,
    slowestProbeMs: slowestMs,
    peakRssMb: lives(collector) ? peakRssMb(collector.pid) : 0,
  };
}

interface LaneRun extends CampaignOptions {
  readonly endMs: number;
  readonly failures: Failure[];
  readonly count: () => void;
}

/** Round after round, each with a seed of its own that follows from the campaign's. */
async function runLane(
  { name, cases }: Lane,
  { collector, seed, casesPerLane, endMs, failures, count }: LaneRun,
): Promise<void> {
  const property = fc.asyncProperty(cases, async ({ run }) => {
    count();
    const fault = await run();
    if (fault !== undefined) throw new Error(fault);
  });
  const seen = new Set<string>();
  for (let round = 0; round * casesPerRound < casesPerLane; round++) {
    const leftMs = endMs - performance.now();
    if (leftMs <= 0 || !lives(collector) || seen.size >= maxFailuresPerLane) return;
    const roundSeed = (seed + round * 7_919) | 0;
    const numRuns = Math.min(casesPerRound, casesPerLane - round * casesPerRound);
    const bounds = { interruptAfterTimeLimit: leftMs + 5_000, skipAllAfterTimeLimit: leftMs };
    const outcome = await fc.check(property, { seed: roundSeed, numRuns, maxSkipsPerRun: 1_000_000, ...bounds });
    if (!outcome.failed || outcome.counterexample === null) continue;
    const fault = outcome.errorInstance instanceof Error ? outcome.errorInstance.message : 'failed';
    const kind = fault.replace(/[0-9a-f]{8}-[0-9a-f-]+|\d+/g, '0').slice(0, 200);
    if (seen.has(kind)) continue;
    seen.add(kind);
    const [{ shown }] = outcome.counterexample;
    failures.push({ lane: name, fault, how: `round seed ${roundSeed}, path ${outcome.counterexamplePath}: ${shown}` });
  }
}

function lives({ pid }: RunningCollector): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Whoever has gone has left nothing open. */
async function allLeft({ url, token }: RunningCollector, failures: Failure[]): Promise<void> {
  const headers = { Authorization: `Bearer ${token}` };
  const noStream = async () => {
    const text = await (await fetch(`${url}/metrics`, { headers })).text();
    return /^sigilwatch_collector_event_subscribers 0$/m.test(text);
  };
  try {
    await until('no stream of events is open', noStream, answerDeadlineMs);
  } catch (thrown) {
    failures.push({ lane: 'all', fault: String(thrown), how: 'once everybody had left' });
  }
}

async function makeAccount({ url, token }: RunningCollector, name: string): Promise<void> {
  const answer = await fetch(`${url}/api/v1/users`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...account, name, role: 'observer' }),
  });
  if (answer.status !== 201) throw new Error(`no account: ${answer.status} ${await answer.text()}`);
}

interface Probing {
  stop(): Promise<{ readonly probes: number; readonly slowestMs: number }>;
}

/** Signs in and reads, again and again, as somebody would who is not to notice any of it. */
function probe({ url, token }: RunningCollector, endMs: number, failures: Failure[]): Probing {
  let [stopped, probes, slowestMs] = [false, 0, 0];
  const asks: readonly [string, number, () => Promise<number>][] = [
    ['a read', 200, () => statusOf(url, { path: '/api/v1/nodes', token })],
    ['a sign-in', 201, () => statusOf(url, { path: '/api/v1/sessions', body: JSON.stringify(account) })],
  ];
  const run = async (): Promise<void> => {
    while (!stopped && performance.now() < endMs + answerDeadlineMs) {
      for (const [what, wanted, ask] of asks) {
        const begunMs = performance.now();
        const status = await ask().catch((thrown: unknown) => String(thrown));
        probes += 1;
        slowestMs = Math.max(slowestMs, performance.now() - begunMs);
        if (status !== wanted)
          failures.push({ lane: 'probes', fault: `${what} meanwhile: ${status}`, how: `after ${probes} probes` });
      }
      if (failures.filter(({ lane }) => lane === 'probes').length > maxFailuresPerLane) return;
      await new Promise((resolve) => setTimeout(resolve, probeEveryMs));
    }
  };
  const running = run();
  return {
    stop: async () => {
      stopped = true;
      await running;
      return { probes, slowestMs };
    },
  };
}

interface Asked {
  readonly path: string;
  readonly token?: string;
  readonly body?: string;
}

function statusOf(url: string, { path, token, body }: Asked): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      'Content-Type': 'application/json',
    };
    const method = body === undefined ? 'GET' : 'POST';
    const asked = request(
      url + path,
      { method, headers, localAddress: visitorAddress, agent: false, timeout: answerDeadlineMs },
      (answer) => {
        answer.resume();
        answer.once('end', () => resolve(answer.statusCode ?? 0));
        answer.once('error', reject);
      },
    );
    asked.once('timeout', () => asked.destroy(new Error(`no answer within ${answerDeadlineMs} ms`)));
    asked.once('error', reject);
    asked.end(body);
  });
}
