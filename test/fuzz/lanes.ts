import fc from 'fast-check';
import type { z } from 'zod';
import { type Contract, isMedia } from '../../collector/api/contract.ts';
import { contracts } from '../../collector/api/contracts.ts';
import { eventsPath } from '../../collector/api/events-contract.ts';
import { eventsSubprotocol, subscriberMessage } from '../../collector/events/messages.ts';
import { nodeKinds, type Statement } from '../../common/kinds.ts';
import { agentMessage, socketPath, subprotocol } from '../../common/protocol.ts';
import { statements } from '../arbitrary/statements.ts';
import { appendOf, type FuzzNode, openFuzzSession } from './agent.ts';
import { answersIn, breachOf, faultOf } from './answers.ts';
import { requestsOf } from './contract-requests.ts';
import { answerDeadlineMs, exchange } from './exchange.ts';
import { frameSequences, framesIn, handshake, textFrame } from './frames.ts';
import { type Known, valuesOf } from './from-schema.ts';
import { cutAt, rawRequests } from './raw-requests.ts';
import { bytesOf, shownBytes } from './request.ts';
import { wickedJson } from './wicked.ts';

/** One thing that is done to the collector. */
export interface Case {
  /** Enough to do it again by hand. */
  readonly shown: string;
  /** @returns what is wrong with what came back; undefined when nothing is. */
  readonly run: () => Promise<string | undefined>;
}

export interface Lane {
  readonly name: string;
  readonly cases: fc.Arbitrary<Case>;
}

export interface Target {
  readonly port: number;
  /** An API token that may do everything. */
  readonly token: string;
  /** Two nodes, since a node has one session at a time. */
  readonly walker: FuzzNode;
  readonly teller: FuzzNode;
  readonly known: Known;
  /** Hears what each answer was, for the report. */
  readonly onAnswer: (status: number) => void;
}

export const quietMs = 60;
/** A handshake is answered in any case, by a collector that has much to do a little later. */
export const silenceMs = 2_000;

export function lanesOf(target: Target): readonly Lane[] {
  return [
    { name: 'requests', cases: fc.oneof(...contracts.map((contract) => contractCases(contract, target))) },
    { name: 'raw', cases: rawCases(target) },
    { name: 'events', cases: eventCases(target) },
    { name: 'strangers', cases: strangerCases(target) },
    { name: 'agents', cases: agentCases(target) },
    { name: 'entries', cases: entryCases(target) },
  ];
}

function contractCases(contract: Contract, { port, token, known, onAnswer }: Target): fc.Arbitrary<Case> {
  return fc
    .tuple(requestsOf(contract, known), fc.constantFrom(true, true, true, true, false))
    .map(([made, isKnown]) => {
      const headers = isKnown ? [`Authorization: Bearer ${token}`, ...made.headers] : made.headers;
      const bytes = bytesOf({ ...made, headers });
      return {
        shown: `${contract.operation}: ${shownBytes(bytes)}`,
        run: async () => {
          const { received } = await exchange({
            port,
            chunks: [bytes],
            enough: isStream,
            deadlineMs: answerDeadlineMs,
          });
          const [answer] = answersIn(received);
          if (answer === undefined) return `no answer: ${received.toString('latin1').slice(0, 200)}`;
          onAnswer(answer.status);
          return faultOf(answer) ?? breachOf(answer, promisedBy(contract, answer.status));
        },
      };
    });
}

function promisedBy({ answers }: Contract, status: number): z.ZodType | undefined {
  const answer = answers[status];
  return answer === undefined || isMedia(answer) ? undefined : answer;
}

/** Live events have no end. */
const isStream = (received: Buffer) => received.includes('text/event-stream');

function rawCases({ port, token, onAnswer }: Target): fc.Arbitrary<Case> {
  const paths = contracts.map(({ path }) => path.replace(/:[a-z_]+(\{.+?\})?/g, '0'));
  return rawRequests(token, paths).map(({ chunks, halfClose }) => ({
    shown: `${halfClose ? 'half-closed ' : ''}${chunks.map(shownBytes).join(' + ')}`,
    run: async () => {
      const { received } = await exchange({ port, chunks, halfClose, quietMs, deadlineMs: answerDeadlineMs });
      const answers = answersIn(received);
      for (const { status } of answers) onAnswer(status);
      return answers.map(faultOf).find((fault) => fault !== undefined) ?? spokenFault(received);
    },
  }));
}

/** What a socket has said that it should not say. */
export function spokenFault(received: Buffer): string | undefined {
  if (!received.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) return undefined;
  const { texts, closed } = framesIn(received);
  const internal = texts.find((text) => text.includes('"internal.error"') || text.includes('"database.'));
  if (internal !== undefined) return `says ${internal.slice(0, 300)}`;
  return closed === 1011 ? 'closed with 1011, an internal error' : undefined;
}

/** Valid messages, with one thing wrong in most. */
export function messagesOf(schema: z.ZodType, known: Known): fc.Arbitrary<string> {
  const valid = valuesOf(schema, known).map((value) => JSON.stringify(value));
  const twisted = fc.tuple(valid, fc.nat(), wickedJson).map(([text, at, wicked]) => replaced(text, at, wicked));
  return fc.oneof(valid, { weight: 3, arbitrary: twisted }, wickedJson);
}

/** One value, wherever it stands, replaced. */
function replaced(text: string, at: number, wicked: string): string {
  const values = [...text.matchAll(/(?<=[:[,])("(?:[^"\\]|\\.)*"(?!:)|-?\d+|true|false|null)/g)];
  const chosen = values[at % Math.max(values.length, 1)];
  if (chosen === undefined) return wicked;
  return text.slice(0, chosen.index) + wicked.slice(0, 200_000) + text.slice(chosen.index + chosen[0].length);
}

const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });

function socketCases(target: Target, opening: Buffer, texts: fc.Arbitrary<string>): fc.Arbitrary<Case> {
  return fc.tuple(frameSequences(texts), cuts).map(([frames, places]) => {
    const chunks = cutAt(Buffer.concat([opening, ...frames]), places);
    return {
      shown: [opening, ...frames].map(shownBytes).join(' + '),
      run: async () => {
        const bounds = { quietMs, silenceMs, deadlineMs: answerDeadlineMs };
        const { received } = await exchange({ port: target.port, chunks, ...bounds });
        for (const answer of answersIn(received)) {
          target.onAnswer(answer.status);
          const fault = faultOf(answer);
          if (fault !== undefined) return fault;
        }
        return spokenFault(received);
      },
    };
  });
}

function eventCases(target: Target): fc.Arbitrary<Case> {
  const query = fc.constantFrom(
    '',
    '?recent=50',
    '?after=-1',
    '?severity=error',
    '?after=999999999999999',
    '?recent=0',
  );
  const messages = messagesOf(subscriberMessage, target.known);
  return query.chain((text) =>
    socketCases(target, handshake(eventsPath + text, eventsSubprotocol, target.token), messages),
  );
}

function strangerCases(target: Target): fc.Arbitrary<Case> {
  return socketCases(target, handshake(socketPath, subprotocol), messagesOf(agentMessage, target.known));
}

/** Frames of an agent that has proved its key. */
function agentCases({ port, walker: node, known }: Target): fc.Arbitrary<Case> {
  return frameSequences(messagesOf(agentMessage, known)).map((frames) => ({
    shown: `an agent's session, and ${frames.map(shownBytes).join(' + ')}`,
    run: async () => {
      const session = await openFuzzSession(port, node);
      session.socket.write(Buffer.concat(frames));
      return heardOf(session);
    },
  }));
}

/** Entries that are signed as they should be and accepted by their schema, whatever they say. */
function entryCases({ port, teller: node }: Target): fc.Arbitrary<Case> {
  const said = fc.array(statements([...nodeKinds]), { minLength: 1, maxLength: 5 });
  return said.map((list: readonly Statement[]) => ({
    shown: `entries: ${JSON.stringify(list).slice(0, 2_000)}`,
    run: async () => {
      const session = await openFuzzSession(port, node);
      session.socket.write(textFrame(JSON.stringify(appendOf(node, session.head, list))));
      return heardOf(session);
    },
  }));
}

async function heardOf({ socket, received }: Awaited<ReturnType<typeof openFuzzSession>>): Promise<string | undefined> {
  await new Promise<void>((resolve) => {
    const listen = () => {
      clearTimeout(quiet);
      quiet = setTimeout(resolve, quietMs);
    };
    let quiet = setTimeout(resolve, quietMs);
    socket.on('data', listen);
    socket.once('close', () => {
      clearTimeout(quiet);
      resolve();
    });
  });
  socket.destroy();
  return spokenFault(received());
}
