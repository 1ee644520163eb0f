import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { type Contract, isMedia } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import { systemClock } from '../../../collector/clock.ts';
import { issueJoinToken } from '../../../collector/fleet/enrolment.ts';
import { postgresEnrolment } from '../../../collector/postgres/access-store.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import type { Body, Statement } from '../../../common/kinds.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { orderHash } from '../../../common/order.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { assertPromisedBy } from '../../answers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { missed, nightlyOn } from './checked.ts';
import {
  enrolDirectly,
  enrolmentOf,
  postEnrolment,
  say,
  startTestCollector,
  type TestCollector,
} from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
/** What stands for the parameters in the path of an operation. */
const named: Record<string, string> = {};
/** Operations that have answered, and not with a failure. */
const met = new Set<string>();

const rogueId = 'a'.repeat(64);
const digest = '0'.repeat(64);
/** No rule looks at it. */
const alertKey = 'enforcement.daily_limit/node1';

/** Lists that have something to tell here. */
const filled = [
  ...['nodes.list', 'containers.list', 'findings.list', 'fleet.show', 'drifts.list', 'orders.list', 'changes.list'],
  ...['silences.list', 'alerts.list', 'alert_silences.list', 'alert_channels.list', 'integrity_reports.list'],
  ...['entries.list', 'budgets.list', 'budget_requests.list'],
];

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase(), {
    SIGILWATCH_BUDGETS: '{"wipes":{"limit":2,"per":"hour"}}',
    SIGILWATCH_ALERTS_GROUP_MS: '0',
    // Nobody listens there, which is something to tell, too.
    SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: 'http://127.0.0.1:9/services/T000/B000/XXXX',
  });
  await missed(under.db, 1);
  await (await nightlyOn(under)).look(new AbortController().signal);
  const fleet = { store: postgresEnrolment(under.db), ledger: under.ledger, clock: systemClock };
  const { token } = await issueJoinToken(fleet, { node: 'node1', ttlMs: 60_000, randomBytes });
  await postEnrolment(under.collector.url, enrolmentOf('node1', token, generateKeyPair()));
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  const size = async () => (await under.ledger.checkpoint()).size;
  named['drifts.show'] = String(await size());
  await say(under.ledger, 'lyra', lyra, [driftOf('opened'), ...observations()]);
  await say(under.ledger, 'lyra', lyra, [integrityReport()]);
  // The collector may have said something in between.
  const { items } = await call('GET', '/api/v1/integrity-reports?node=lyra&limit=1');
  named['integrity_reports.show'] = String(z.array(z.object({ index: z.number() })).parse(items)[0]?.index);
  await operators(lyra);
  await until('a channel was told', async () => ((await call('GET', '/api/v1/alert-channels')).items?.length ?? 0) > 0);
  await until('the alert stands', async () => ((await call('GET', '/api/v1/alerts')).items?.length ?? 0) > 0);
  await builds();
  named['log.tile'] = `0/000.p/${await size()}`;
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

function driftOf(change: 'opened' | 'changed'): Statement {
  const differences = [{ field: 'command', desired: 'serve', observed: null }];
  const drift = { id: 'CONFIG_DRIFT:rogue', kind: 'CONFIG_DRIFT', container: 'rogue', containerId: rogueId } as const;
  return { kind: `drift.${change}`, body: { drift: { ...drift, differences }, commit: 'c'.repeat(40) } };
}

function observations(): Statement[] {
  const at = '2026-01-01T00:00:00Z';
  const container: ObservedContainer = {
    ...{ id: rogueId, name: 'rogue', image: 'x:1', imageId: 'sha256:x', state: 'exited', health: 'none' },
    ...{ exitCode: 1, restartCount: 2, createdAt: at, startedAt: at, finishedAt: at },
  };
  const finding: SigilFinding = {
    ...{ id: 'f'.repeat(32), check: 'checksum', key: 'a', keyRange: null, file: '000001.ldb', offset: 1 },
    ...{ expected: '1', actual: '2', detail: 'the checksum is another one' },
  };
  const store = { store: 'main', findingsDigest: digest, openFindings: 1, checkedRecords: 9, error: null };
  return [
    { kind: 'agent.started', body: { version: '0.1.0', runtime: 'node', hostname: 'host' } },
    { kind: 'observed', body: { baseline: true, upserted: [container], removed: [] } },
    driftOf('changed'),
    { kind: 'sigil.finding', body: { store: 'main', finding } },
    { kind: 'sigil.finding', body: { store: 'main', finding: { ...finding, id: 'e'.repeat(32) } } },
    { kind: 'sigil.cleared', body: { store: 'main', id: 'e'.repeat(32) } },
    {
      kind: 'report',
      body: {
        ...{ minute: '2026-03-01T10:00:00.000Z', coverage: 'observed', scanMs: 1, commit: null },
        ...{ containers: { count: 1, unobserved: 0, digest }, drifts: { open: 1, digest } },
        stores: [{ ...store, status: 'findings' }],
      },
    },
  ];
}

function integrityReport(): Statement {
  const when = { startedAt: '2026-01-01T02:00:00.000Z', finishedAt: '2026-01-01T02:01:00.000Z' };
  const counts = { tables: 1, blocks: 2, bytes: 3, records: 4, sigils: 5 };
  const stores = [{ store: 'main', status: 'findings', counts, findings: 1 } as const];
  const body = { report: '20260101T020000000Z-00000001', sha256: 'ab'.repeat(32), stores, ...when };
  return { kind: 'integrity.report', body: { ...body, status: 'findings' } };
}

/** What people and rules have put on record, and how an order ended. */
async function operators(lyra: Parameters<typeof say>[2]): Promise<void> {
  const { ledger } = under;
  const drift = { id: 'CONFIG_DRIFT:rogue', kind: 'CONFIG_DRIFT', digest: 'b'.repeat(64) } as const;
  const order = orderOf({ issuedMs: systemClock.now(), drift, approvals: 1 });
  const hash = orderHash(order);
  named['orders.show'] = hash;
  await ledger.record({ kind: 'order.issued', body: { order } });
  const approval = { approver: 'alice', signature: 's' };
  await ledger.record({ kind: 'order.approved', body: { order: hash, approval } });
  const evidence = { sha256: digest, bytes: 1, imageId: 'sha256:x', changedFiles: 2, logBytes: 3 };
  const result: Body<'order.result'> = {
    ...{ order: hash, outcome: 'executed', code: null, reason: 'done', evidence, containerId: null },
  };
  await say(ledger, 'lyra', lyra, [{ kind: 'order.result', body: result }]);
  const nodes = ['lyra', 'node1'];
  const freeze = { commit: 'e'.repeat(40), drift: 'IMAGE_DRIFT' as const, nodes, reason: 'both' };
  await ledger.record({ kind: 'enforcement.frozen', body: freeze });
  await ledger.record({ kind: 'enforcement.frozen', body: { ...freeze, commit: 'd'.repeat(40) } });
  const until = new Date(systemClock.now() + 3_600_000).toISOString();
  const text = announcementText({ node: 'lyra', container: 'web', image: 'web:2', until });
  await ledger.record({ kind: 'change.announced', body: { text, approval } });
  const alert = { severity: 'error', summary: 'used up', node: 'node1' } as const;
  await ledger.record({ kind: 'alert.raised', body: { key: alertKey, ...alert } });
}

/** A build, and what was asked to be done about it, one of which came to nothing. */
async function builds(): Promise<void> {
  const [artifact, id] = ['ab'.repeat(32), 'cd'.repeat(32)];
  named['artifacts.show'] = artifact;
  named['explain.show'] = `?artifact=${artifact}`;
  named['enforcements.show'] = id;
  named['dead_letters.show'] = id;
  named['users.show'] = 'olga';
  const { ledger } = under;
  const lineage = { image: 'x:1', commit: 'c'.repeat(40) };
  const given = { name: 'web', kind: null, lineage, driftScore: 0.1, scorecardScore: 0.9, actor: 'local' } as const;
  await ledger.record({ kind: 'artifact.registered', body: { id: artifact, ...given } });
  const asked = {
    artifact,
    action: 'webhook_alert',
    target: 'https://hooks.example/x',
    reason: 'x',
    actor: 'local',
  } as const;
  for (const one of [id, 'ef'.repeat(32)]) {
    await ledger.record({ kind: 'enforcement.requested', body: { id: one, ...asked, retryOf: null } });
    const end = { outcome: 'failed', txId: null, error: 'no answer', attempts: 3, trace: digest } as const;
    await ledger.record({ kind: 'enforcement.result', body: { id: one, ...end } });
  }
  named['budgets.show'] = 'wipes';
  const reserved = await call('POST', '/api/v1/budgets/wipes/requests', { amount: 1, reason: 'a test' });
  named['budget_requests.show'] = String(reserved.request_id);
  await call('POST', '/api/v1/users', { name: 'olga', role: 'observer', password: 'a long enough password' });
}

interface Told {
  readonly id?: unknown;
  readonly request_id?: unknown;
  readonly items?: readonly unknown[];
}

/** Of all that was asked here, for their ids. */
let requests = 0;
const written: { readonly id: string; readonly path: string }[] = [];

/** @returns the answer, which is what its contract says. */
async function call(method: string, path: string, body?: object): Promise<Told> {
  requests += 1;
  if (method !== 'GET') written.push({ id: `${method}-${requests}`, path });
  const answer = await fetch(`${under.collector.url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${under.token}`, 'X-Request-ID': `${method}-${requests}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const operation = await assertPromisedBy(method, path, answer);
  assert.ok(operation, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  met.add(operation);
  return JSON.parse(await answer.text());
}

function placeOf({ operation }: Contract, path: string): string {
  const value = named[operation];
  if (!path.includes(':')) return `${path}${value ?? ''}`;
  assert.ok(value !== undefined, `say what stands for the parameter of ${operation}`);
  return path.replace(/:\w+(\{.*\})?/, value);
}

test('what is changed is answered as the contracts say', async () => {
  const silence = { node: 'lyra', for_seconds: 60, reason: 'an upgrade' };
  for (const _ of [1, 2]) named.silence = String((await call('POST', '/api/v1/silences', silence)).id);
  await call('DELETE', `/api/v1/silences/${named.silence}`);
  await call('POST', '/api/v1/enforcement/release', { commit: 'd'.repeat(40), reason: 'looked at it' });
  await call('POST', '/api/v1/alerts/acknowledge', { key: alertKey, reason: 'on it' });
  for (const pattern of ['enforcement.*', 'drift.*']) {
    const made = await call('POST', '/api/v1/alert-silences', { pattern, for_seconds: 60, reason: 'known' });
    named.alertSilence = String(made.id);
  }
  await call('DELETE', `/api/v1/alert-silences/${named.alertSilence}`);
  const sent = { hash: 'be'.repeat(32), lineage: { image: 'y:1' } };
  await call('POST', '/api/v1/artifacts', sent);
});

test('every write is on record with who asked, by the id of its request', async () => {
  const { rows } = await under.db.query(
    `select convert_from(bytes, 'UTF8')::jsonb #>> '{body,requestId}' as id from entry_bodies join entries using (index)
      where kind = 'auth.event'`,
  );
  const ids = new Set(rows.map(({ id }) => id));
  assert.ok(written.length > 10);
  assert.deepEqual(
    written.filter(({ id }) => !ids.has(id)),
    [],
  );
});

describe('what is read is answered as the contract says:', () => {
  for (const contract of contracts.filter(({ method }) => method === 'get')) {
    const { operation, aliases, answers } = contract;
    test(operation, async () => {
      for (const place of [contract.path, ...aliases].map((path) => placeOf(contract, path))) {
        const gone = new AbortController();
        const answer = await fetch(`${under.collector.url}${place}`, {
          headers: { Authorization: `Bearer ${under.token}` },
          signal: gone.signal,
        });
        const promised = answers[answer.status];
        assert.ok(promised !== undefined, `${place}: ${answer.status}`);
        const media = isMedia(promised) ? promised.media : ['application/json'];
        assert.ok(media.includes((answer.headers.get('Content-Type') ?? '').split(';')[0] ?? ''), place);
        assert.match(answer.headers.get('X-Request-ID') ?? '', /./);
        await assertPromisedBy('GET', place, answer);
        if (filled.includes(operation)) assert.match(await answer.clone().text(), /"items":\[\{/, operation);
        met.add(operation);
        // Some answers go on for as long as somebody listens.
        gone.abort();
      }
    });
  }

  test('and none was left out', () => {
    const missing = contracts.filter(({ method, operation }) => method === 'get' && !met.has(operation));
    assert.deepEqual(missing, []);
  });
});

test('members that an order has in the course of its life are in its schema', async () => {
  const story = JSON.stringify(await call('GET', `/api/v1/orders/${named['orders.show']}`));
  for (const what of ['order.approved', 'order.result', '"evidence":{', '"approver":"alice"']) {
    assert.ok(story.includes(what), what);
  }
});
