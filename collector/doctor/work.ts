import { readFile } from 'node:fs/promises';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError } from '../../common/errors.ts';
import { openChannels } from '../alerts/open-channels.ts';
import type { CollectorSettings } from '../config.ts';
import { alertFigures } from '../postgres/alert-query-store.ts';
import { jobFigures } from '../postgres/job-figures-store.ts';
import { type DatabaseSeen, withTables } from './database.ts';

/** Who is told, and what is done in the background. */
export function workPlans({ alerts }: CollectorSettings, seen: DatabaseSeen): Plan[] {
  return [
    { name: 'alert channels', fix: 'correct alerts in the settings', look: () => lookAtChannels(alerts) },
    { name: 'notifications', fix: 'sigilwatch-collector alerts dead', look: () => lookAtNotifications(seen) },
    {
      name: 'jobs',
      fix: 'sigilwatch-collector dead-letters list, then retry or resolve each',
      look: () => lookAtJobs(seen),
    },
  ];
}

async function lookAtChannels(alerts: CollectorSettings['alerts']): Promise<string> {
  const channels = await openChannels(alerts, (path) => readFile(path, 'utf8'));
  await Promise.all(channels.map((channel) => channel.close()));
  if (channels.length > 0) return channels.map(({ name, level }) => `${name} (from ${level})`).join(', ');
  const fix = 'set one, such as alerts.webhook, then: sigilwatch-collector alerts test CHANNEL';
  throw new NotChecked('none is set up, so nobody is told', fix);
}

async function lookAtNotifications(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const { channels } = await alertFigures(db);
  const sum = (of: 'waiting' | 'dead') => channels.reduce((all, channel) => all + channel[of], 0);
  const [waiting, dead] = [sum('waiting'), sum('dead')];
  if (dead > 0) {
    const fix = 'sigilwatch-collector alerts dead, and once the channel works: sigilwatch-collector alerts retry ID';
    throw new Wrong(`${amount(dead, 'notification')} reached nobody, ${waiting} waiting`, fix);
  }
  return `${waiting} waiting, none given up`;
}

async function lookAtJobs(seen: DatabaseSeen): Promise<string> {
  const { db } = await withTables(seen);
  const { open, dead, breakers } = await jobFigures(db);
  const sum = (of: readonly { readonly count: number }[]) => of.reduce((all, { count }) => all + count, 0);
  if (sum(dead) > 0)
    throw new AppError('state.conflict', `${amount(sum(dead), 'dead letter')} that nobody has followed up`);
  const left = breakers.find(({ state }) => state === 'open');
  if (left !== undefined) {
    const fix = `find out why ${left.service} fails, then: sigilwatch-collector breakers reset ${left.service}`;
    throw new Wrong(`${left.service} is left alone after failures`, fix);
  }
  return `${sum(open)} in line, no dead letters`;
}
