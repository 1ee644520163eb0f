import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { z } from 'zod';
import { amount } from '../../common/amount.ts';
import { NotChecked, type Plan, Wrong } from '../../common/checkup.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { shellWord } from '../../common/shell-word.ts';
import type { AgentSettings } from '../config.ts';
import { countsPath } from '../executor/calls.ts';
import type { AgentStatus } from '../health/status.ts';
import { fsStoreFiles } from '../sigils/fs-store-files.ts';
import { engineOf } from '../sources.ts';
import type { StorePlace } from '../tables/table-settings.ts';

/** Where the executor's unit serves it, and the packages' settings expect it. */
const executorSocket = '/run/sigilwatch-executor/engine.sock';

/**
 * What is watched: the engine, and each sigil store.
 *
 * A unit may give the agent groups that its user has nowhere else. So where whoever looks is shut out, the word of the agent that runs counts.
 */
export function watchingPlans(settings: AgentSettings, status: Promise<AgentStatus>): Plan[] {
  const { socketPath } = settings.docker;
  const services = socketPath === executorSocket ? 'docker sigilwatch-executor' : 'docker';
  const running = status.catch(() => undefined);
  return [
    {
      name: 'engine socket',
      fix: `systemctl start ${services}, or correct docker.socketPath in the settings`,
      look: () => lookAtEngine(settings, running),
    },
    { name: 'executor', fix: 'systemctl restart sigilwatch-executor', look: () => lookAtExecutor(socketPath) },
    ...Object.entries(settings.sigils.stores).map(([name, place]) => ({
      name: `sigil store ${name}`,
      fix: `correct sigils.stores.${name} in the settings`,
      look: () => lookAtStore(name, place, running),
    })),
  ];
}

type Running = Promise<AgentStatus | undefined>;

async function lookAtEngine(settings: AgentSettings, running: Running): Promise<string> {
  const { socketPath } = settings.docker;
  try {
    const { version } = await engineOf(settings).version();
    return `Docker ${version} at ${socketPath}`;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.details.errno !== 'EACCES') throw error;
    const told = `${socketPath} is closed to user ${process.geteuid?.()}`;
    if ((await running)?.engine === 'up') return `the running agent reaches it; ${told}, who looks`;
    const fix = 'usermod -aG docker "$(id -un)" and log in anew, or let the agent run behind the executor';
    throw new Wrong(told, fix);
  }
}

/** As `agent/executor/counts.ts` tells it; of an earlier version perhaps less. */
const counts = z.object({ passed: z.record(z.string(), z.number()), refused: z.record(z.string(), z.number()) });

async function lookAtExecutor(socketPath: string): Promise<string> {
  const { status, text } = await askSocket(socketPath).catch((thrown: unknown) => {
    const closed = errnoOf(thrown) === 'EACCES';
    throw new NotChecked(closed ? 'the socket is closed to us' : 'nothing answers at the socket', 'see engine socket');
  });
  if (status === 404)
    throw new NotChecked('the agent holds the socket of the engine itself, there is no executor between');
  if (status !== 200) throw new AppError('engine.answer', `it answered ${status}`);
  const parsed = counts.safeParse(parseJson(text));
  if (!parsed.success) throw new AppError('engine.answer', 'what it says of itself cannot be read');
  const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((all, one) => all + one, 0);
  const { passed, refused } = parsed.data;
  return `in between: ${amount(sum(passed), 'call')} passed, ${sum(refused)} refused`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function askSocket(socketPath: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(limits.doctorTimeoutMs);
    const asked = request({ socketPath, path: countsPath, agent: false, signal }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        text += part;
        if (text.length > limits.maxExecutorCountsChars) asked.destroy(new Error('the answer is too long'));
      });
      answer.once('error', reject);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.once('error', reject);
    asked.end();
  });
}

async function lookAtStore(name: string, place: StorePlace, running: Running): Promise<string> {
  if (typeof place !== 'string') {
    const { describeTable } = await import('../tables/table-look.ts');
    return describeTable(place.postgres);
  }
  if ((await isClosed(place)) && (await isReadByAgent(name, running)))
    return `the running agent reads it; ${place} is closed to user ${process.geteuid?.()}, who looks`;
  const files = await fsStoreFiles(place).list();
  if (!files.includes('CURRENT')) throw new AppError('store.not_a_store', `${place} is not a LevelDB folder`);
  await access(join(place, 'CURRENT'), constants.R_OK).catch((cause: unknown) => {
    const fix = `setfacl -R -m u:$(id -un):rX,d:u:$(id -un):rX ${shellWord(place)}`;
    throw new Wrong(`${place} cannot be read (${errnoOf(cause)})`, fix);
  });
  return `${place}, ${amount(files.filter((file) => /\.(ldb|sst)$/.test(file)).length, 'table')}`;
}

/** Whether it may be there, and is not for us. */
async function isClosed(place: string): Promise<boolean> {
  const trouble = await access(join(place, 'CURRENT'), constants.R_OK).catch((thrown: unknown) => thrown);
  return errnoOf(trouble) === 'EACCES';
}

async function isReadByAgent(name: string, running: Running): Promise<boolean> {
  const found = (await running)?.stores.find(({ store }) => store === name);
  return found?.status === 'ok' || found?.status === 'findings';
}
