import fc from 'fast-check';
import { contracts } from '../../collector/api/contracts.ts';
import { eventFollow, eventSeverity, eventsPath } from '../../collector/api/events-contract.ts';
import { replayedHeader } from '../../collector/api/headers.ts';
import { eventsSubprotocol, type SubscriberMessage, subscriberMessage } from '../../collector/events/messages.ts';
import { type Answer, answersIn, faultOf } from './answers.ts';
import { requestsOf } from './contract-requests.ts';
import { answerDeadlineMs, exchange } from './exchange.ts';
import { framesIn, handshake, textFrame } from './frames.ts';
import { type Case, type Lane, messagesOf, quietMs, silenceMs, spokenFault, type Target } from './lanes.ts';
import { bytesOf, shownBytes } from './request.ts';
import { wickedText } from './wicked.ts';

/*
 * Lanes that hold answers against each other: what is promised about several of them, whatever each of them is.
 */

/** The one origin whose pages may use the API of the collector that is fired at. */
export const knownOrigin = 'https://console.example';

export function promiseLanesOf(target: Target): readonly Lane[] {
  return [
    { name: 'replays', cases: replayCases(target) },
    { name: 'preflights', cases: preflightCases(target) },
    { name: 'filters', cases: filterCases(target) },
  ];
}

const atOnce = 3;
let keys = 0;

/** The same write several times at once under one key, and once more. */
function replayCases(target: Target): fc.Arbitrary<Case> {
  const writes = contracts.filter(({ idempotency }) => idempotency);
  return fc.oneof(...writes.map((contract) => requestsOf(contract, target.known))).map((made) => ({
    shown: `${atOnce} at once and one after, under a key: ${shownBytes(bytesOf(made))}`,
    run: async () => {
      keys += 1;
      const own = [`Authorization: Bearer ${target.token}`, `Idempotency-Key: fuzz-${keys}`];
      const bytes = bytesOf({ ...made, headers: [...own, ...made.headers] });
      const first = await Promise.all(Array.from({ length: atOnce }, () => answerTo(bytes, target)));
      const last = await answerTo(bytes, target);
      const answers = [...first, last].filter((answer) => answer !== undefined);
      const fault = answers.map(faultOf).find((found) => found !== undefined);
      return fault ?? (made.method === 'GET' ? undefined : effectsFault(answers, last));
    },
  }));
}

const isDone = ({ status }: Answer) => status >= 200 && status < 300;

/** One effect, and everybody after it is told what it was. */
function effectsFault(answers: readonly Answer[], last: Answer | undefined): string | undefined {
  const effects = answers.filter((answer) => isDone(answer) && !answer.headers.has(replayedHeader.toLowerCase()));
  if (effects.length > 1) return `${effects.length} effects under one key`;
  const [effect] = effects;
  if (effect === undefined || last === undefined || effect === last) return undefined;
  if (last.status !== effect.status) return `${effect.status} at first, and ${last.status} when it was repeated`;
  return last.body === effect.body ? undefined : `another answer when it was repeated: ${last.body.slice(0, 200)}`;
}

async function answerTo(bytes: Buffer, { port, onAnswer }: Target): Promise<Answer | undefined> {
  const { received } = await exchange({ port, chunks: [bytes], deadlineMs: answerDeadlineMs });
  const answer = answersIn(received).at(-1);
  if (answer !== undefined) onAnswer(answer.status);
  return answer;
}

const oneLine = wickedText.map((text) => text.replace(/[\r\n\0]/g, '').slice(0, 4_000));
const origins = fc.oneof(
  fc.constantFrom(knownOrigin, knownOrigin, `${knownOrigin}.evil`, `${knownOrigin}:443`, 'null', '*', 'https://evil'),
  fc.constantFrom(`${knownOrigin}/`, `${knownOrigin} https://evil`, `${knownOrigin}, https://evil`, ''),
  oneLine,
);

/** What browsers ask before, and what no browser would. */
function preflightCases(target: Target): fc.Arbitrary<Case> {
  const paths = contracts.map(({ path }) => path.replace(/:[a-z_]+(\{.+?\})?/g, '0'));
  const asked = fc.record({
    method: fc.constantFrom('OPTIONS', 'OPTIONS', 'OPTIONS', 'GET', 'HEAD'),
    path: fc.constantFrom(...paths),
    origin: origins,
    wanted: fc.oneof(fc.constantFrom('POST', 'DELETE', 'PUT', 'get', '*'), oneLine),
    headers: fc.oneof(fc.constantFrom('authorization', 'Idempotency-Key, content-type', 'x-evil', '*'), oneLine),
  });
  return asked.map(({ method, path, origin, wanted, headers }) => {
    const lines = [
      `Origin: ${origin}`,
      `Access-Control-Request-Method: ${wanted}`,
      `Access-Control-Request-Headers: ${headers}`,
    ];
    const bytes = bytesOf({ method, path, query: [], headers: lines, body: undefined });
    return {
      shown: shownBytes(bytes),
      run: async () => {
        const answer = await answerTo(bytes, target);
        return answer && (faultOf(answer) ?? originFault(answer, { origin, path }));
      },
    };
  });
}

function originFault({ headers }: Answer, asked: { readonly origin: string; readonly path: string }) {
  const allowed = headers.get('access-control-allow-origin');
  if (headers.has('access-control-allow-credentials')) return 'allows credentials';
  const isKnown = asked.origin.trim() === knownOrigin && asked.path.startsWith('/api/');
  if (allowed === undefined) return undefined;
  return isKnown && allowed === knownOrigin ? undefined : `allows ${allowed} to ${asked.origin.slice(0, 200)}`;
}

/** Filters that change on an open socket: each is answered in turn, and what is told after an answer is what it asks for. */
function filterCases(target: Target): fc.Arbitrary<Case> {
  const messages = fc.array(messagesOf(subscriberMessage, target.known), { minLength: 1, maxLength: 8 });
  const queries = requestsOf(eventFollow, target.known).map(({ query }) => ['recent=20', ...query].join('&'));
  return fc.tuple(fc.oneof(fc.constant('recent=20'), queries), messages).map(([query, texts]) => {
    const opening = handshake(`${eventsPath}?${query}`, eventsSubprotocol, target.token);
    return {
      shown: `${shownBytes(opening)}, then ${texts.map((text) => text.slice(0, 300)).join(' then ')}`,
      run: async () => {
        const chunks = [opening, ...texts.map(textFrame)];
        const bounds = { quietMs, silenceMs, deadlineMs: answerDeadlineMs };
        const { received } = await exchange({ port: target.port, chunks, ...bounds });
        const [answer] = answersIn(received);
        if (answer === undefined) return undefined;
        target.onAnswer(answer.status);
        const fault = faultOf(answer) ?? spokenFault(received);
        if (fault !== undefined || answer.status !== 101) return fault;
        return filterFault(framesIn(received).texts, texts);
      },
    };
  });
}

const severities: readonly string[] = eventSeverity.options;

/** @param told in the order in which it came, as far as it came. */
function filterFault(told: readonly string[], said: readonly string[]): string | undefined {
  let answered = -1;
  let inForce: SubscriberMessage | undefined;
  for (const text of told) {
    const message: Readonly<Record<string, unknown>> = Object(JSON.parse(text));
    if (message.type === 'event') {
      if (inForce !== undefined && !passes(message, inForce)) return `${text.slice(0, 200)} is not asked for`;
      continue;
    }
    if (message.type !== 'filtering' && message.type !== 'refused') continue;
    answered += 1;
    // The first one is of the address.
    if (answered === 0) continue;
    const wanted = parsed(said[answered - 1] ?? '');
    if ((wanted === undefined) !== (message.type === 'refused')) return `message ${answered} is answered ${text}`;
    inForce = wanted ?? inForce;
  }
  return undefined;
}

function passes({ kind, severity }: Readonly<Record<string, unknown>>, filter: SubscriberMessage): boolean {
  const kinds: readonly string[] | undefined = filter.kind === undefined ? undefined : [filter.kind].flat();
  if (kinds !== undefined && !kinds.includes(String(kind))) return false;
  return filter.severity === undefined || severities.indexOf(String(severity)) >= severities.indexOf(filter.severity);
}

function parsed(text: string): SubscriberMessage | undefined {
  try {
    return subscriberMessage.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
