import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Level } from 'level';
import { integrityReport } from '../../../common/integrity-report.ts';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import { agentProgram } from '../program.ts';
import { tempFolder } from '../watching.ts';

const skip = process.platform === 'linux' && process.geteuid?.() === 0 ? false : 'becoming another user takes root';

/** The agent's user; nobody has it here. */
const owner = 4711;

describe("files that root names, on a node whose data belong to the agent's user", { skip }, () => {
  const temp = tempFolder();
  const [dataDir, ofRoot, store] = [join(temp, 'data'), join(temp, 'of-root'), join(temp, 'store')];
  const config = join(temp, 'agent.yaml');
  const integrity = (...args: string[]) => agentProgram(['--config', config, 'integrity', ...args]);

  before(async () => {
    chmodSync(temp, 0o755);
    for (const path of [dataDir, ofRoot]) mkdirSync(path, { mode: 0o700 });
    const db = new Level<string, unknown>(store, { valueEncoding: 'json' });
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret: 'hush' });
    await db.put(key, value);
    await db.close();
    for (const path of [dataDir, store, ...readdirSync(store).map((name) => join(store, name))]) {
      chownSync(path, owner, owner);
    }
    writeFileSync(config, `dataDir: ${dataDir}\nsigils: {stores: {main: ${store}}, secrets: [hush]}\n`);
  });

  test("come to lie in root's own folder, and what is archived is the agent's", async () => {
    const [html, json] = [join(ofRoot, 'run.html'), join(ofRoot, 'run.json')];
    const run = await integrity('run', '--node', 'lyra', '--html', html, '--report', json);
    assert.deepEqual([run.code, run.stderr], [0, '']);
    const { id } = integrityReport.parse(JSON.parse(readFileSync(json, 'utf8')));
    const shown = await integrity('show', id, '--html', join(ofRoot, 'shown.html'));
    assert.deepEqual([shown.code, shown.stderr], [0, '']);
    assert.deepEqual(readFileSync(join(ofRoot, 'shown.html')), readFileSync(html));
    for (const name of readdirSync(ofRoot)) assert.equal(lstatSync(join(ofRoot, name)).uid, 0, name);
    for (const name of readdirSync(dataDir, { recursive: true, encoding: 'utf8' })) {
      assert.equal(lstatSync(join(dataDir, name)).uid, owner, name);
    }
  });

  test("are not written by root where the agent's user could have led it", async () => {
    const id = readdirSync(join(dataDir, 'reports')).find((name) => name.endsWith('.json')) ?? '';
    symlinkSync(ofRoot, join(dataDir, 'led'));
    const led = join(dataDir, 'led', 'led.html');
    const { code, stderr } = await integrity('show', id.replace('.json', ''), '--html', led);
    assert.equal(code, 4);
    assert.match(
      stderr,
      /cannot write .*led\.html: EACCES; this acts as user 4711, who has to be allowed to write there/,
    );
    assert.ok(!readdirSync(ofRoot).includes('led.html'));
    const own = join(dataDir, 'own.html');
    assert.equal((await integrity('show', id.replace('.json', ''), '--html', own)).code, 0);
    assert.equal(lstatSync(own).uid, owner);
  });
});
