import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Level } from 'level';
import { systemClock } from '../../agent/clock.ts';
import { type AgentSettings, agentSettings } from '../../agent/config.ts';
import { identityPaths, makeKeys } from '../../agent/identity.ts';
import { systemdNotifier } from '../../agent/notify.ts';
import { Shelf } from '../../agent/sigils/kept/shelf.ts';
import { type RunningAgent, startAgent } from '../../agent/start.ts';
import { loadSettings } from '../../common/settings.ts';
import { version } from '../../common/version.ts';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { tempFolder } from './watching.ts';

const temp = tempFolder();
let engine: FakeEngine;
let settings: AgentSettings;
let running: RunningAgent[] = [];

beforeEach(async () => {
  engine = await startFakeEngine(join(temp, 'engine.sock'));
  const dataDir = mkdtempSync(join(temp, 'data-'));
  const yamlText = `dataDir: ${dataDir}\ndocker: {socketPath: ${engine.socketPath}}\nhttp: {port: 0}\n`;
  settings = loadSettings({ schema: agentSettings, env: {}, yamlPath: 'test', yamlText, readFile: () => '' }).values;
});
afterEach(async () => {
  for (const agent of running) await agent.stop();
  running = [];
  await engine.stop();
});

async function enrolled(): Promise<void> {
  const paths = identityPaths(settings.dataDir);
  await makeKeys(paths.key);
  const { origin, vkey } = memoryLedger();
  const pinned = { node: 'node1', url: 'http://127.0.0.1:9', origin, vkey };
  writeFileSync(paths.enrolment, JSON.stringify(pinned), { mode: 0o600 });
}

async function start(): Promise<RunningAgent> {
  const agent = await startAgent(settings, {
    clock: systemClock,
    random: Math.random,
    logger: quietLogger,
    notifier: systemdNotifier({}, quietLogger),
  });
  running.push(agent);
  return agent;
}

async function takenPort(): Promise<{ port: number; free: () => void }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { port: address.port, free: () => server.close() };
}

describe('starting', () => {
  test('a node that is not enrolled is told how to', async () => {
    await assert.rejects(start(), { code: 'auth.required' });
  });

  test('a taken port is a conflict that leaves nothing open: the next start succeeds', async () => {
    await enrolled();
    const { port, free } = await takenPort();
    const { http } = settings;
    settings = { ...settings, http: { ...http, port } };
    await assert.rejects(start(), { code: 'state.conflict' });
    free();
    settings = { ...settings, http };
    await start();
  });

  test('a second agent on the same data is refused, and the first goes on', async () => {
    await enrolled();
    const first = await start();
    await assert.rejects(start(), { code: 'state.conflict' });
    await until('the engine is seen', () => first.status().engine === 'up');
  });
});

describe('a data directory that another version has written', () => {
  test('is taken over from an earlier one, and refused when it was a later one, untouched', async () => {
    await enrolled();
    const record = join(settings.dataDir, 'version');
    writeFileSync(record, '0.0.1\n');
    const agent = await start();
    assert.equal(readFileSync(record, 'utf8'), `${version}\n`);
    await agent.stop();
    running = [];
    rmSync(join(settings.dataDir, 'outbox'), { recursive: true });
    writeFileSync(record, '99.0.0\n');
    await assert.rejects(start(), { code: 'state.conflict', message: /written by version 99\.0\.0/ });
    assert.deepEqual([readFileSync(record, 'utf8'), existsSync(join(settings.dataDir, 'outbox'))], ['99.0.0\n', false]);
  });
});

describe('the local server', () => {
  test('says how the agent is, and 503 when it is not well', async () => {
    await enrolled();
    const agent = await start();
    await until('it is ok', () => agent.status().status === 'ok');
    const ok = await fetch(`${agent.url}/healthz`);
    assert.equal(ok.status, 200);
    assert.deepEqual(Object.keys(Object(await ok.json())).sort(), Object.keys(agent.status()).sort());
    await engine.down();
    await until('it is degraded', () => agent.status().status === 'degraded');
    assert.equal((await fetch(`${agent.url}/healthz`)).status, 503);
  });

  test('keeps a snapshot of a clean store, and none where none is wanted', async () => {
    await enrolled();
    const path = join(settings.dataDir, 'store');
    const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret: 'hush' });
    await db.put(key, value);
    settings = { ...settings, sigils: { ...settings.sigils, stores: { main: path }, secrets: ['hush'] } };
    const { integrity } = settings;
    for (const [by, kept] of [
      ['off', 0],
      ['links', 1],
    ] as const) {
      settings = { ...settings, integrity: { ...integrity, snapshots: { ...integrity.snapshots, by } } };
      const agent = await start();
      await until('it was looked at', () => agent.status().checks.length === 1);
      await agent.stop();
      running = [];
      assert.equal((await new Shelf(settings.dataDir, 'main').list()).length, kept, by);
      rmSync(join(settings.dataDir, 'outbox'), { recursive: true });
    }
    await db.close();
  });

  test('serves what the last full check of each store came to', async () => {
    await enrolled();
    const path = join(settings.dataDir, 'store');
    const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret: 'hush' });
    await db.put(key, value);
    const stores = { good: path, gone: join(settings.dataDir, 'none') };
    settings = { ...settings, sigils: { ...settings.sigils, stores, secrets: ['hush'] } };
    const agent = await start();
    await until('both were looked at', () => agent.status().checks.length === 2);
    await db.close();
    const text = await (await fetch(`${agent.url}/metrics`)).text();
    for (const line of [
      ...['last_status{store="good"} 1', 'checked_records{store="good"} 1', 'failed_records{store="good"} 0'],
      ...['last_status{store="gone"} 0', 'checked_records{store="gone"} 0'],
    ]) {
      assert.ok(text.includes(`\nsigil_integrity_${line}\n`), line);
    }
    assert.match(text, /^sigil_integrity_last_duration_seconds\{store="good"\} \d/m);
    assert.match(text, /^sigil_integrity_last_success_timestamp_seconds\{store="good"\} 1\d{9}/m);
    assert.doesNotMatch(text, /last_success_timestamp_seconds\{store="gone"\}/);
  });

  test('serves metrics, and nothing else', async () => {
    await enrolled();
    const agent = await start();
    await until('it is ok', () => agent.status().status === 'ok');
    const text = await (await fetch(`${agent.url}/metrics`)).text();
    for (const line of ['engine_up 1', 'link_up 0', 'witness_fork 0', 'containers 0', 'drifts_open 0']) {
      assert.match(text, new RegExp(`^sigilwatch_agent_${line}$`, 'm'));
    }
    assert.match(text, /^sigilwatch_agent_outbox_entries [1-9]/m);
    assert.match(text, /^process_cpu_seconds_total /m);
    assert.equal((await fetch(`${agent.url}/`)).status, 404);
    assert.equal((await fetch(`${agent.url}/healthz`, { method: 'POST' })).status, 405);
  });
});
