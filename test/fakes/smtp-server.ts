import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { TestCertificate } from './certificate.ts';

/*
 * A mail server by RFC 5321, 3207 (STARTTLS) and 4954 (AUTH PLAIN), written from them alone and strict: it takes no mail without TLS and
 * login, and refuses messages that break RFC 5322's rules for lines and headers.
 */

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** As it came, dots unstuffed. */
  readonly raw: string;
  /** Unfolded, names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Decoded. */
  readonly text: string;
}

export interface SmtpServer {
  readonly port: number;
  readonly mails: readonly ReceivedMail[];
  /** What was refused, and why. */
  readonly refusals: readonly string[];
  close(): Promise<void>;
}

export interface SmtpOptions extends TestCertificate {
  readonly user: string;
  readonly password: string;
  /** TLS from the first byte instead of STARTTLS. */
  readonly implicitTls?: boolean;
  /** Says nothing of STARTTLS, as somebody on the way would have it. */
  readonly stripsTls?: boolean;
  /** Answer to RCPT; a mail is taken when there is none. */
  readonly refusesRecipients?: string;
}

export async function startSmtpServer(options: SmtpOptions): Promise<SmtpServer> {
  const mails: ReceivedMail[] = [];
  const refusals: string[] = [];
  const sockets = new Set<Socket>();
  const context = createSecureContext({ key: options.key, cert: options.cert });
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    const session = createSession(options, { mails, refusals });
    const secured = () => {
      const tls = new TLSSocket(socket, { isServer: true, secureContext: context });
      tls.on('error', () => {});
      serve(tls, session, () => {});
      return tls;
    };
    if (options.implicitTls === true) {
      session.isSecure = true;
      secured().write('220 mail.test ESMTP\r\n');
    } else {
      socket.write('220 mail.test ESMTP\r\n');
      serve(socket, session, secured);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return {
    ...{ port: address.port, mails, refusals },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Session {
  isSecure: boolean;
  isIn: boolean;
  from: string | undefined;
  to: string[];
  data: string[] | undefined;
  /** The answer to one line, if it gets one. */
  hear(line: string): string | undefined;
}

function serve(socket: Socket, session: Session, startTls: () => void): void {
  let rest = '';
  const onData = (chunk: Buffer): void => {
    rest += chunk.toString('latin1');
    for (let end = rest.indexOf('\r\n'); end !== -1; end = rest.indexOf('\r\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 2);
      const answer = session.hear(line);
      if (answer !== undefined) socket.write(`${answer}\r\n`);
      if (answer?.startsWith('220')) {
        // RFC 3207 §5: what came before the handshake is forgotten, or somebody could have slipped it in.
        socket.off('data', onData);
        session.isSecure = true;
        startTls();
        return;
      }
      if (answer?.startsWith('221')) socket.end();
    }
  };
  socket.on('data', onData);
}

interface Record {
  readonly mails: ReceivedMail[];
  readonly refusals: string[];
}

function createSession(options: SmtpOptions, { mails, refusals }: Record): Session {
  const refuse = (answer: string): string => {
    refusals.push(answer);
    return answer;
  };
  const session: Session = {
    ...{ isSecure: false, isIn: false, from: undefined, to: [], data: undefined },
    hear: (line) => {
      if (session.data !== undefined) return hearData(line, session.data);
      const [verb = ''] = line.toUpperCase().split(' ', 1);
      if (line.length > 510) return refuse('500 line too long');
      if (verb === 'EHLO') return greeting();
      if (verb === 'QUIT') return '221 bye';
      if (verb === 'RSET' || verb === 'NOOP') return '250 ok';
      if (verb === 'STARTTLS')
        return session.isSecure || options.stripsTls === true ? refuse('502 no') : '220 go ahead';
      if (!session.isSecure) return refuse('530 Must issue a STARTTLS command first');
      if (verb === 'AUTH') return login(line);
      if (!session.isIn) return refuse('530 Authentication required');
      return envelope(line);
    },
  };

  function greeting(): string {
    const offers = session.isSecure ? ['AUTH PLAIN'] : options.stripsTls === true ? [] : ['STARTTLS'];
    const lines = ['mail.test', ...offers, 'SIZE 1000000'];
    return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}`).join('\r\n');
  }

  function login(line: string): string {
    const [, said = ''] = /^AUTH PLAIN (\S+)$/i.exec(line) ?? [];
    session.isIn = Buffer.from(said, 'base64').toString() === `\0${options.user}\0${options.password}`;
    return session.isIn ? '235 welcome' : refuse('535 Authentication credentials invalid');
  }

  function envelope(line: string): string {
    const [, from] = /^MAIL FROM:<([^<>\s]+@[^<>\s]+)>( [A-Z0-9=]+)*$/.exec(line) ?? [];
    if (from !== undefined) {
      Object.assign(session, { from, to: [] });
      return '250 ok';
    }
    const [, to] = /^RCPT TO:<([^<>\s]+@[^<>\s]+)>$/.exec(line) ?? [];
    if (to !== undefined && session.from !== undefined) {
      if (options.refusesRecipients !== undefined) return refuse(options.refusesRecipients);
      session.to.push(to);
      return '250 ok';
    }
    if (line !== 'DATA' || session.to.length === 0) return refuse('503 bad sequence or syntax');
    session.data = [];
    return '354 go on';
  }

  function hearData(line: string, data: string[]): string | undefined {
    if (line !== '.') {
      data.push(line.startsWith('.') ? line.slice(1) : line);
      return undefined;
    }
    session.data = undefined;
    const fault = faultOf(data);
    if (fault !== undefined) return refuse(`554 ${fault}`);
    const { headers, text } = readMessage(data);
    mails.push({ from: session.from ?? '', to: session.to, raw: data.join('\r\n'), headers, text });
    return '250 2.0.0 queued as 42';
  }

  return session;
}

/** RFC 5322 §2.1.1, §2.2, §3.6; without SMTPUTF8 all of it is ASCII. */
function faultOf(lines: readonly string[]): string | undefined {
  if (lines.some((line) => line.length > 998)) return 'line over 998 characters';
  if (lines.some((line) => /[\r\n]/.test(line))) return 'bare CR or LF';
  const { headerLines, names } = headersOf(lines);
  for (const line of headerLines) {
    if (!/^[\t\x20-\x7e]*$/.test(line)) return 'header that is not ASCII';
    if (!/^([!-9;-~]+:|[ \t]+\S)/.test(line)) return `no header: ${line}`;
  }
  for (const name of ['from', 'to', 'subject', 'date', 'message-id', 'mime-version', 'content-type']) {
    const times = names.filter((known) => known === name).length;
    if (times !== 1) return `${times} times ${name}`;
  }
  const strangers = names.filter((name) => !expectedHeaders.includes(name));
  return strangers.length === 0 ? undefined : `unexpected ${strangers.join(', ')}`;
}

/** What a notification has; anything else was brought in by a text. */
const expectedHeaders = [
  ...['from', 'to', 'subject', 'date', 'message-id', 'mime-version', 'content-type', 'content-transfer-encoding'],
  'auto-submitted',
];

function headersOf(lines: readonly string[]) {
  const headerLines = lines.slice(0, lines.indexOf(''));
  const unfolded: string[] = [];
  for (const line of headerLines) {
    if (/^[ \t]/.test(line)) unfolded.push(`${unfolded.pop() ?? ''}${line}`);
    else unfolded.push(line);
  }
  const fields = unfolded.map((line) => {
    const at = line.indexOf(':');
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
  });
  return { headerLines, names: fields.map(([name]) => name), fields };
}

function readMessage(lines: readonly string[]) {
  const headers = new Map(headersOf(lines).fields.map(([name, value]) => [name, decodeWords(value)]));
  const body = lines.slice(lines.indexOf('') + 1).join('\n');
  const encoding = headers.get('content-transfer-encoding') ?? '7bit';
  const decoded = encoding === 'base64' ? Buffer.from(body, 'base64') : Buffer.from(unquoted(body, encoding), 'latin1');
  return { headers, text: decoded.toString('utf8') };
}

function unquoted(text: string, encoding: string): string {
  if (encoding !== 'quoted-printable') return text;
  return text
    .replace(/=\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** RFC 2047. */
function decodeWords(value: string): string {
  return value
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, how: string, word: string) => {
      if (how.toLowerCase() === 'b') return Buffer.from(word, 'base64').toString('utf8');
      const bytes = unquoted(word.replaceAll('_', ' '), 'quoted-printable');
      return Buffer.from(bytes, 'latin1').toString('utf8');
    });
}
