import { isAbsolute, relative, resolve } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';
import { endOfReport } from './whole-report.ts';

const isLong = process.env.SIGILWATCH_TEST_LONG === '1';

/**
 * The report of one stage for `scripts/test`. Quiet about what passes; tells each failure with its error, the output
 * of files that failed, each skip with its reason, and as its last line `counts <passed> <failed> <skipped>`. Only
 * leaves count: a suite, or a test that only holds others, is no test of its own. Campaigns with their full counts also have
 * told what they came to.
 * A file whose report did not arrive whole has failed: what is missing may be a failure, or a skip.
 * @param sourceOf the source of a file that was run, by full path.
 * @param files those that are run.
 */
export async function* report(
  events: AsyncIterable<TestEvent>,
  sourceOf: (file: string) => string,
  files: readonly string[],
): AsyncGenerator<string> {
  const records = new Map<string, FileRecord>();
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  for await (const event of events) {
    const record = recordOf(records, event, sourceOf);
    if (record === undefined) continue;
    const lines = take(event, record, totals);
    if (lines !== undefined) yield lines;
    showProgress(totals);
  }
  clearProgress();
  for (const file of files) {
    const key = sourceOf(resolve(file));
    const record = records.get(key) ?? newRecord(key);
    if (!isWhole(record) && !record.failed)
      yield fail(record, totals, record.source, 'its report did not arrive whole');
    const output = record.output.join('').replaceAll(endOfReport, '');
    if (record.failed && output.length > 0) yield `output of ${record.source}:\n${indented(output)}\n`;
  }
  yield `counts ${totals.passed} ${totals.failed} ${totals.skipped}\n`;
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

interface FileRecord {
  /** Path below the working folder. */
  readonly source: string;
  /** Names of the tests being reported, outermost first. */
  names: string[];
  /** Nesting of the last result; deeper than the next one means that the next one was its parent. */
  lastNesting: number;
  failed: boolean;
  readonly output: string[];
}

type ResultEvent = Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>;

function recordOf(
  files: Map<string, FileRecord>,
  event: TestEvent,
  sourceOf: (file: string) => string,
): FileRecord | undefined {
  const file = event.data !== undefined && 'file' in event.data ? event.data.file : undefined;
  if (file === undefined) return undefined;
  // Some events name the file as it was given, others in full, and others its source.
  const key = sourceOf(resolve(file));
  const existing = files.get(key);
  if (existing !== undefined) return existing;
  const made = newRecord(key);
  files.set(key, made);
  return made;
}

function newRecord(path: string): FileRecord {
  return { source: relative(process.cwd(), path), names: [], lastNesting: 0, failed: false, output: [] };
}

/** What is written arrives in order: with the mark, all before it. */
function isWhole({ output }: FileRecord): boolean {
  return output.join('').includes(endOfReport);
}

function take(event: TestEvent, record: FileRecord, totals: Totals): string | undefined {
  switch (event.type) {
    case 'test:start':
      record.names = [...record.names.slice(0, event.data.nesting), event.data.name];
      return undefined;
    case 'test:stdout':
    case 'test:stderr':
      record.output.push(event.data.message);
      return undefined;
    case 'test:diagnostic':
      return isLong ? `${record.source}: ${event.data.message}\n` : undefined;
    case 'test:pass':
    case 'test:fail':
      return takeResult(event, record, totals);
    default:
      return undefined;
  }
}

function takeResult(event: ResultEvent, record: FileRecord, totals: Totals): string | undefined {
  const { nesting, name, skip, todo } = event.data;
  const isParent = record.lastNesting > nesting;
  record.lastNesting = nesting;
  const isFile = isFileItself(event);
  const names = isFile ? [] : [...record.names.slice(0, nesting), name];
  const title = [record.source, ...names].join(' > ');
  if (event.type === 'test:fail' && !(isParent && failedThroughChildren(event))) {
    return fail(record, totals, title, failureText(event));
  }
  const skipReason = skip ?? todo;
  if (skipReason !== undefined && skipReason !== false) {
    totals.skipped++;
    return `skipped ${title}: ${typeof skipReason === 'string' ? skipReason : 'no reason given'}\n`;
  }
  if (isParent || event.data.details.type === 'suite') return undefined;
  if (isFile) return fail(record, totals, title, 'the file holds no test');
  totals.passed++;
  return undefined;
}

function fail(record: FileRecord, totals: Totals, title: string, reason: string): string {
  record.failed = true;
  totals.failed++;
  return `FAILED ${title}\n${indented(reason)}\n`;
}

function failedThroughChildren(event: Extract<TestEvent, { type: 'test:fail' }>): boolean {
  const { error } = event.data.details;
  return 'failureType' in error && error.failureType === 'subtestsFailed';
}

/** The runner wraps what was thrown; the cause is what the test wants to say. */
function failureText(event: Extract<TestEvent, { type: 'test:fail' }>): string {
  const { error } = event.data.details;
  return error.cause instanceof Error ? inspect(error.cause) : String(error.cause ?? error.message);
}

/** A file that fails as a whole, or holds no test, is reported as one test, which bears its path for a name. */
function isFileItself({ data }: ResultEvent): boolean {
  return isAbsolute(data.name) && data.name.endsWith('.test.js');
}

function indented(text: string): string {
  return text.trimEnd().replace(/^/gm, '    ');
}

/** Results go to a file; a person at the terminal sees the count grow on stderr. */
function showProgress({ passed, failed, skipped }: Totals): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K  ${passed} passed, ${failed} failed, ${skipped} skipped`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}
