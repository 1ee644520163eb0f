import { randomBytes, randomUUID } from 'node:crypto';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../common/note.ts';
import { createTeardown, type Teardown } from '../../common/teardown.ts';
import { defaultWitnesses } from '../../common/witnesses.ts';
import { openLedger } from '../app.ts';
import { local } from '../auth/caller.ts';
import type { Transport } from '../client/client.ts';
import { systemClock } from '../clock.ts';
import type { SignerFiles } from '../enforcement/ssh-keygen.ts';
import { type ApiSources, addApi } from '../http/api.ts';
import { createShell } from '../http/app.ts';
import { createRequestAudit } from '../http/request-audit.ts';
import { createServing } from '../http/serving.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresEnrolment } from '../postgres/access-store.ts';
import { postgresWantedStore, postgresWitnessStore } from '../postgres/witness-store.ts';
import { createAuthenticating } from '../wiring/authenticating.ts';
import { registrationsIn } from '../wiring/registrations.ts';
import { createScoring } from '../wiring/scoring.ts';
import { createWorking } from '../wiring/working.ts';
import { viewOf } from '../witness/published.ts';
import { createRosterMaker } from '../witness/roster.ts';
import { type CommandContext, type OpenCollectorData, stderrLogger, withCollectorData } from './context.ts';
import { type Contradicted, contradictionOf } from './contradicted.ts';
import { manifestInForce } from './enforcing.ts';

/**
 * Answers of the collector's API from its data, whether it runs or not, in this process: whoever can read key and database
 * needs no account. The ledger is opened with the first thing that is put on record.
 */
export function withLocalApi<T>(
  context: CommandContext,
  signers: SignerFiles,
  work: (transport: Transport, contradicted: Contradicted | undefined) => Promise<T>,
): Promise<T> {
  return withCollectorData(context, async (data) => {
    const logger = stderrLogger(context.stderr);
    const teardown = createTeardown(logger);
    try {
      const contradicted = await contradictionOf(context, data);
      const ledger = lazyLedger(context, { data, teardown, contradicted });
      const sources = await localSources(context, { data, ledger, signers, teardown });
      const app = createShell({ ledger, logger, newRequestId: randomUUID });
      const audit = createRequestAudit({ ledger, clock: systemClock, logger });
      addApi(createServing(app, { visitor: local, authenticate: async () => local }, { audit }), sources);
      return await work(async ({ method, target, headers, body }) => {
        const answer = await app.request(target, { method, headers, ...(body !== undefined && { body }) });
        const { status } = answer;
        return { status, text: await answer.text(), header: (name) => answer.headers.get(name) ?? undefined };
      }, contradicted);
    } finally {
      await teardown.run();
    }
  });
}

interface LazyNeeds {
  readonly data: OpenCollectorData;
  readonly teardown: Teardown;
  readonly contradicted: Contradicted | undefined;
}

type LazyLedger = ApiSources['ledger'] & { readonly open: () => Promise<Ledger> };

/** Looking changes nothing: opening the ledger would. */
function lazyLedger(context: CommandContext, { data, teardown, contradicted }: LazyNeeds): LazyLedger {
  const { settings, stderr } = context;
  const { origin } = settings.ledger;
  let opening: Promise<Ledger> | undefined;
  const open = () => {
    const parts = { clock: systemClock, teardown, logger: stderrLogger(stderr) };
    opening ??= openLedger(settings, { ...data, ...parts });
    return opening;
  };
  return {
    ...{ open, origin },
    vkey: formatVerifierKey(verifierKey(origin, signatureTypes.ed25519, data.keys.publicKey)),
    contradiction: contradicted && { reason: contradicted.reason, notes: [], found: contradicted.found ?? undefined },
    checkpoint: async (enough) => (await open()).checkpoint(enough),
    record: async (statement) => (await open()).record(statement),
  };
}

interface LocalParts {
  readonly data: OpenCollectorData;
  readonly ledger: LazyLedger;
  readonly signers: SignerFiles;
  readonly teardown: Teardown;
}

async function localSources(context: CommandContext, parts: LocalParts): Promise<ApiSources> {
  const { data, ledger, signers, teardown } = parts;
  const { settings, stderr } = context;
  const { db } = data.database;
  const manifest = await manifestInForce(context);
  const witnesses = postgresWitnessStore(db);
  const logger = stderrLogger(stderr);
  const auth = createAuthenticating({
    ...{ db, ledger, randomBytes, clock: systemClock, logger, times: settings.auth },
    collectorKey: data.keys.privateKey,
  });
  teardown.add('sign-in', auth.settled);
  const { database } = data;
  const registrations = registrationsIn(settings, { database, openLedger: ledger.open });
  const working = createWorking(settings.jobs, { ...{ db, ledger, clock: systemClock }, ...registrations });
  const { sweep } = createScoring(settings, { database, ledger, working, clock: systemClock, logger });
  return {
    auth: auth.ports,
    artifacts: { sweep },
    ...{ db, ledger, collectorKey: data.keys.publicKey, clock: systemClock },
    enrolment: postgresEnrolment(db),
    working,
    joinTokenTtlMs: settings.fleet.joinTokenTtlMs,
    runbookUrl: settings.alerts.runbookUrl,
    budgets: settings.budgets,
    enforcement: { manifest: () => manifest, signers, onRecorded: () => {} },
    witnesses: async () => {
      // What the running collector made of the manifest, and not what it says at this moment.
      const followed = settings.manifest.repository !== undefined;
      const kept = followed ? await postgresWantedStore(db).wanted() : undefined;
      return viewOf(
        createRosterMaker(settings.ledger.origin)(await witnesses.activeNodes(), kept ?? defaultWitnesses),
        witnesses,
      );
    },
  };
}
