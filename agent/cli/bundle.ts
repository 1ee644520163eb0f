import type { Command } from 'commander';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { Logger } from '../../common/log.ts';
import type { CliContext, Perform } from '../commands/context.ts';

interface ExportFlags {
  readonly to: string;
  readonly maxPartBytes?: string;
}

/** The commands about bundles that are carried by hand. */
export function addBundle(bundle: Command, context: CliContext, perform: Perform): void {
  bundle
    .command('export')
    .description(
      'write what waits for the collector to a folder, as a stick; run again after an interruption, it goes on',
    )
    .requiredOption('--to <dir>', 'folder that gets a folder with the bundle')
    .option('--max-part-bytes <bytes>', 'size of one file, 65536 or more (default: 67108864)')
    .action(({ to, maxPartBytes }: ExportFlags) =>
      perform(async (settings, show) => {
        const { bundleExport, formatExported } = await import('../commands/bundle-export.ts');
        const onProgress = progressLine(context, { unit: 'entries', goOn: 'with the same folder, and it goes on' });
        const request = { to, maxPartBytes, onProgress, logger: stderrLogger(context) };
        show(await bundleExport(settings, request), formatExported);
        return exitCodes.done;
      }),
    );
  bundle
    .command('import <dir>')
    .description('take in what the collector answered: receipts, checkpoint, commit, measures, orders, images')
    .action((dir: string) =>
      perform(async (settings, show) => {
        const { bundleImport, formatImported } = await import('../commands/bundle-import.ts');
        const onProgress = progressLine(context, { unit: 'bytes', goOn: 'for all of it' });
        show(await bundleImport(settings, { dir, onProgress, logger: stderrLogger(context) }), formatImported);
        return exitCodes.done;
      }),
    );
}

/** A terminal is told no more often than this. */
const redrawMs = 100;

/**
 * One line that redraws itself on a terminal, and is gone at the end. Until then a signal stops what is going on where nothing is left half
 * done, by an error.
 */
function progressLine(
  { terminal, stderr, onStop }: CliContext,
  { unit, goOn }: { readonly unit: string; readonly goOn: string },
): (done: number, of: number) => void {
  let drawnMs = Number.NEGATIVE_INFINITY;
  let stopped: string | undefined;
  const ignore = onStop?.((signal) => {
    stopped = signal;
  });
  return (done, of) => {
    if (stopped !== undefined) throw new AppError('state.conflict', `stopped by ${stopped}: run it again ${goOn}`);
    if (done >= of) ignore?.();
    const nowMs = performance.now();
    if (!terminal) return;
    if (done >= of) return stderr('\r\u001b[K');
    if (nowMs - drawnMs < redrawMs) return;
    drawnMs = nowMs;
    stderr(`\r\u001b[K${Math.floor((100 * done) / of)} %: ${done} of ${of} ${unit}`);
  };
}

/** Standard output is the result: trouble alone is said, to whoever watches. */
function stderrLogger({ stderr }: CliContext): Logger {
  const silent = (): void => {};
  const say = (event: string): void => stderr(`${event}\n`);
  return { debug: silent, info: silent, warn: say, error: say };
}
