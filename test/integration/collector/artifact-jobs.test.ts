import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { artifactRegister } from '../../../collector/api/artifacts-contract.ts';
import { jobList, jobShow } from '../../../collector/api/enforcements-contract.ts';
import { requestEnforcement } from '../../../collector/jobs/request.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { orderHash } from '../../../common/order.ts';
import { collectorCli } from '../../collector-cli.ts';
import { type ArweaveGateway, startArweaveGateway } from '../../fakes/arweave-gateway.ts';
import { startLedger } from '../../ledgers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { containerOf, drifted, hashOf, observed, wishOf } from './artifact-world.ts';
import { enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';
import { listening, webhookSecret, wishFor, workWorld } from './jobs-world.ts';

type Receiver = Awaited<ReturnType<typeof listening>>;

let postgres: TestPostgres;
let folder: string;
let receiver: Receiver;
let gateway: ArweaveGateway;
let under: TestCollector;
let env: Record<string, string>;

before(async () => {
  postgres = await startPostgres();
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-artifact-jobs-'));
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(join(folder, 'wallet.json'), JSON.stringify(privateKey.export({ format: 'jwk' })));
  receiver = await listening((_request, response) => response.end('thanks'));
  gateway = await startArweaveGateway();
  const { url, ownerUrl } = await postgres.writerDatabase();
  const settings = {
    SIGILWATCH_JOBS_WEBHOOK_SECRET: webhookSecret,
    SIGILWATCH_JOBS_WEBHOOK_ALLOWED_ADDRESSES: '127.0.0.0/8',
    SIGILWATCH_JOBS_ARWEAVE_GATEWAY: gateway.url,
    SIGILWATCH_JOBS_ARWEAVE_WALLET_FILE: join(folder, 'wallet.json'),
    SIGILWATCH_ARTIFACTS_SCORING_INTERVAL_MS: '1000',
    SIGILWATCH_ARTIFACTS_SCORING_THRESHOLDS: JSON.stringify([
      { below: 0.9, action: 'webhook_alert', target: `${receiver.url}/score` },
    ]),
  };
  under = await startTestCollector(url, { DATABASE_OWNER_URL: ownerUrl, ...settings });
  env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir, ...settings };
});
after(async () => {
  await under.stop();
  await receiver.close();
  await gateway.close();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

async function post(path: string, body: object): Promise<unknown> {
  const headers = { Authorization: `Bearer ${under.token}`, 'Content-Type': 'application/json' };
  const answer = await fetch(`${under.collector.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

const enforcementsOf = async (artifact: string) =>
  jobList.answers[200].parse((await under.get(`/api/v1/enforcements?artifact_id=${artifact}`)).json).items;

const enforcement = async (id: string) =>
  jobShow.answers[200].parse((await under.get(`/api/v1/enforcements/${id}`)).json);

describe('an artifact on a collector that runs', () => {
  test('is pinned by its registration, and what is pinned verifies by itself', async () => {
    const pinned = hashOf('pinned');
    await post('/api/v1/artifacts', { hash: pinned, lineage: wishOf('pinned').lineage, name: 'pinned' });
    const wish = { artifact_id: pinned, action: 'pin_arweave', target: 'release 2' };
    const { enforcement_id: id } = jobShow.answers[200]
      .pick({ enforcement_id: true })
      .parse(await post('/enforce', wish));
    await until('the transaction is sent', async () => (await enforcement(id)).attempts[0]?.outcome === 'waiting');
    gateway.mine();
    gateway.mine();
    await until('the pin is done', async () => {
      // It looks again after a minute; here it is due now.
      await under.db.query('update pgboss.job set start_after = now() where start_after > now()');
      return (await enforcement(id)).status === 'done';
    });
    const { tx_id } = await enforcement(id);
    const [[kept, data] = ['', '']] = gateway.kept;
    assert.deepEqual([gateway.kept.size, kept], [1, tx_id]);
    const file = join(folder, 'pinned.tlog-proof');
    await writeFile(file, data);
    const policy = join(folder, 'policy');
    assert.equal((await collectorCli(['ledger', 'policy', '-o', policy], env)).code, 0);
    const { code, stdout, stderr } = await collectorCli(['verify', file, '--policy', policy, '--json'], {});
    assert.equal(code, 0, `${stdout}${stderr}`);
    const { index, kind, signature_verified } = JSON.parse(stdout).entry;
    const { registered_index } = (await under.get(`/api/v1/artifacts/${pinned}`)).json;
    assert.deepEqual([index, kind, signature_verified], [registered_index, 'artifact.registered', true]);
  });

  test('is scored, and the threshold that its score is below is answered once, as its story tells', async () => {
    const [web, issuedMs] = [hashOf('web'), Date.now()];
    const lyra = await enrolDirectly(under.ledger, 'lyra');
    await say(under.ledger, 'lyra', lyra, [
      { kind: 'desired.adopted', body: { commit: 'm1', digest: hashOf('d'), containers: 1 } },
      observed(containerOf('web', { id: web, ref: 'web:1' })),
      drifted('web', 'CONFIG_DRIFT', 'm1'),
    ]);
    const order = orderOf({ container: 'web', containerId: hashOf('container web'), commit: 'm1', issuedMs });
    await under.ledger.record({ kind: 'order.issued', body: { order } });
    const said = { order: orderHash(order), code: null, evidence: null, containerId: null };
    await say(under.ledger, 'lyra', lyra, [
      { kind: 'order.result', body: { ...said, outcome: 'executed', reason: 'it was stopped' } },
    ]);
    const lineage = { image: 'web:1', image_id: `sha256:${web}`, commit: 'c1' };
    artifactRegister.answers[201].parse(await post('/api/v1/artifacts', { hash: web, lineage }));
    await until('the enforcement is done', async () => (await enforcementsOf(web))[0]?.status === 'done');
    const [asked, second] = await enforcementsOf(web);
    assert.equal(second, undefined);
    assert.equal(asked?.actor, 'scoring:default');
    const heard = receiver.heard.filter(({ body }) => body.includes(web));
    assert.equal(heard.length, 1);
    const [{ headers, body, path } = { headers: {}, body: '', path: '' }] = heard;
    const id = asked?.enforcement_id;
    assert.deepEqual([path, headers['idempotency-key']], ['/score', id]);
    const signed = `${id}.${headers['webhook-timestamp']}.${body}`;
    const mac = createHmac('sha256', webhookSecret).update(signed).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${mac}`);
    assert.equal(JSON.parse(body).data.artifact_id, web);
    const { code, stdout } = await collectorCli(['explain', 'web', '--json'], env);
    assert.equal(code, 0);
    const story = JSON.parse(stdout);
    assert.equal(story.artifacts[0].artifact_id, web);
    assert.equal(story.containers[0].seen.image_id, `sha256:${web}`);
    assert.deepEqual(
      story.commits.map(({ commit }: { commit: string }) => commit),
      ['m1'],
    );
    assert.deepEqual(
      story.steps.map(({ kind }: { kind: string }) => kind),
      [
        ...['desired.adopted', 'observed', 'drift.opened', 'order.issued', 'order.result'],
        ...['artifact.registered', 'artifact.scored', 'enforcement.requested', 'enforcement.result'],
      ],
    );
  });

  test('that nobody has registered has nothing done about it', async () => {
    const headers = { Authorization: `Bearer ${under.token}`, 'Content-Type': 'application/json' };
    const body = JSON.stringify({ artifact_id: hashOf('nobody'), action: 'pin_arweave', target: 'x' });
    const answer = await fetch(`${under.collector.url}/enforce`, { method: 'POST', headers, body });
    assert.equal(answer.status, 404);
  });

  test('has a threshold that can be answered, or the collector does not start', async () => {
    const thresholds = JSON.stringify([{ below: 0.5, action: 'webhook_alert', target: 'https://ops.example/' }]);
    const without = startTestCollector(await postgres.emptyDatabase(), {
      SIGILWATCH_ARTIFACTS_SCORING_THRESHOLDS: thresholds,
    });
    await assert.rejects(without, { code: 'validation.config', message: /thresholds\[0\].*jobs\.webhook\.secret/ });
  });
});

test('the same wish asked for by two collectors at once, and again, is one enforcement', async () => {
  const { url } = await postgres.writerDatabase();
  const db = postgres.pool(url);
  const works = [];
  for (let count = 0; count < 2; count++) {
    works.push(await workWorld(db, await startLedger(postgresLedgerStore(db))));
  }
  const wish = { ...wishFor('https://receiver.example/'), key: hashOf('crossing') };
  const answers = await Promise.all(
    [...works, ...works, ...works].map(({ working }) => requestEnforcement(working.requests, wish)),
  );
  for (const answer of answers) assert.deepEqual(answer, { enforcementId: wish.key, status: 'pending' });
  const [first] = works;
  assert.ok(first);
  assert.equal((await requestEnforcement(first.working.requests, wish)).enforcementId, wish.key);
  const { rows } = await db.query(
    'select (select count(*) from enforcements) as asked, (select count(*) from pgboss.job) as jobs',
  );
  assert.deepEqual(rows, [{ asked: 1, jobs: 1 }]);
  for (const { working } of works) await working.close();
});
