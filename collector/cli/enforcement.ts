import type { Command } from 'commander';
import { driftKinds } from '../../common/drift-kind.ts';
import { orderActions, orderStatuses } from '../../common/order.ts';
import { sigilChecks } from '../../common/sigil.ts';
import type { DriftsListOptions } from '../commands/drifts-list.ts';
import type { FindingsListOptions } from '../commands/findings-list.ts';
import type { ApproveOptions } from '../commands/orders-approve.ts';
import type { IssueOptions } from '../commands/orders-issue.ts';
import type { OrdersListOptions } from '../commands/orders-list.ts';
import type { SilenceOptions } from '../commands/silences.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about drifts and what is done about them. */
export function addEnforcement(program: Command, perform: Perform): void {
  addDrifts(program.command('drifts').description('differences between what should run and what does'), perform);
  addFindings(program.command('findings').description('failed checks of sigils and of their stores'), perform);
  const orders = program.command('orders').description('what nodes are told to do, and what became of it');
  addOrders(orders, perform);
  addIssue(orders, perform);
  addApprovals(orders, perform);
  addMeasures(program.command('enforcement').description('what decides about orders now'), perform);
  addSilences(program.command('silence').description('keep orders away from some drifts for a while'), perform);
}

function addDrifts(drifts: Command, perform: Perform): void {
  paged(drifts.command('list'))
    .description('drifts with both sides of each field, newest first')
    .option('--node <node>', 'only of this one')
    .addOption(oneOf('--kind <kind>', 'only of this kind', driftKinds))
    .option('--container <name>', 'only of containers of this name')
    .addOption(oneOf('--state <state>', 'which', ['open', 'resolved', 'all'], 'open'))
    .action((options: DriftsListOptions) =>
      perform(async (context) => (await import('../commands/drifts-list.ts')).driftsList(context, options)),
    );
  drifts
    .command('show <index>')
    .description('one drift, by the entry that opened it, and the orders that answered it')
    .action((index: string) =>
      perform(async (context) => (await import('../commands/drifts-show.ts')).driftsShow(context, index)),
    );
}

function addFindings(findings: Command, perform: Perform): void {
  paged(findings.command('list'))
    .description('findings with where they are, newest first')
    .option('--node <node>', 'only of this one')
    .option('--store <store>', 'only of this sigil store')
    .addOption(oneOf('--check <check>', 'only of this check', sigilChecks))
    .addOption(oneOf('--state <state>', 'which', ['open', 'resolved', 'all'], 'open'))
    .action((options: FindingsListOptions) =>
      perform(async (context) => (await import('../commands/findings-list.ts')).findingsList(context, options)),
    );
}

function addOrders(orders: Command, perform: Perform): void {
  paged(orders.command('list'))
    .description('orders, newest first')
    .option('--node <node>', 'only for this one')
    .option('--container <name>', 'only for containers of this name')
    .addOption(oneOf('--action <action>', 'only such', orderActions))
    .addOption(oneOf('--status <status>', 'only those that stand so', orderStatuses))
    .action((options: OrdersListOptions) =>
      perform(async (context) => (await import('../commands/orders-list.ts')).ordersList(context, options)),
    );
  orders
    .command('show <hash>')
    .description('the whole story of an order, and what holds it up; the first 8 digits of its hash will do')
    .action((hash: string) =>
      perform(async (context) => (await import('../commands/orders-show.ts')).ordersShow(context, hash)),
    );
  orders
    .command('approval-text <hash>')
    .description('print what approvers sign, for ssh-keygen -Y sign -n sigilwatch-order')
    .action((hash: string) =>
      perform(async (context) => (await import('../commands/orders-show.ts')).ordersApprovalText(context, hash)),
    );
}

function addIssue(orders: Command, perform: Perform): void {
  orders
    .command('issue')
    .description('give an order by hand, where the manifest permits it')
    .requiredOption('--node <node>', 'which node')
    .addOption(oneOf('--action <action>', 'what is to be done', orderActions).makeOptionMandatory())
    .requiredOption('--container <name>', 'which container')
    .requiredOption('--reason <text>', 'goes on record')
    .option('--dry-run', 'only show what would be ordered, and what would hold it up')
    .option('--confirm <name>', "the container's name once more; asked for on a terminal")
    .option('--key <file>', 'approve it at once with this SSH key')
    .option('--as <name>', 'whose key that is, as in allowed_signers')
    .option(
      '--allowed-signers <file>',
      'OpenSSH allowed_signers file that approvals are checked with; without it, that of the settings',
    )
    .action((options: IssueOptions) =>
      perform(async (context) => (await import('../commands/orders-issue.ts')).ordersIssue(context, options)),
    );
}

function addApprovals(orders: Command, perform: Perform): void {
  orders
    .command('approve <hash>')
    .description('add the signature of an approver')
    .requiredOption('--as <name>', 'who approves it, as in allowed_signers')
    .option('--key <file>', 'SSH key to sign with')
    .option('--signature <file>', 'a signature of the approval text that was made elsewhere')
    .option(
      '--allowed-signers <file>',
      'OpenSSH allowed_signers file that approvals are checked with; without it, that of the settings',
    )
    .action((hash: string, options: ApproveOptions) =>
      perform(async (context) => (await import('../commands/orders-approve.ts')).ordersApprove(context, hash, options)),
    );
  orders
    .command('reject <hash>')
    .description('end an order before it is carried out')
    .requiredOption('--reason <text>', 'goes on record')
    .action((hash: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('../commands/orders-approve.ts')).ordersReject(context, hash, reason)),
    );
}

function addMeasures(enforcement: Command, perform: Perform): void {
  enforcement
    .command('show')
    .description('mode, commit in force, frozen commits and silences')
    .action(() =>
      perform(async (context) => (await import('../commands/enforcement-show.ts')).enforcementShow(context)),
    );
  enforcement
    .command('release <commit>')
    .description('give orders by a frozen commit again, once somebody has looked at it')
    .requiredOption('--reason <text>', 'goes on record')
    .action((commit: string, { reason }: { reason: string }) =>
      perform(async (context) =>
        (await import('../commands/enforcement-show.ts')).enforcementRelease(context, commit, reason),
      ),
    );
}

function addSilences(silence: Command, perform: Perform): void {
  silence
    .command('add')
    .description('order nothing because of these drifts; they stay on record')
    .option('--node <node>', 'of this node')
    .option('--container <name>', 'of containers of this name')
    .addOption(oneOf('--kind <kind>', 'of this kind', driftKinds))
    .requiredOption('--for <time>', 'such as 30m, 2h or 7d')
    .requiredOption('--reason <text>', 'goes on record')
    .action((options: SilenceOptions) =>
      perform(async (context) => (await import('../commands/silences.ts')).silenceAdd(context, options)),
    );
  silence
    .command('list')
    .description('silences that stand')
    .action(() => perform(async (context) => (await import('../commands/silences.ts')).silenceList(context)));
  silence
    .command('end <id>')
    .description('end a silence before its time; the first 8 digits of its id will do')
    .option('--reason <text>', 'goes on record', 'not needed any more')
    .action((id: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('../commands/silences.ts')).silenceEnd(context, id, reason)),
    );
}
