import type { Command } from 'commander';
import { integrityStatuses } from '../../common/integrity-report.ts';
import type { IntegrityReportsOptions } from '../commands/integrity-reports.ts';
import type { ReportFiles } from '../commands/integrity-show.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about complete checks. */
export function addIntegrity(integrity: Command, perform: Perform): void {
  integrity
    .command('run')
    .description(
      'check the ledger and its projections completely, now; exit code 1 for findings, 2 when something could not be checked',
    )
    .option('--html <file>', 'also write the report as a page')
    .option('--report <file>', 'also write the report as JSON')
    .action((options: ReportFiles) =>
      perform(async (context) => (await import('../commands/integrity-run.ts')).integrityRun(context, options)),
    );
  paged(integrity.command('reports'))
    .description('reports of the nodes and of the collector, newest first')
    .option('--node <node>', 'only of this one; "collector" for those of the ledger')
    .addOption(oneOf('--status <status>', 'only those that came to this', integrityStatuses))
    .action((options: IntegrityReportsOptions) =>
      perform(async (context) => (await import('../commands/integrity-reports.ts')).integrityReports(context, options)),
    );
  integrity
    .command('show <report>')
    .description('one report, by the index of its entry in "integrity reports", or one of the ledger by its name')
    .option('--html <file>', 'also write it as a page')
    .option('--report <file>', 'also write it as JSON')
    .action((report: string, options: ReportFiles) =>
      perform(async (context) =>
        (await import('../commands/integrity-show.ts')).integrityShow(context, report, options),
      ),
    );
}
