import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import type { EngineState } from './engine-state.ts';
import { imageJson, sendJson } from './engine-wire.ts';

/** What a simulated engine answers about images. @returns whether the route is one of them. */
export async function answerImage(
  state: EngineState,
  route: string,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const { images, containers } = state;
  const [, verb = '', name = '', what = ''] = /^(\w+) \/images\/(.+?)(\/json|\/tag|\/get)?$/.exec(route) ?? [];
  switch (`${verb} ${what === '' && verb === 'POST' ? name : what}`) {
    case 'POST create':
      await text(request);
      images.import(`${query.get('repo')}:${query.get('tag')}`, query.getAll('changes'));
      sendJson(response, 200, { status: 'imported' });
      return true;
    case 'POST load': {
      const complaint = images.load(await text(request));
      const line = complaint === undefined ? { stream: 'Loaded image' } : { error: complaint };
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(line)}\r\n`);
      return true;
    }
    case 'GET /json':
      sendJson(response, 200, imageJson(images.find(name)));
      return true;
    case 'GET /get':
      response.end(images.save(name));
      return true;
    case 'POST /tag':
      images.tag(name, `${query.get('repo')}:${query.get('tag')}`);
      response.writeHead(201).end();
      return true;
    case 'DELETE ': {
      const force = query.get('force') === 'true';
      images.untag(name, (id) => !force && [...containers.values()].some(({ imageId }) => imageId === id));
      sendJson(response, 200, [{ Untagged: name }]);
      return true;
    }
    default:
      return false;
  }
}

const networkBody = z.object({ Name: z.string() });
const attachmentBody = z.object({
  Container: z.string(),
  EndpointConfig: z.record(z.string(), z.unknown()).default({}),
});

/** What a simulated engine answers about networks. @returns whether the route is one of them. */
export async function answerNetwork(
  state: EngineState,
  route: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const { networks } = state;
  const [, verb = '', encoded = '', what = ''] =
    /^(\w+) \/networks\/([^/]+)(?:\/(connect|disconnect))?$/.exec(route) ?? [];
  const name = decodeURIComponent(encoded);
  const body = async (): Promise<unknown> => JSON.parse(await text(request));
  if (verb === 'DELETE') {
    networks.remove(name);
    response.writeHead(204).end();
    return true;
  }
  if (verb === 'GET' && name !== '' && what === '') {
    if (networks.has(name)) sendJson(response, 200, { Name: name });
    else sendJson(response, 404, { message: `network ${name} not found` });
    return true;
  }
  if (verb !== 'POST') return false;
  if (what === '') {
    sendJson(response, 201, { Id: networks.create(networkBody.parse(await body()).Name) });
    return true;
  }
  const { Container, EndpointConfig } = attachmentBody.parse(await body());
  const { networks: attachments, status } = state.find(Container);
  if (what === 'connect') networks.connect(name, attachments, EndpointConfig, status === 'running');
  else networks.disconnect(name, attachments);
  response.writeHead(200).end();
  return true;
}
