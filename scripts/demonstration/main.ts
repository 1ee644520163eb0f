/** `./scripts/demo`: the whole system on this machine, live. Ends with 0 only if every step was really observed. */
import { constants } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTemporaryFolder, removeLeftovers } from '../../test/system.ts';
import { type Engines, type EngineWish, engineWishes, openEngines } from './engines.ts';
import { type Fleet, images, nodes, scanIntervalMs } from './fleet.ts';
import { messageOf, NotObserved } from './observe.ts';
import { noScreen, type Screen, terminalScreen } from './screen.ts';
import { cutOff } from './steps/cut-off.ts';
import { drift } from './steps/drift.ts';
import { order } from './steps/order.ts';
import { proof } from './steps/proof.ts';
import { flippedByte, wrongChecksum } from './steps/sigils.ts';
import type { Facts } from './steps/step.ts';
import { bringUp, upTitle } from './steps/up.ts';
import { verify } from './steps/verify.ts';
import { tellHowToUse } from './usage.ts';

const usage = `usage: ./scripts/demo [--once] [--json] [--engine ${engineWishes.join('|')}]

  --once    ends by itself; exit code 0 only if every step was really observed
  --json    one JSON object per step, and one about everything as the last line
  --engine  which container engine: an own one for each node, a shared one, a simulated one (default: the best there is)
`;
const steps = [drift, order, flippedByte, wrongChecksum, cutOff, verify, proof];
const stepCount = steps.length + 1;

interface Options {
  readonly once: boolean;
  readonly json: boolean;
  readonly engine: EngineWish;
}

/** Where results go: lines for people, or lines of JSON. */
interface Output {
  readonly screen: Screen;
  readonly record: (object: Readonly<Record<string, unknown>>) => void;
}

interface Outcome {
  readonly observed: boolean;
  readonly fleet: Fleet | undefined;
}

/** Undefined for `--help`. @throws for anything else that is not an option. */
function readOptions(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      engine: { type: 'string', default: 'auto' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const engine = engineWishes.find((wish) => wish === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine}: there is no such choice`);
  return { once: values.once, json: values.json, engine };
}

function outputOf({ json }: Options): Output {
  if (!json) return { screen: terminalScreen(process.stdout, process.env), record: () => {} };
  return { screen: noScreen, record: (object) => void process.stdout.write(`${JSON.stringify(object)}\n`) };
}

/** Runs all steps, up to the first that is not observed. What fails because the demo is `ending` is not told. */
async function show(options: Options, output: Output, ending: AbortSignal): Promise<Outcome> {
  const { screen, record } = output;
  const startedMs = performance.now();
  const { path: dir } = makeTemporaryFolder('sgw-demo-');
  const engines = await openAndTell(options, output, join(dir, 'engines'));
  let observed = 0;
  const step = async <T>(name: string, title: string, run: () => Promise<{ facts: Facts; value: T }>) => {
    screen.heading(`${observed + 1}  ${title}`);
    const { facts, value } = await run();
    observed += 1;
    record({ step: name, observed: true, ...facts });
    return value;
  };
  let current = { name: 'up', title: upTitle };
  let fleet: Fleet | undefined;
  try {
    const up = await step('up', upTitle, async () => {
      const { fleet: value, facts } = await bringUp({ dir, engines }, screen);
      return { facts, value };
    });
    fleet = up;
    for (const { name, title, run } of steps) {
      current = { name, title };
      await step(name, title, async () => ({ facts: await run(up, screen), value: undefined }));
    }
  } catch (error) {
    if (ending.aborted) return { observed: false, fleet };
    tellFailure(current.name, error, output);
  }
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  tellSummary({ observed, seconds, fleet, engines }, options, output);
  return { observed: observed === stepCount, fleet };
}

async function openAndTell({ engine }: Options, { screen, record }: Output, dir: string): Promise<Engines> {
  const needs = { dir, nodes, images: Object.values(images) };
  const engines = await screen.during('starting the container engine', openEngines(engine, needs));
  screen.line(`Engine: ${engines.about}.`);
  screen.line(
    `Scans every ${scanIntervalMs / 1000} s instead of every 60 s, to keep this short; all else is as shipped.`,
  );
  record({ step: 'engine', engine: engines.kind, about: engines.about, scan_interval_ms: scanIntervalMs });
  return engines;
}

function tellFailure(step: string, error: unknown, { screen, record }: Output): void {
  if (error instanceof NotObserved) {
    const { expected, evidence } = error;
    screen.failed(`not observed: ${expected}`);
    screen.line(`    last evidence: ${JSON.stringify(evidence, null, 2)?.replaceAll('\n', '\n    ')}`);
    record({ step, observed: false, expected, evidence });
  } else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    screen.failed(text.replaceAll('\n', '\n    '));
    record({ step, observed: false, error: text });
  }
}

interface Summary {
  readonly observed: number;
  readonly seconds: number;
  readonly fleet: Fleet | undefined;
  readonly engines: Engines;
}

function tellSummary({ observed, seconds, fleet, engines }: Summary, { once }: Options, output: Output): void {
  const { screen, record } = output;
  const all = observed === stepCount;
  screen.line();
  screen.line(`${observed} of ${stepCount} steps observed in ${seconds} s.`);
  const staysUp = all && !once && fleet !== undefined;
  const access = staysUp ? { api_url: fleet.collector.url, token: fleet.collector.token } : {};
  record({ observed: all, steps_observed: observed, steps: stepCount, seconds, engine: engines.kind, ...access });
  if (staysUp) tellHowToUse(fleet, engines, screen);
}

type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** The first signal ends the demo in order; a second one at once. So does nobody reading what it says. */
function interruption(): { readonly interrupted: Promise<Signal>; readonly ending: AbortSignal } {
  const controller = new AbortController();
  const interrupted = new Promise<Signal>((resolve) => {
    const interrupt = (signal: Signal) => {
      if (controller.signal.aborted) process.exit(exitCodeOf(signal));
      controller.abort();
      resolve(signal);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt(signal));
    process.stdout.on('error', () => {
      controller.abort();
      resolve('SIGHUP');
    });
  });
  return { interrupted, ending: controller.signal };
}

function exitCodeOf(signal: Signal): number {
  return 128 + constants.signals[signal];
}

async function run(options: Options): Promise<number> {
  const output = outputOf(options);
  const { interrupted, ending } = interruption();
  const ended = await Promise.race([show(options, output, ending), interrupted]);
  // Ctrl-C is how a demo that stays up is meant to end.
  if (typeof ended !== 'string' && ended.observed && !options.once) await interrupted;
  output.screen.line();
  await output.screen.during('stopping everything', removeLeftovers());
  output.screen.line('Stopped; nothing is left behind.');
  if (typeof ended === 'string') return exitCodeOf(ended);
  return ended.observed ? 0 : 1;
}

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${usage}`);
    return 2;
  }
  if (options !== undefined) return run(options);
  process.stdout.write(usage);
  return 0;
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  await removeLeftovers().catch((left: unknown) => process.stderr.write(`${messageOf(left)}\n`));
  process.exit(1);
}
