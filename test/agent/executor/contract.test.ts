import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { startExecutor } from '../../../agent/executor/executor.ts';
import { engineContract, type TestEngine } from '../../contract/engine.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';
import { makeKeys, node } from './scene.ts';

const dir = mkdtempSync(join(tmpdir(), 'sgw-'));
after(() => rmSync(dir, { recursive: true, force: true }));

/** The engine as the agent sees it through an executor; whoever stages what happens has the engine's own socket. */
async function behindExecutor(engine: TestEngine): Promise<TestEngine> {
  const socketPath = `${engine.socketPath}.x`;
  const trust = { node, collectorKeys: [makeKeys().collector.publicKey], nodeKey: undefined };
  const settings = { socketPath, enginePath: engine.socketPath, groupId: undefined, trust };
  const executor = await startExecutor(settings, { now: () => Date.now(), log: () => {} });
  return {
    ...engine,
    socketPath,
    stop: async () => {
      await executor.stop();
      await engine.stop();
    },
  };
}

engineContract('simulated, behind an executor', async () => behindExecutor(await startFakeEngine(join(dir, 'f.sock'))));

const available = engineAvailable();
engineContract(
  'dockerd, behind an executor',
  async () => behindExecutor(await startEngine({ name: 'real', dir })),
  available.ok ? undefined : available.reason,
);
