import { escaped } from '../../../common/report-html.ts';
import type {
  OpenApiDocument,
  OperationObject,
  ParameterObject,
  PlacedOperation,
  ResponseObject,
} from '../openapi-document.ts';
import { exampleOf } from './example.ts';
import { notesOf, typeHtml } from './types.ts';

/** One operation with all that there is to know about it. */
export function operationHtml(document: OpenApiDocument, placed: PlacedOperation): string {
  const { path, method, operation } = placed;
  const id = escaped(operation.operationId);
  const body = operation.requestBody?.content['application/json']?.schema;
  return `<article id="${id}">
<h3><a href="#${id}"><span class="method ${method}">${method}</span><code>${escaped(path)}</code></a></h3>
<p>${escaped(operation.summary)}</p>
${aliasesHtml(operation)}${mayHtml(document, operation)}
${parametersHtml(operation)}
${body === undefined ? '' : `<h4>Body</h4>\n<pre>${typeHtml(body)}</pre>`}
${answersHtml(operation)}
<h4>Example</h4>
<pre>${escapedLines(exampleOf(document, placed))}</pre>
${failuresHtml(operation)}
</article>`;
}

function aliasesHtml({ 'x-aliases': aliases }: OperationObject): string {
  if (aliases === undefined) return '';
  return `<p class="may">The same: ${aliases.map((path) => `<code>${escaped(path)}</code>`).join(', ')}</p>\n`;
}

function mayHtml(document: OpenApiDocument, { security, 'x-permission': permission }: OperationObject): string {
  const name = `<a href="#permission-${escaped(permission)}"><code>${escaped(permission)}</code></a>`;
  const roles = document['x-permissions'][permission]?.roles ?? [];
  const held = security.length === 0 ? ['everybody'] : roles;
  return `<p class="may">${name} ${held.map((role) => `<span class="role">${role}</span>`).join(' ')}</p>`;
}

function parametersHtml({ parameters }: OperationObject): string {
  const own = parameters.filter((one): one is ParameterObject => 'in' in one);
  if (own.length === 0) return '';
  const rows = own.map(
    ({ name, in: where, required, description, schema }) =>
      `<tr><td><code>${escaped(name)}</code></td><td class="dim">${where}${required ? '' : ', optional'}</td><td><code>${typeHtml(schema)}</code>  <span class="dim">${escaped(notesOf({ ...schema, ...(description !== undefined && { description }) }))}</span></td></tr>`,
  );
  return `<h4>Parameters</h4>
<div class="wide"><table class="params"><tbody>${rows.join('')}</tbody></table></div>`;
}

function answersHtml({ responses }: OperationObject): string {
  return Object.entries(responses)
    .flatMap(([status, answer]) => ('$ref' in answer ? [] : [answerHtml(status, answer)]))
    .join('\n');
}

function answerHtml(status: string, { description, content = {} }: ResponseObject): string {
  const [[media, { schema } = {}] = ['']] = Object.entries(content);
  const head = `<h4>Answer ${escaped(status)}`;
  if (media === 'application/json' && schema !== undefined) return `${head}</h4>\n<pre>${typeHtml(schema)}</pre>`;
  const types = Object.keys(content).map((one) => `<code>${escaped(one)}</code>`);
  return `${head}</h4>\n<p>${types.join(' or ')}${types.length > 0 ? ': ' : ''}${escaped(description)}</p>`;
}

function failuresHtml({ responses }: OperationObject): string {
  const links = Object.entries(responses)
    .filter(([status, answer]) => '$ref' in answer && status !== 'default')
    .map(([status]) => `<a href="#failure-${escaped(status)}">${escaped(status)}</a>`);
  return `<p class="may">Failures: ${links.join(', ')}, <a href="#failures">and others</a></p>`;
}

function escapedLines(text: string): string {
  return text.split('\n').map(escaped).join('\n');
}
