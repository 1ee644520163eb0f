import type { WriteStream } from 'node:tty';

/** What a person sees while the demo runs. */
export interface Screen {
  line(text?: string): void;
  /** Begins a step. */
  heading(text: string): void;
  /** What is done to the system. */
  cause(text: string): void;
  /** What was seen, and how long after its cause. */
  seen(what: string, afterMs: number, detail: string): void;
  detail(text: string): void;
  failed(text: string): void;
  /** `work`, with a line that counts the seconds while a terminal watches. */
  during<T>(what: string, work: Promise<T>): Promise<T>;
}

type Output = Pick<WriteStream, 'write'> & { readonly isTTY?: boolean; readonly columns?: number };

const whatChars = 34;
const refreshMs = 100;
const clearLine = '\r\u001b[K';

/** Colour and the counting line are for terminals; colour not where `NO_COLOR` is set (https://no-color.org). */
export function terminalScreen(out: Output, env: NodeJS.ProcessEnv): Screen {
  const isTerminal = out.isTTY === true && env.TERM !== 'dumb';
  const paint = painter(isTerminal && (env.NO_COLOR ?? '') === '');
  const clear = isTerminal ? clearLine : '';
  const print = (text: string) => void out.write(`${clear}${text}\n`);
  return {
    line: (text = '') => print(text),
    heading: (text) => print(`\n${paint.bold(text)}`),
    cause: (text) => print(`  ${paint.dim('·')} ${text}`),
    seen: (what, afterMs, detail) => {
      const time = `seen after ${String(afterMs).padStart(5)} ms`;
      print(`  ${paint.green('✓')} ${what.padEnd(whatChars)}  ${paint.bold(time)}  ${detail}`.trimEnd());
    },
    detail: (text) => print(`    ${paint.dim(text)}`),
    failed: (text) => print(`  ${paint.red('✗')} ${text}`),
    during: (what, work) => (isTerminal ? countSeconds(out, paint.dim, what, work) : work),
  };
}

/** For machines: nothing but what the JSON lines say. */
export const noScreen: Screen = {
  line: () => {},
  heading: () => {},
  cause: () => {},
  seen: () => {},
  detail: () => {},
  failed: () => {},
  during: (_, work) => work,
};

type Paint = (text: string) => string;

function painter(colours: boolean): Readonly<Record<'bold' | 'dim' | 'green' | 'red', Paint>> {
  const paint = (on: number, off: number): Paint =>
    colours ? (text) => `\u001b[${on}m${text}\u001b[${off}m` : (text) => text;
  return { bold: paint(1, 22), dim: paint(2, 22), green: paint(32, 39), red: paint(31, 39) };
}

async function countSeconds<T>(out: Output, paint: Paint, what: string, work: Promise<T>): Promise<T> {
  const startedMs = performance.now();
  const show = () => {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    // A terminal without a size calls itself 0 columns wide.
    const room = (out.columns || 80) - seconds.length - 9;
    out.write(`${clearLine}    ${paint(`${what.slice(0, room)} … ${seconds} s`)}`);
  };
  const timer = setInterval(show, refreshMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    out.write(clearLine);
  }
}
