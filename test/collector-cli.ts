import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { runCli } from '../collector/cli.ts';

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line of the collector, run in this process. Nothing asks it to stop, and it must not read a settings file. */
export async function collectorCli(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Said> {
  const [stdout, stderr] = [new Sink(), new Sink()];
  const readFile = (path: string) => assert.fail(`the settings file ${path} is read`);
  const code = await runCli({ argv, env, stdout, stderr, readFile, stopRequested: new Promise(() => {}) });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

class Sink extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}
