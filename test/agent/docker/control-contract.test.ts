import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { engineControlContract } from '../../contract/engine-control.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
after(() => rmSync(dir, { recursive: true, force: true }));

engineControlContract('simulated', () => startFakeEngine(path.join(dir, 'fake.sock')));

const available = engineAvailable();
engineControlContract('dockerd', () => startEngine({ name: 'real', dir }), available.ok ? undefined : available.reason);
