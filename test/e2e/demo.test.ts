import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, type TestContext, test } from 'node:test';
import { jsonLine, projectRoot } from '../system.ts';
import { until } from '../until.ts';

type Line = Readonly<Record<string, unknown>>;

const stepNames = ['up', 'drift', 'order', 'flipped_byte', 'wrong_checksum', 'cut_off', 'verify', 'proof'];
const deadlineMs = 300_000;

/** A demo under way, in a temporary folder of its own by which all it makes and starts can be told. */
interface Demo {
  readonly process: ChildProcess;
  readonly lines: readonly Line[];
  /** Exit code, or the signal, once it has ended. */
  readonly ended: Promise<number | string>;
  line(step: string): Promise<Line>;
  assertNothingLeft(): Promise<void>;
}

function startDemo(t: TestContext, ...args: readonly string[]): Demo {
  const folder = mkdtempSync(join(tmpdir(), 'sgd-'));
  chmodSync(folder, 0o711);
  const child = spawn(join(projectRoot, 'scripts/demo'), ['--json', ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  });
  const lines: Line[] = [];
  const output: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    output.push(line);
    lines.push(jsonLine(line) ?? {});
  });
  createInterface({ input: child.stderr }).on('line', (line) => output.push(line));
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  const line = async (step: string): Promise<Line> => {
    const found = () => lines.find((candidate) => candidate.step === step);
    let over = false;
    void ended.then(() => {
      over = true;
    });
    await until(`the demo tells "${step}"`, () => over || found() !== undefined, deadlineMs);
    return found() ?? assert.fail(`the demo ended without telling "${step}":\n${output.join('\n')}`);
  };
  return { process: child, lines, ended, line, assertNothingLeft: () => assertNothingLeft(folder, lines) };
}

/** No process started by it, no mount, no folder, nobody at the collector's port. */
async function assertNothingLeft(folder: string, lines: readonly Line[]): Promise<void> {
  await until(`processes of the demo in ${folder} are gone`, () => processesOf(folder).length === 0);
  assert.deepEqual(
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((mount) => mount.includes(folder)),
    [],
  );
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('sgw-')),
    [],
  );
  const url = lines.find(({ step }) => step === 'up')?.collector_url;
  if (typeof url === 'string') await assert.rejects(fetch(`${url}/health`));
}

/** Every process inherits where temporary files go, so this finds them all. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && environmentOf(pid).includes(`TMPDIR=${folder}\0`));
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}

function assertAllObserved(demo: Demo): void {
  const [engine, ...rest] = demo.lines;
  assert.equal(engine?.step, 'engine');
  const steps = rest.slice(0, -1);
  assert.deepEqual(
    steps.map(({ step, observed }) => [step, observed]),
    stepNames.map((name) => [name, true]),
    JSON.stringify(demo.lines, null, 2),
  );
  for (const { seen_after_ms } of steps) assert.ok(typeof seen_after_ms === 'number' && seen_after_ms >= 0);
  assert.equal(demo.lines.at(-1)?.observed, true);
}

describe('the demo', { skip: process.platform === 'linux' ? false : 'looks for processes in /proc' }, () => {
  test('observes every step on the engine that is there, ends by itself and leaves nothing behind', async (t) => {
    const demo = startDemo(t, '--once');
    const code = await demo.ended;
    assertAllObserved(demo);
    assert.equal(code, 0);
    await demo.assertNothingLeft();
  });

  test('observes every step on a simulated engine, stays up, can be asked with its token, and ends after Ctrl-C', async (t) => {
    const demo = startDemo(t, '--engine', 'simulated');
    await demo.line('verify');
    await until('the demo tells how to reach it', () => demo.lines.at(-1)?.api_url !== undefined);
    const { api_url, token } = demo.lines.at(-1) ?? {};
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${api_url}/api/v1/nodes`, { headers });
    assert.equal(answer.status, 200);
    demo.process.kill('SIGINT');
    assert.equal(await demo.ended, 0);
    assertAllObserved(demo);
    await demo.assertNothingLeft();
  });

  test('leaves nothing behind when it is told to stop in the middle', async (t) => {
    const demo = startDemo(t);
    await demo.line('up');
    demo.process.kill('SIGTERM');
    assert.equal(await demo.ended, 143);
    await demo.assertNothingLeft();
  });
});
