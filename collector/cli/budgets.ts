import type { Command } from 'commander';
import { budgetRequestStates } from '../../common/budget-words.ts';
import type { BudgetRequestOptions, BudgetRequestsOptions } from '../commands/budgets.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about what may be destroyed at all. */
export function addBudgets(program: Command, perform: Perform): void {
  const budgets = program.command('budgets').description('how much may be destroyed within an hour or a day');
  budgets
    .command('list')
    .description('every budget, and what is left of it')
    .action(() => perform(async (context) => (await import('../commands/budgets.ts')).budgetsList(context)));
  budgets
    .command('show <name>')
    .description('what is left of one')
    .action((name: string) =>
      perform(async (context) => (await import('../commands/budgets.ts')).budgetsShow(context, name)),
    );
  paged(budgets.command('requests'))
    .description('what was requested of budgets, newest first')
    .option('--budget <name>', 'only of this one')
    .addOption(oneOf('--state <state>', 'only in this state', budgetRequestStates))
    .action((options: BudgetRequestsOptions) =>
      perform(async (context) => (await import('../commands/budgets.ts')).budgetsRequests(context, options)),
    );
  budgets
    .command('request <name>')
    .description('reserve a part, before something is destroyed; given back after 15 minutes unless committed')
    .option('--amount <number>', 'how much', '1')
    .requiredOption('--reason <text>', 'why; goes on record')
    .action((name: string, options: BudgetRequestOptions) =>
      perform(async (context) => (await import('../commands/budgets.ts')).budgetsRequest(context, name, options)),
    );
  budgets
    .command('commit <id>')
    .description('say that what was reserved is used')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/budgets.ts')).budgetsCommit(context, id)),
    );
  budgets
    .command('release <id>')
    .description('give back what was reserved')
    .action((id: string) =>
      perform(async (context) => (await import('../commands/budgets.ts')).budgetsRelease(context, id)),
    );
}
