import { type Clock, rfc3339 } from './clock.ts';
import { isPlainObject } from './settings/schema.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Facts beside an event. The names of the line itself are taken. */
export type LogFields = Readonly<Record<string, unknown>> & {
  readonly level?: never;
  readonly time?: never;
  readonly program?: never;
  readonly event?: never;
};

/** Says what happened, as one line per event. `event` is a dotted name (`link.connected`); facts go into `fields`. */
export type LogEvent = (event: string, fields?: LogFields) => void;

/** The port for logging. Calls never throw and never wait; secrets in fields are masked by their names. */
export type Logger = { readonly [Level in LogLevel]: LogEvent };

/** What the port needs of a pino logger. */
type LineWriter = { [Level in LogLevel]: (fields: object, event: string) => void };

/** Options for pino: `{"level":"info","time":"<RFC 3339>","program":...,"event":...,<fields>}`, secrets masked. */
export function logOptions(program: string, level: LogLevel, clock: Clock) {
  return {
    level,
    base: { program },
    messageKey: 'event',
    timestamp: () => `,"time":"${rfc3339(clock.now())}"`,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: object) => printableFields(fields),
    },
  };
}

/** Options for pino-pretty, for a person at a terminal. */
export const prettyLogOptions = { messageKey: 'event', ignore: 'program', translateTime: 'SYS:HH:MM:ss.l', sync: true };

/** The {@link Logger} port over a pino logger made with {@link logOptions}. */
export function loggerOver(writer: LineWriter): Logger {
  return {
    debug: (event, fields = {}) => writer.debug(fields, event),
    info: (event, fields = {}) => writer.info(fields, event),
    warn: (event, fields = {}) => writer.warn(fields, event),
    error: (event, fields = {}) => writer.error(fields, event),
  };
}

const mask = '********';
const secretName = /pass(word|phrase)?$|secret|token|authorization|cookie|private_?key|credential|seed$/i;
const urlCredentials = /(\b[a-z][a-z0-9+.-]*:\/\/)[^/\s@]*@/gi;
/** Deeper members are cut: a log line is no place for a whole structure. */
const maxDepth = 6;

function printableFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, printableMember(name, value, 0)]));
}

function printableMember(name: string, value: unknown, depth: number): unknown {
  const isText = typeof value === 'string' || value instanceof Uint8Array;
  return isText && secretName.test(name) ? mask : printable(value, depth);
}

function printable(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.replace(urlCredentials, `$1${mask}@`);
  if (typeof value === 'bigint') return value.toString();
  if (depth >= maxDepth) return typeof value === 'object' && value !== null ? '...' : value;
  if (value instanceof Error) return printableError(value, depth);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map((item) => printable(item, depth + 1));
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, printableMember(name, item, depth + 1)]),
  );
}

/** Errors have no enumerable members, so they are spelled out: code, message, stack, cause. */
function printableError(error: Error, depth: number): Record<string, unknown> {
  return {
    name: error.name,
    ...('code' in error ? { code: error.code } : {}),
    message: printable(error.message, depth),
    ...(error.stack === undefined ? {} : { stack: printable(error.stack, depth) }),
    ...(error.cause === undefined ? {} : { cause: printable(error.cause, depth + 1) }),
  };
}
