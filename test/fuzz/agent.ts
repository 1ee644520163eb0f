import type { Socket } from 'node:net';
import { z } from 'zod';
import { type EnrolRequest, enrolPath, parseJoinToken, signEnrolment } from '../../common/enrol.ts';
import { type ChainHead, genesis, headAfter, sealEntry } from '../../common/entry.ts';
import { fingerprint, generateKeyPair, type KeyPair, signBytes } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { type AgentMessage, handshakeBytes, socketPath, subprotocol, toWire } from '../../common/protocol.ts';
import { answerDeadlineMs, connect } from './exchange.ts';
import { framesIn, handshake, textFrame } from './frames.ts';

/** A node with a key of its own that the collector knows. */
export interface FuzzNode {
  readonly name: string;
  readonly keys: KeyPair;
}

/** Enrols a node as an operator and its agent would. @throws when either is refused */
export async function enrolFuzzNode(url: string, token: string, name: string): Promise<FuzzNode> {
  const headers = { Authorization: `Bearer ${token}` };
  const made = await fetch(`${url}/api/v1/nodes/${name}/token`, { method: 'POST', headers });
  const { token: joinToken } = z.object({ token: z.string() }).parse(await made.json());
  const keys = generateKeyPair();
  const wish: EnrolRequest = signEnrolment(
    { node: name, secret: parseJoinToken(joinToken).secret, agent_version: 'fuzz' },
    keys,
  );
  const answer = await fetch(url + enrolPath, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(wish),
  });
  if (answer.status !== 200) throw new Error(`enrolment of ${name}: ${answer.status} ${await answer.text()}`);
  return { name, keys };
}

/** An agent's session past its handshake. */
export interface FuzzSession {
  readonly socket: Socket;
  /** Where the chain of the node stands. */
  readonly head: ChainHead;
  readonly received: () => Buffer;
}

/**
 * Connects as the agent of `node`, and proves its key.
 * @throws when that is refused, or not answered in time
 */
export async function openFuzzSession(port: number, { name, keys }: FuzzNode): Promise<FuzzSession> {
  const socket = await connect(port);
  const heard: Buffer[] = [];
  const received = () => Buffer.concat(heard);
  const said = <T>(pick: (message: unknown) => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const messages = framesIn(received()).texts.map((text): unknown => JSON.parse(text));
        const found = messages.map(pick).find((picked) => picked !== undefined);
        if (found !== undefined) settle(() => resolve(found));
      };
      const settle = (then: () => void): void => {
        clearTimeout(deadline);
        socket.off('data', look);
        socket.off('close', gone);
        then();
      };
      const fail = (why: string): void => {
        socket.destroy();
        settle(() => reject(new Error(`handshake: ${why}: ${received().toString('latin1').slice(-500)}`)));
      };
      const gone = () => fail('closed');
      const deadline = setTimeout(() => fail('no answer'), answerDeadlineMs);
      socket.on('data', look);
      socket.on('close', gone);
      look();
    });
  socket.on('data', (chunk) => heard.push(chunk));
  const hello: AgentMessage = {
    type: 'hello',
    node: name,
    fingerprint: fingerprint(keys.publicKey),
    version: 'fuzz',
    checkpoint: null,
  };
  socket.write(handshake(socketPath, subprotocol));
  socket.write(textFrame(JSON.stringify(hello)));
  const challenge = await said((message) => challengeMessage.safeParse(message).data);
  const signature = signBytes(keys.privateKey, handshakeBytes(challenge, name)).toString('base64');
  socket.write(textFrame(JSON.stringify({ type: 'proof', signature })));
  const { head } = await said((message) => welcomeMessage.safeParse(message).data);
  return { socket, received, head: head.seq === 0 ? genesis : head };
}

const challengeMessage = z.object({ type: z.literal('challenge'), nonce: z.string(), origin: z.string() });
const welcomeMessage = z.object({ type: z.literal('welcome'), head: z.object({ seq: z.number(), hash: z.string() }) });

/** Statements as the node would send them, chained and signed: nothing is wrong but perhaps what they say. */
export function appendOf({ name, keys }: FuzzNode, from: ChainHead, statements: readonly Statement[]): AgentMessage {
  let head = from;
  const entries = statements.map((statement) => {
    const signed = sealEntry(statement, { author: name, head, now: Date.now(), privateKey: keys.privateKey });
    head = headAfter(signed);
    return toWire(signed);
  });
  return { type: 'append', entries };
}
